"""What a service should not send and may: mutated payloads, odd identifiers, silence, refusals for good, kills after each kind of acknowledgement."""

import copy
import json
import random
import socket

from recorder_run import of, settings, texts
from tenant import TENANT, error
from tenant_answer import accepted, finish, invited
from tenant_bot import BOT
from tenant_keys import encrypt
from tenant_messages import done
from tenant_run import fixture
from tenant_send import ALICE, BOB, CAROL, bot_data, person, pid
from tenant_subscriptions import ALL, GROUP, group, said, subscribed
from tenant_wire import Reply

ODD = (None, 7, -1, 2.5, True, "", "x" * 5000, "\u0000\u202e", [], {}, [None], [[[[]]]], {"@odata.type": "#microsoft.graph.call"}, "#microsoft.graph.", 1e308, 2 ** 63, "19:x@thread.v2", "2021-13-45T99:99:99Z")


def places(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, path + (key,))


def mutated(doc, rng):
    """One to four members are lost, doubled, exchanged for something odd, or spelt otherwise."""
    doc = copy.deepcopy(doc)
    for _ in range(rng.randint(1, 4)):
        where = [p for p in places(doc) if p]
        if not where:
            return doc
        path = rng.choice(where)
        holder = doc
        for key in path[:-1]:
            holder = holder[key]
        key, how = path[-1], rng.random()
        if how < 0.35:
            del holder[key]
        elif how < 0.8:
            holder[key] = copy.deepcopy(rng.choice(ODD))
        elif isinstance(holder, dict):
            holder[str(key).swapcase()] = holder.pop(key)
        else:
            holder.append(copy.deepcopy(holder[key]))
    return doc


@settings(keys=dict(ALL, accept_from=["*"]))
def mutated_payloads(run):
    """Nothing that a trusted sender gets wrong brings the recorder down or makes it answer 5xx."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    rng = random.Random(20261127)
    calls = ["incoming-policy-recording", "incoming-p2p-callroutes", "establishing-meeting", "established-tone", "roster-full", "roster-delta-enabled", "contentsharing-collection-updated", "operation-playprompt-completed",
             "x-participantjoining", "x-participantleft", "terminated-after-redirect"]
    bots = ["bot-message-personal", "bot-message-channel-thread", "bot-installationUpdate-add", "bot-conversationUpdate-bot-added-team", "bot-messageReaction-reactionsAdded", "x-bot-event-meetingstart",
            "x-bot-event-participantjoin", "x-bot-messageupdate-edit"]
    system = fixture("system-membersAdded")["eventDetail"]
    statuses = {}
    for n in range(360):
        kind = n % 3
        if kind == 0:
            doc = mutated(fixture(rng.choice(calls)), rng)
            answer = run.service.calls(json.dumps(doc).encode())
        elif kind == 1:
            doc = mutated(dict(fixture(rng.choice(bots)), serviceUrl=run.service.service_url), rng)
            answer = run.service.send(doc)
        else:
            message = run.tenant.chats.say(chat, ALICE, "text", attachments=[{"id": "1", "contentType": "reference", "name": "x"}], mentions=[{"id": 0, "mentionText": "x", "mentioned": {"user": {"id": "u"}}}],
                                           reactions=[{"reactionType": "like", "user": {"user": {"id": "u"}}}], eventDetail=system if n % 2 else None)
            item = run.service.item(one, chat, message)
            doc = mutated(item if rng.random() < 0.3 else message, rng)
            item = doc if "subscriptionId" in doc else run.service.item(one, chat, dict(message, **{"id": message["id"]}))
            if doc is not item:
                item["encryptedContent"] = encrypt(one.certificate.key, one.body["encryptionCertificateId"], one.certificate.thumbprint, doc)
            del chat.messages[message["id"]]
            answer = run.service.changes(json.dumps({"value": [item], "validationTokens": [run.service.validation_token()]}).encode())
        statuses[(kind, answer.status)] = statuses.get((kind, answer.status), 0) + 1
        run.check(answer.status < 500, f"{answer.status} for {json.dumps(doc)[:600]}")
        run.check(run.process.poll() is None, f"the recorder went down by {json.dumps(doc)[:600]}")
        if run.process.poll() is not None:
            return
    run.check(run.ready() == 200, f"still ready: {run.ready()}")
    run.check("panicked" not in run.log(), "nothing panicked: " + next((line for line in run.log().splitlines() if "panicked" in line), ""))
    said(run, chat, "after all that")
    run.until("the next message", lambda e: "after all that" in texts(e), 60)
    call = run.service.call(policy=bot_data())
    call.incoming()
    call.until_answered(5)
    run.stop()
    run.tenant.ledger.clear()
    told = json.dumps(run.events())
    run.check(one.body["clientState"] not in told, "the client state is not archived with what could not be read")


@settings(keys=dict(ALL, encrypted_notifications=False))
def identifiers_with_every_character(run):
    """Quotes are doubled in OData keys, everything is percent-encoded in paths."""
    threads = ["19:it's@thread.v2", "19:a b+c&d=e#f?g@thread.v2", "19:ü日@thread.v2", "19:(x)['y']@thread.v2"]
    run.start()
    one = subscribed(run)[0]
    for n, thread in enumerate(threads):
        chat = group(run, thread)
        doc = run.tenant.chats.say(chat, ALICE, f"text {n}")
        key = f"chats('{thread.replace(chr(39), chr(39) * 2)}')/messages('{doc['id']}')"
        item = run.service.item(one, chat, doc, resource=key)
        item["resourceData"]["@odata.id"] = key
        run.equal(run.service.changes([item]).status, 202, "taken")
    run.until("all", lambda e: len(texts(e)) == len(threads))
    events, rows = done(run)
    run.equal(len(rows), len(threads), "a conversation each")
    for thread in threads:
        run.check(any(s.path.startswith(f"/v1.0/chats/{thread}/messages/") for s in run.tenant.requests("GET")), f"asked for {thread} as it is")


@settings(keys=ALL, granted_seconds=8)
def a_renewal_that_is_refused(run):
    """403 on every PATCH: tried until the end, then made anew; what lies between is a gap."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    said(run, chat, "before")
    run.until("before", lambda e: texts(e) == ["before"])
    run.tenant.before = lambda seen: error(403, "Forbidden") if seen.method == "PATCH" else None
    run.tenant.wait_request("PATCH", ".*")
    run.tenant.chats.say(chat, BOB, "meanwhile")
    run.until("the gap", lambda e: of(e, "capture.gap"), 30)
    run.tenant.wait("a new one", lambda: [s for s in run.tenant.subscriptions if s != one.id], 40)
    run.until("meanwhile", lambda e: "meanwhile" in texts(e), 30)
    run.check(len(run.tenant.requests("PATCH")) < 30, f"no hammering: {len(run.tenant.requests('PATCH'))} PATCHes")
    run.stop()
    run.archive()


