"""Subscriptions: what is asked for, kept alive, adopted, cleared away, and what happens when one is lost."""

import time

from recorder_run import of, settings, texts
from tenant import Subscription, error, seconds_of, stamp
from tenant_answer import accepted, finish
from tenant_calls import MEETING
from tenant_send import ALICE, BOB
from tenant_wire import Reply

ALL = {"chat_scopes": ["/chats/getAllMessages"]}
GROUP = "19:2da4c29f6d7041eca70b638b43d45437@thread.v2"


def group(run, thread=GROUP, **over):
    return run.tenant.chats.add(thread, members=[ALICE, BOB], **over)


def subscribed(run, count=1, seconds=20):
    """The living subscriptions, as soon as there are so many."""
    return run.tenant.wait(f"{count} subscriptions", lambda: len(run.tenant.subscriptions) >= count and list(run.tenant.subscriptions.values()), seconds)


def said(run, chat, text, who=ALICE):
    """A message that is told to whoever subscribed."""
    doc = run.tenant.chats.say(chat, who, text)
    answers = run.service.tell(chat, doc)
    for answer in answers:
        run.equal(answer.status, 202, f"{text}: taken")
        run.check(answer.seconds < 3, f"{text}: within 3 s, not {answer.seconds:.2f}")
    run.check(answers, f"somebody subscribed to {chat.id}")
    return doc


def check_request(run, one, resource):
    body = one.body
    run.equal("/" + body["resource"].lstrip("/"), resource, "resource")
    run.equal(sorted(body["changeType"].split(",")), ["created", "deleted", "updated"], "changeType")
    run.check(body["notificationUrl"].startswith(run.callback_url + "/api/notifications"), f"notificationUrl {body['notificationUrl']}")
    run.check(body["lifecycleNotificationUrl"].startswith(run.callback_url + "/api/lifecycle"), f"lifecycleNotificationUrl {body['lifecycleNotificationUrl']}")
    run.check(16 <= len(body["clientState"]) <= 128, f"clientState is a secret of {len(body['clientState'])} characters")
    left = seconds_of(body["expirationDateTime"]) - time.time()
    run.check(250_000 < left <= 259_200, f"life asked for: {left:.0f}")
    run.check(body.get("latestSupportedTlsVersion") in (None, "v1_2", "v1_3"), "TLS version")


@settings(keys={"chat_scopes": ["/chats/getAllMessages", "/users/8a34a46b-3d17-4adc-8dce-dc4e7d572698/chats/getAllMessages", f"/chats/{GROUP}/messages",
                                "/teams/fbe2bf47-16c8-47cf-b4a5-4b9b187c508b/channels/19:4a95@thread.tacv2/messages"]})
def every_kind_of_scope(run):
    chat = group(run)
    channel = run.tenant.chats.add("19:4a95@thread.tacv2", "channel", team="fbe2bf47-16c8-47cf-b4a5-4b9b187c508b")
    run.start()
    subs = subscribed(run, 4)
    model = {one.body["resource"].lstrip("/"): one for one in subs}
    run.equal(sorted(model), sorted(["chats/getAllMessages?model=A", "users/8a34a46b-3d17-4adc-8dce-dc4e7d572698/chats/getAllMessages?model=A", f"chats/{GROUP}/messages",
                                     "teams/fbe2bf47-16c8-47cf-b4a5-4b9b187c508b/channels/19:4a95@thread.tacv2/messages"]), "the model is added to getAllMessages")
    for resource, one in model.items():
        check_request(run, one, "/" + resource)
        run.check(one.body.get("includeResourceData") is True and one.certificate, "with a certificate of our own")
        run.check(one.certificate.parsed.public_key().key_size in range(2048, 4097), "RSA of 2048 to 4096 bit")
        run.check(0 < len(one.body["encryptionCertificateId"]) <= 128, "certificate id")
    run.equal(len({s.body["clientState"] for s in subs}) >= 1, True, "client states")
    run.equal(len(run.tenant.handshakes), 8, "each URL is validated")
    for s in run.tenant.requests("POST", "/v1.0/subscriptions"):
        run.check("include-unknown-enum-members" in (s.headers.get("Prefer") or ""), "Prefer on POST, too")
    said(run, chat, "in three subscriptions at once")
    said(run, channel, "in the channel")
    run.until("both", lambda e: sorted(texts(e)) == ["in the channel", "in three subscriptions at once"])
    run.stop()
    run.equal(sorted(texts(run.archive()[0])), ["in the channel", "in three subscriptions at once"], "each once")