def answer_fails_for_good(run):
    """And no notification says so."""
    run.start()
    run.tenant.before = lambda seen: error(500, "UnknownError") if seen.path.endswith("/answer") else None
    call = run.service.call()
    call.incoming()
    run.until("the failure", lambda e: of(e, "invitation.failed"), 25)
    run.equal(invited(run.events()), ["received", "failed"], "received, then failed")
    run.stop()
    run.archive()


@settings(keys={"keep_alive_seconds": 2})
def answered_and_never_heard_of_again(run):
    """Every later notification is lost; asking finds that the call is gone."""
    run.start()
    call = run.service.call()
    call.incoming()
    call.until_answered()
    call.gone = True
    run.until("the failure", lambda e: of(e, "invitation.failed", "conversation.ended"), 30)
    run.stop()
    run.archive()


@settings(keys={"keep_alive_seconds": 2})
def established_without_a_notification(run):
    """Asking finds that the call is established."""
    run.start()
    call = run.service.call()
    call.incoming()
    call.until_answered()
    call.state = "established"
    run.until("the start", lambda e: of(e, "conversation.started") and of(e, "invitation.accepted"), 30)
    finish(run, call)


@settings(keys={"accept_from": []})
def a_rejection_is_tried_again(run):
    run.start()
    run.tenant.fault("POST", ".*/reject", Reply(200, spoil="reset"))
    call = run.service.call()
    call.incoming()
    call.until_rejected(15)
    run.until("the refusal", lambda e: of(e, "invitation.declined"))
    call.end(None, state=None)
    run.stop()
    events, _ = run.archive()
    run.equal((invited(events), of(events, "conversation.started")), (["received", "declined"], []), "declined, no conversation")