@settings(keys={"chat_scopes": ["/teams/getAllMessages"], "reconcile_seconds": 3})
def every_channel_of_the_tenant(run):
    """One subscription; a channel of which something was heard is read from then on, too."""
    team = "fbe2bf47-16c8-47cf-b4a5-4b9b187c508b"
    one, other = (run.tenant.chats.add(f"19:{n}@thread.tacv2", "channel", team=team) for n in ("4a95", "4a96"))
    run.start()
    run.equal(subscribed(run)[0].body["resource"].lstrip("/"), "teams/getAllMessages?model=A", "one for all")
    said(run, one, "in one")
    said(run, other, "in the other")
    run.until("both", lambda e: sorted(texts(e)) == ["in one", "in the other"])
    run.tenant.chats.say(one, BOB, "never told")
    run.until("what was never told", lambda e: "never told" in texts(e), 30)
    run.stop()
    events, rows = run.archive()
    run.equal((len(texts(events)), len(rows)), (3, 2), "each once, two conversations")


@settings(keys=dict(ALL, model="B"))
def the_model_is_configurable(run):
    group(run)
    run.start()
    run.equal(subscribed(run)[0].body["resource"].lstrip("/"), "chats/getAllMessages?model=B", "model B")
    run.stop()
    run.archive()


@settings(keys=dict(ALL, model="", encrypted_notifications=False))
def without_resource_data(run):
    """Ids only; the messages are fetched."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    run.equal(one.body["resource"].lstrip("/"), "chats/getAllMessages", "no model")
    run.check(not one.body.get("includeResourceData") and not one.certificate, "no resource data")
    first = said(run, chat, "fetched")
    run.until("the message", lambda e: texts(e) == ["fetched"])
    run.tenant.chats.edit(chat, first["id"], "fetched anew")
    run.service.tell(chat, chat.messages[first["id"]], "updated")
    run.until("the edit", lambda e: texts(e, "message.edited") == ["fetched anew"])
    asked = run.tenant.requests("GET", f"/v1.0/chats/{GROUP}/messages/{first['id']}")
    run.check(asked, "fetched by id")
    for s in asked:
        run.check("19%3A2da4" in s.target and "%40thread" in s.target, f"ids are percent-encoded in paths: {s.target}")
        run.check("include-unknown-enum-members" in (s.headers.get("Prefer") or ""), "Prefer on every GET")
    run.stop()
    run.archive()


@settings(keys=dict(ALL), granted_seconds=8)
def renewed_at_half_life(run):
    """Half of the life the service granted, not of the life asked for."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    made = run.tenant.requests("POST", "/v1.0/subscriptions")[0]
    first = run.tenant.wait_request("PATCH", f"/v1.0/subscriptions/{one.id}")
    run.check(1.5 < first.at - made.at < 7, f"renewed after {first.at - made.at:.1f} s of 8")
    run.tenant.wait_request("PATCH", f"/v1.0/subscriptions/{one.id}", 2)
    run.equal(len(run.tenant.subscriptions), 1, "still the same subscription")
    said(run, chat, "still there")
    run.until("the message", lambda e: texts(e) == ["still there"])
    run.stop()
    events, _ = run.archive()
    run.equal(of(events, "capture.gap"), [], "no gap")


@settings(keys=ALL, granted_seconds=6)
def a_renewal_that_finds_nothing(run):
    """404 on PATCH: gone, so it is made anew; the time between is a gap and is filled."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "before")
    run.until("before", lambda e: texts(e) == ["before"])
    with run.tenant.cv:
        del run.tenant.subscriptions[one.id]
    run.tenant.chats.say(chat, BOB, "meanwhile")
    run.tenant.wait("a new one", lambda: len(run.tenant.subscriptions) == 1 and one.id not in run.tenant.subscriptions, 60)
    run.until("what was said meanwhile", lambda e: texts(e) == ["before", "meanwhile"])
    run.until("the gap", lambda e: of(e, "capture.gap"))
    run.stop()
    run.archive()


@settings(keys=ALL)
def reauthorization_is_required(run):
    group(run)
    run.start()
    one = subscribed(run)[0]
    run.equal(run.service.lifecycle(one, "reauthorizationRequired").status, 202, "taken")
    run.tenant.wait("PATCH or reauthorize", lambda: run.tenant.requests("PATCH", f"/v1.0/subscriptions/{one.id}") or run.tenant.requests("POST", f"/v1.0/subscriptions/{one.id}/reauthorize"))
    run.equal(run.service.lifecycle(one, "somethingNew").status, 202, "other events are taken")
    run.equal(run.service.lifecycle(one, "subscriptionRemoved", clientState="wrong").status, 202, "so are wrong ones")
    run.equal(run.service.lifecycle(one, "reauthorizationRequired", tenantId="932899f8-2ea1-4604-8413-27bd2892079f").status, 202, "and those of others")
    time.sleep(1)
    run.equal(len(run.tenant.requests("POST", "/v1.0/subscriptions")), 1, "but a wrong clientState changes nothing")
    run.stop()
    run.equal(of(run.archive()[0], "capture.gap"), [], "no gap")


@settings(keys=ALL)
def subscription_removed(run):
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "before")
    run.until("before", lambda e: texts(e) == ["before"])
    with run.tenant.cv:
        del run.tenant.subscriptions[one.id]
    run.tenant.chats.say(chat, BOB, "unheard")
    run.equal(run.service.lifecycle(one, "subscriptionRemoved").status, 202, "taken")
    subscribed(run, seconds=60)
    run.until("what was unheard", lambda e: texts(e) == ["before", "unheard"])
    said(run, chat, "after")
    run.until("after", lambda e: texts(e) == ["before", "unheard", "after"])
    run.until("the gap", lambda e: of(e, "capture.gap"))
    run.stop()
    events, rows = run.archive()
    gap = of(events, "capture.gap")[0]
    run.equal(gap.get("conversation"), of(events, "message.sent")[0]["conversation"], "a gap in the conversation concerned")
    run.equal(rows[0]["coverage"], "incomplete", "which the list says")


@settings(keys={"chat_scopes": [f"/users/{BOB[0]}/chats/getAllMessages"]})
def what_a_persons_subscription_missed_is_read(run):
    """Also in a chat that nobody has heard of: the person's chats are read as a whole."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "before")
    run.until("before", lambda e: texts(e) == ["before"])
    with run.tenant.cv:
        del run.tenant.subscriptions[one.id]
    fresh = run.tenant.chats.add("19:0f0f0f0f4a8a4f0f9f0f0f0f0f0f0f0f@thread.v2", members=[ALICE, BOB])
    run.tenant.chats.say(fresh, BOB, "in a chat nobody has heard of")
    run.tenant.chats.say(chat, BOB, "unheard")
    run.service.lifecycle(one, "subscriptionRemoved")
    run.until("both", lambda e: {"unheard", "in a chat nobody has heard of"} <= set(texts(e)), 40)
    run.stop()
    events, rows = run.archive()
    run.equal((len(texts(events)), len(rows)), (3, 2), "each once, two conversations")