def killed_after_each_kind_of_acknowledgement(run):
    """SIGKILL at the moment of the 202: the fact is there after the restart, once; none of these can be asked for again."""
    group(run)
    run.start()
    call = accepted(run)
    run.service.send(run.service.activity("conversationUpdate", GROUP, membersAdded=[BOT]))
    run.until("the installation", lambda e: len(of(e, "invitation.accepted")) == 2)
    tone = {"@odata.type": "#microsoft.graph.call", "state": "established", "toneInfo": {"@odata.type": "#microsoft.graph.toneInfo", "sequenceId": 77, "tone": "tone9"}}
    steps = [(lambda: call.send(call.note(tone)), lambda e: "tone9" in json.dumps(of(e, "platform.event"))),
             (lambda: call.share("created", "S-1", bare=True), lambda e: of(e, "sharing.started")),
             (lambda: call.share("deleted", "S-1", bare=True), lambda e: of(e, "sharing.ended")),
             (lambda: call.operation("x", kind="playPrompt"), lambda e: "playprompt" in json.dumps(of(e, "platform.event")).lower()),
             (lambda: run.service.send(run.service.activity("message", GROUP, BOB, text="by the bot alone")), lambda e: "by the bot alone" in texts(e)),
             (lambda: run.service.send(run.service.activity("conversationUpdate", GROUP, membersAdded=[{"id": "29:c", "aadObjectId": CAROL[0]}])), lambda e: pid(CAROL) in [x["participant"]["id"] for x in of(e, "participant.joined")]),
             (lambda: call.end(0, 4711, "by the kill"), lambda e: "4711" in json.dumps(of(e, "conversation.ended")))]
    for n, (act, there) in enumerate(steps):
        answer = act()
        run.kill()
        run.check(answer.status in (200, 202), f"step {n}: {answer}")
        run.start()
        try:
            run.until(f"step {n}", there, 15)
        except AssertionError as e:
            run.found.append(str(e))
    run.stop()
    events, _ = run.archive()
    run.equal([len(of(events, k)) for k in ("sharing.started", "sharing.ended", "conversation.ended")], [1, 1, 1], "each once")
    run.equal(call.statuses(), ["recording"], "the recording status is told once per leg")


def idle_connections_are_no_obstacle(run):
    run.start()
    idle = []
    for n in range(300):
        s = socket.create_connection(("127.0.0.1", run.webhook_port), 5)
        s.sendall(b"POST /api/calls HTTP/1.1\r\nHost: x\r\n" if n % 2 else b"")
        idle.append(s)
    call = run.service.call(policy=bot_data())
    call.incoming()
    took = call.until_answered(5)
    run.check(took < 2, f"answered at once: {took:.2f}")
    for s in idle:
        s.close()
    call.establish()
    run.until("the start", lambda e: of(e, "conversation.started"))
    finish(run, call)


@settings(keys=ALL)
def a_person_who_is_also_a_sender(run):
    """People of rosters, messages and system messages are the same people."""
    thread = "19:meeting_same@thread.v2"
    chat = run.tenant.chats.add(thread, "meeting", members=[ALICE, BOB])
    run.start()
    subscribed(run)
    call = accepted(run, thread=thread)
    call.roster(person("p1", (ALICE[0].lower(), ALICE[1])), person("p2", BOB))
    said(run, chat, "by Alice", (ALICE[0].upper(), ALICE[1]))
    detail = {"@odata.type": "#microsoft.graph.membersAddedEventMessageDetail", "initiator": {"user": {"id": ALICE[0], "displayName": None}}, "members": [{"id": CAROL[0], "displayName": None, "userIdentityType": "aadUser"}]}
    run.service.tell(chat, run.tenant.chats.system(chat, detail))
    run.until("all", lambda e: texts(e) and len(of(e, "participant.joined")) == 3)
    events, rows = finish(run, call)
    run.equal(sorted(p["id"] for p in rows[0]["participants"]), sorted([pid(ALICE), pid(BOB), pid(CAROL)]), "three people")
    run.equal(of(events, "message.sent")[0]["actor"]["id"], pid(ALICE, TENANT), "the sender is who was in the roster")


SCENARIOS = (mutated_payloads, identifiers_with_every_character, a_renewal_that_is_refused, answer_fails_for_good, answered_and_never_heard_of_again, established_without_a_notification,
             a_rejection_is_tried_again, killed_after_each_kind_of_acknowledgement, idle_connections_are_no_obstacle, a_person_who_is_also_a_sender)