@settings(keys={"chat_scopes": [f"/users/{BOB[0]}/chats/getAllMessages"]})
def a_person_who_is_no_longer_configured(run):
    """Neither told of nor read any more."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "before")
    run.until("before", lambda e: texts(e) == ["before"])
    run.stop()
    run.configure(chat_scopes=[])
    run.tenant.chats.say(chat, BOB, "none of our business")
    asked = len(run.tenant.requests("GET", "/v1.0/users/.*"))
    run.start()
    run.tenant.wait_request("DELETE", f"/v1.0/subscriptions/{one.id}")
    call = accepted(run, source=BOB)
    call.end()
    run.until("the end of a call", lambda e: of(e, "conversation.ended"))
    run.stop()
    run.equal((len(run.tenant.requests("GET", "/v1.0/users/.*")) - asked, texts(run.archive()[0])), (0, ["before"]), "not read, not recorded")


@settings(keys=ALL)
def the_life_of_a_subscription_is_on_record(run):
    """Made, prolonged, taken away, made anew, and what was read for it: the archive says so itself."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "before")
    run.until("before", lambda e: texts(e) == ["before"])
    on_record = lambda e: [x["detail"] for x in of(e, "platform.event") if x.get("detail", {}).get("resource")]
    wanted = ["created", "reauthorizationRequired", "renewed", "subscriptionRemoved", "lost", "made anew"]
    whole = "/chats/getAllMessages"
    run.service.lifecycle(one, "reauthorizationRequired")
    run.until("the renewal", lambda e: [d["what"] for d in on_record(e) if d["resource"] == whole] == wanted[:3])
    with run.tenant.cv:
        del run.tenant.subscriptions[one.id]
    run.service.lifecycle(one, "subscriptionRemoved")
    subscribed(run, seconds=60)
    run.until("its life", lambda e: [d["what"] for d in on_record(e) if d["resource"] == whole] == wanted)
    run.until("what was read", lambda e: any(d["what"] == "read" and chat.id in d["resource"] and "missed" in d["recorder"] for d in on_record(e)), 30)
    run.stop()
    events, _ = run.archive()
    first, last = [d for d in on_record(events) if d["what"] in ("created", "made anew")]
    run.equal((first["subscription"], last["subscription"] != one.id), (one.id, True), "with its id")
    run.check(all(seconds_of(d["expires"]) > time.time() for d in (first, last)), f"until when: {first}")
    mine = of(events, "message.sent")[0]["conversation"]
    read = [e for e in of(events, "platform.event") if e.get("detail", {}).get("what") == "read" and "missed" in e["detail"]["recorder"]]
    run.equal(read[0].get("conversation"), mine, "the reading is on record in the conversation concerned")
    run.check(read[0]["detail"]["versions"] >= 1 and read[0]["detail"]["to"], f"from when until when, and how much: {read[0]['detail']}")


@settings(keys=dict(ALL, model="", reconcile_seconds=3))
def the_evaluation_model_stops_without_an_error(run):
    """The service tells 5 of 8 messages (500 in truth) and says nothing when it stops; what it did not tell is found by reading."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    run.equal(one.body["resource"].lstrip("/"), "chats/getAllMessages", "no model")
    for n in range(5):
        said(run, chat, f"text {n}")
    for n in range(5, 8):
        run.tenant.chats.say(chat, ALICE, f"text {n}")
    run.until("all of them", lambda e: sorted(texts(e)) == [f"text {n}" for n in range(8)], 30)
    run.stop()
    events, _ = run.archive()
    run.equal(len(texts(events)), 8, "each once")
    run.equal(len(run.tenant.requests("POST", "/v1.0/subscriptions")), 1, "the subscription itself was good all the time")


@settings(keys=ALL)
def missed_notifications(run):
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "before")
    run.until("before", lambda e: texts(e) == ["before"])
    run.tenant.chats.say(chat, BOB, "missed")
    run.equal(run.service.lifecycle(one, "missed").status, 202, "taken")
    run.until("what was missed", lambda e: texts(e) == ["before", "missed"])
    run.stop()
    run.archive()


@settings(keys=ALL)
def adopted_at_a_restart(run):
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "one")
    run.until("one", lambda e: texts(e) == ["one"])
    run.kill()
    run.start()
    run.tenant.wait("the look", lambda: len(run.tenant.requests("GET", "/v1.0/subscriptions")) >= 2)
    said(run, chat, "two")
    run.until("two", lambda e: texts(e) == ["one", "two"])
    run.equal(list(run.tenant.subscriptions), [one.id], "the same subscription")
    run.equal(len(run.tenant.requests("POST", "/v1.0/subscriptions")), 1, "none made anew")
    run.stop()
    run.archive()


@settings(keys=ALL)
def lapsed_while_the_recorder_was_down(run):
    """Nobody told us, nobody could: the gap is said, what was said meanwhile is read, and a new subscription made."""
    chat, silent = group(run), group(run, "19:0ae61fd5f7f44791baddce0988e71bf3@thread.v2")
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "before")
    said(run, silent, "before, elsewhere")
    run.until("before", lambda e: len(texts(e)) == 2)
    run.kill()
    with run.tenant.cv:
        del run.tenant.subscriptions[one.id]
    first = next(iter(chat.messages))
    run.tenant.chats.say(chat, BOB, "meanwhile")
    run.tenant.chats.edit(chat, first, "edited meanwhile")
    unseen = run.tenant.chats.say(chat, BOB, "written and deleted meanwhile")
    run.tenant.chats.delete(chat, unseen["id"])
    run.start()
    subscribed(run)
    run.until("what was said meanwhile", lambda e: "meanwhile" in texts(e) and texts(e, "message.edited") == ["edited meanwhile"])
    run.until("a gap in each conversation", lambda e: len({x.get("conversation") for x in of(e, "capture.gap")}) == 2)
    run.until("the deletion of what nobody saw", lambda e: unseen["id"] in [x["message"]["id"] for x in of(e, "message.deleted")])
    run.stop()
    run.archive()


@settings(keys=ALL)
def strays_are_deleted(run):
    """Ours by URL, but of no scope of ours; those of other software stay."""
    group(run)
    body = {"changeType": "created", "resource": "/chats/19:gone@thread.v2/messages", "expirationDateTime": stamp(time.time() + 9000), "clientState": "old",
            "notificationUrl": run.callback_url + "/api/notifications", "lifecycleNotificationUrl": run.callback_url + "/api/lifecycle"}
    stray, twin, foreign = Subscription(body), Subscription(dict(body, resource="/chats/getAllMessages?model=A")), Subscription(dict(body, notificationUrl="https://other.example/n", resource="/users"))
    for one in (stray, twin, foreign):
        run.tenant.subscriptions[one.id] = one
    run.start()
    run.tenant.wait("clearing away", lambda: stray.id not in run.tenant.subscriptions and twin.id not in run.tenant.subscriptions)
    run.tenant.wait("our own", lambda: len(run.tenant.subscriptions) == 2)
    run.check(foreign.id in run.tenant.subscriptions, "another program's stays")
    run.stop()
    run.archive()


@settings(keys=ALL)
def keys_are_rotated_by_command(run):
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    old, old_id = one.certificate, one.body["encryptionCertificateId"]
    begun = time.monotonic()
    status, out, err = run.cli("rotate-keys", "teams")
    run.equal(status, 0, f"rotate-keys: {out}{err}")
    run.tenant.wait("the new pair", lambda: one.certificate is not old, 15)
    run.check(time.monotonic() - begun < 12, f"within 10 s: {time.monotonic() - begun:.1f}")
    run.check(one.body["encryptionCertificateId"] != old_id and one.certificate.thumbprint != old.thumbprint, "a new pair with a new id")
    said(run, chat, "by the new key")
    new, new_id = one.certificate, one.body["encryptionCertificateId"]
    one.certificate, one.body["encryptionCertificateId"] = old, old_id
    said(run, chat, "by the old key")
    one.certificate, one.body["encryptionCertificateId"] = new, new_id
    run.until("both", lambda e: sorted(texts(e)) == ["by the new key", "by the old key"])
    run.equal([s for s in run.tenant.requests("GET", ".*/messages/[0-9]+")], [], "nothing had to be fetched")
    run.kill()
    run.start()
    one.certificate, one.body["encryptionCertificateId"] = old, old_id
    said(run, chat, "by the old key after a restart")
    run.until("all three", lambda e: len(texts(e)) == 3)
    run.equal(run.cli("rotate-keys", "nobody")[0] in (1, 2, 3), True, "an unknown connector is an error")
    run.stop()
    run.archive()


@settings(keys=ALL)
def notified_before_the_subscription_is_known(run):
    """The first notification overtakes the answer to POST /subscriptions, which names the subscription."""
    chat = group(run)

    def subscribing(one):
        doc = run.tenant.chats.say(chat, ALICE, "quicker than 201")
        for answer in run.service.tell(chat, doc):
            run.equal(answer.status, 202, "taken")

    run.tenant.subscribing = subscribing
    run.start()
    subscribed(run)
    run.until("the message", lambda e: texts(e) == ["quicker than 201"])
    run.stop()
    run.archive()


@settings(keys=ALL)
def many_subscriptions_in_pages(run):
    """Our own stands on the second page of the list."""
    chat = group(run)
    body = {"changeType": "created", "resource": "/users", "expirationDateTime": stamp(time.time() + 9000), "clientState": "x", "notificationUrl": "https://other.example/n"}
    run.tenant.subscription_page = 2
    for _ in range(5):
        other = Subscription(body)
        run.tenant.subscriptions[other.id] = other
    run.start()
    subscribed(run, 6)
    ours = [s for s in run.tenant.subscriptions.values() if s.body["resource"] != "/users"]
    run.kill()
    run.start()
    run.tenant.wait("the last page", lambda: len([s for s in run.tenant.requests("GET", "/v1.0/subscriptions") if s.query.get("$skiptoken") == "4"]) >= 2)
    said(run, chat, "still ours")
    run.until("the message", lambda e: texts(e) == ["still ours"])
    run.equal([s for s in run.tenant.subscriptions.values() if s.body["resource"] != "/users"], ours, "the same subscription, no second one")
    run.stop()
    run.archive()


@settings(keys=dict(ALL))
def a_conflicting_subscription(run):
    """A second one for the same resource may be refused: then the one that is in the way is cleared."""
    chat = group(run)
    body = {"changeType": "created", "resource": "/chats/getAllMessages?model=A", "expirationDateTime": stamp(time.time() + 9000), "clientState": "of an earlier installation",
            "notificationUrl": run.callback_url + "/api/notifications", "lifecycleNotificationUrl": run.callback_url + "/api/lifecycle"}
    old = Subscription(body)
    run.tenant.subscriptions[old.id] = old
    run.tenant.conflict = True
    run.start()
    run.tenant.wait("our own", lambda: len(run.tenant.subscriptions) == 1 and old.id not in run.tenant.subscriptions, 30)
    said(run, chat, "here")
    run.until("here", lambda e: texts(e) == ["here"])
    run.stop()
    run.archive()


@settings(keys={})
def from_a_call_to_its_chat(run):
    """The chat named by the call is subscribed, backfilled, and one conversation with it."""
    chat = run.tenant.chats.add(MEETING, "meeting", topic="Weekly", members=[ALICE, BOB])
    run.tenant.chats.say(chat, BOB, "before the call")
    run.start()
    call = accepted(run, thread=MEETING)
    one = subscribed(run)[0]
    check_request(run, one, f"/chats/{MEETING}/messages")
    run.until("the backfill", lambda e: texts(e) == ["before the call"])
    said(run, chat, "during the call")
    run.until("live", lambda e: len(texts(e)) == 2)
    events, rows = finish(run, call)
    run.equal(len({e.get("conversation") for e in events}), 1, "one conversation")
    run.equal([(r["messages"], r["state"]) for r in rows], [(2, "ended")], "the row")


def a_chat_that_only_the_call_itself_names(run):
    """No notification carries chatInfo; GET of the call does."""
    chat = run.tenant.chats.add(MEETING, "meeting", members=[ALICE, BOB])
    run.tenant.chats.say(chat, BOB, "before the call")
    run.start()
    call = accepted(run)
    call.thread = MEETING
    call.roster()
    run.kill()
    run.start()
    subscribed(run)
    run.until("the backfill", lambda e: texts(e) == ["before the call"])
    events, rows = finish(run, call)
    run.equal(len({e.get("conversation") for e in events}), 1, "one conversation")


@settings(keys={"follow_call_chats": False})
def call_chats_are_left_alone(run):
    run.tenant.chats.add(MEETING, "meeting", members=[ALICE])
    run.start()
    call = accepted(run, thread=MEETING)
    finish(run, call)
    run.equal(run.tenant.requests("POST", "/v1.0/subscriptions"), [], "no subscription")


def a_federated_chat_refuses(run):
    """A chat owned by another tenant answers only there: a gap, not silence."""
    chat = run.tenant.chats.add(MEETING, "meeting", members=[ALICE])
    chat.refuse = 403
    run.start()
    call = accepted(run, thread=MEETING)
    run.until("the gap", lambda e: of(e, "capture.gap"))
    events, rows = finish(run, call)
    run.equal(of(events, "capture.gap")[0]["conversation"], of(events, "conversation.started")[0]["conversation"], "in the call's conversation")
    run.equal(rows[0]["coverage"], "incomplete", "the list says so")


@settings(keys={"chat_scopes": [f"/chats/{GROUP}/messages"]})
def a_chat_that_does_not_exist(run):
    run.start()
    run.tenant.wait_request("POST", "/v1.0/subscriptions")
    run.until("the gap", lambda e: of(e, "capture.gap"))
    finish(run, accepted(run))


@settings(keys=ALL)
def subscribing_is_throttled(run):
    chat = group(run)
    run.tenant.fault("POST", "/v1.0/subscriptions", error(429, "TooManyRequests", {"Retry-After": "1.128"}), Reply(503), Reply(200, spoil="reset"))
    run.start(ready=False)
    first = run.tenant.wait_request("POST", "/v1.0/subscriptions")
    second = run.tenant.wait_request("POST", "/v1.0/subscriptions", 2)
    run.check(1.1 < second.at - first.at < 5, f"a fraction of seconds is waited for: {second.at - first.at:.2f}")
    subscribed(run, seconds=60)
    said(run, chat, "here")
    run.until("here", lambda e: texts(e) == ["here"])
    run.stop()
    run.archive()


@settings(keys=ALL)
def the_handshake_comes_before_readiness(run):
    """The listener runs before the first subscription is asked for, and answers within 10 s."""
    group(run)
    run.start(ready=False)
    subscribed(run)
    for _, token, answer, failure in run.tenant.handshakes:
        run.check(answer is not None and answer.status == 200 and answer.raw == token.encode() and answer.seconds < 2, f"handshake: {answer} {failure}")
    run.until_ready()
    run.stop()
    run.archive()


SCENARIOS = (every_kind_of_scope, every_channel_of_the_tenant, the_model_is_configurable, without_resource_data, renewed_at_half_life, a_renewal_that_finds_nothing, reauthorization_is_required, subscription_removed, what_a_persons_subscription_missed_is_read, a_person_who_is_no_longer_configured, the_life_of_a_subscription_is_on_record, the_evaluation_model_stops_without_an_error,
             missed_notifications, adopted_at_a_restart, lapsed_while_the_recorder_was_down, strays_are_deleted, keys_are_rotated_by_command, notified_before_the_subscription_is_known, many_subscriptions_in_pages, a_conflicting_subscription, from_a_call_to_its_chat, a_chat_that_only_the_call_itself_names, call_chats_are_left_alone,
             a_federated_chat_refuses, a_chat_that_does_not_exist, subscribing_is_throttled, the_handshake_comes_before_readiness)
