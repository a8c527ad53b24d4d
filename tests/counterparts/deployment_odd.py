"""Orders, shapes and moments that the documents allow and few servers show."""

import signal
import time

from deployment import Reply, data_uri, error
from deployment_chats import ALICE, BOB, ends, noticed, one
from deployment_faults import talk
from deployment_meetings import FOCUS, Reply204
from recorder_run import of, settings, texts


def same_names(run):
    """After the application is made anew everything has the hrefs of before: other conversation parts, other messages."""
    dep = run.start().dep
    c = talk(run, text=None, meeting=FOCUS)
    thread = c.thread
    dep.say(c, ALICE[0], "one", stamp=1700000000000)
    dep.drained()
    dep.join_hook = lambda seen, body: dep.rejoined(body, "t-1", thread, FOCUS, "", [ALICE])
    for n in range(2):
        made = dep.apps_made
        if n == 0:
            dep.lose_application()
        else:
            run.kill()
            dep.app_alive = False
            run.start()
        dep.wait("created again", lambda: dep.apps_made > made)
        d = dep.wait("rejoined", lambda: dep.conversations.get("t-1"))
        dep.wait("messaging again", lambda: d.messaging == "Connected")
        d.messages = 1  # the next one has the number of "one" again
        dep.say(d, ALICE[0], "one", stamp=1700000000000 + n + 1)
        dep.say(d, ALICE[0], f"more {n}")
        dep.drained()
        noticed(dep)
    events, rows = ends(run, d)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["one", "one", "more 0", "one", "more 1"], "every text, also where the href is used again")
    run.equal(len(of(mine, "conversation.started")), 1, "one conversation")


def merged(run):
    """Operations show only `completed`; conversations only `updated`; messaging comes first; one batch with everything."""
    dep = run.start().dep
    original, held = dep.emit, []
    dep.emit = lambda *events: held.extend(e for e in events if e)
    c, i = dep.invite("g-1", ALICE, text="first")
    c.messaging = c.state = "Connected"
    dep.emit = original
    local = held[-1]
    dep.emit(dep.messaging_event(c), local, dep.joined(c, ALICE[0]), dep.completed(i), dep.conversation_event(c))
    noticed(dep)
    dep.say(c, ALICE[0], "first\r\n")
    dep.say(c, ALICE[0], "second")
    dep.drained()
    with dep.cv:
        dep.say(c, ALICE[0], "last words")
        dep.emit(dep.left(c, ALICE[0]))
        dep.end(c)
    dep.drained()
    run.stop()
    events, rows = run.archive()
    mine = one(run, events, rows)
    run.equal(texts(mine), ["first", "second", "last words"], "texts")
    run.equal([len(of(mine, k)) for k in ("invitation.received", "invitation.accepted", "conversation.started", "conversation.ended", "notice.sent", "capture.gap")],
              [1, 1, 1, 1, 1, 0], "each fact once")
    run.equal({e["actor"]["id"] for e in of(mine, "message.sent")}, {"sip:alice@contoso.example"}, "actor")


def people(run):
    """Names in all their forms: empty titles, upper case, telephone numbers, anonymous guests, senders that have gone."""
    dep = run.start().dep

    def enter(i):
        dep.people_in(i["c"], ("+4930123456", "+49 30 123456"), ("guest%201", "Guest 1"))
        i["c"].people["+4930123456"]["uri"] = "tel:+4930123456"
        i["c"].people["guest%201"].update(uri="", name="Guest 1")
        dep.enter(i)
        return Reply204()

    dep.accept_hook = enter
    c, _ = dep.invite("h-1", ALICE, meeting=FOCUS)
    noticed(dep)
    dep.say(c, "+4930123456", "by phone")
    dep.say(c, "guest%201", "as guest", title="Guest 1")
    dep.people_in(c, ("SHOUT@CONTOSO.EXAMPLE", "Shout"))
    c.people["SHOUT@CONTOSO.EXAMPLE"]["uri"] = "SIP:SHOUT@CONTOSO.EXAMPLE"
    dep.emit(dep.joined(c, "SHOUT@CONTOSO.EXAMPLE", embed=True))
    dep.say(c, "SHOUT@CONTOSO.EXAMPLE", "loud")
    dep.people_in(c, BOB)
    with dep.cv:
        joined = dep.joined(c, BOB[0], "Bob")
        dep.say(c, BOB[0], "and away")
        dep.emit(dep.left(c, BOB[0]))
        dep.pending.insert(len(dep.pending) - 2, joined)
    dep.drained()
    events = run.until("the last text", lambda e: "and away" in texts(e))
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    who = {e["message"]["text"]: e.get("actor") for e in of(mine, "message.sent")}
    run.equal(who.get("by phone", {}).get("id"), "tel:+4930123456", "a telephone number")
    run.check(who.get("as guest", {}).get("name") == "Guest 1", f"a guest without an address {who.get('as guest')}")
    run.equal(who.get("loud"), {"id": "sip:shout@contoso.example", "name": "Shout"}, "upper case")
    run.check((who.get("and away") or {}).get("id") == "sip:bob@contoso.example", f"gone before he could be looked up: {who.get('and away')}")
    run.equal([e["kind"] for e in mine if e["kind"].startswith("participant.") and e["participant"]["id"] == "sip:bob@contoso.example"],
              ["participant.joined", "participant.left"], "Bob came and went")


def dates(run):
    """Dates with an offset; none; a message announced first, completed later; our account elsewhere says something."""
    dep = run.start().dep
    c = talk(run)
    name = dep.next_message(c)
    doc = {"direction": "Incoming", "timeStamp": "/Date(1474932027613+0000)/", "rel": "message", "_links": {
        "self": dep.link(name), "participant": dep.link(f"communication/conversations/t-1/participants/{ALICE[0]}"), "plainMessage": {"href": data_uri("offset")}}}
    dep.emit(dep.event(c, "message", name, "started", doc), dep.event(c, "message", name, "completed", doc, status="Success"))
    name = dep.next_message(c)
    plain = {"direction": "Incoming", "rel": "message", "_links": dict(doc["_links"], self=dep.link(name), plainMessage={"href": data_uri("no date")})}
    dep.emit(dep.event(c, "message", name, "completed", plain, status="Success"))
    name = dep.next_message(c)
    own = {"direction": "Outgoing", "rel": "message", "timeStamp": "/Date(1474932027614)/", "_links": {"self": dep.link(name), "plainMessage": {"href": data_uri("typed by hand")}}}
    dep.emit(dep.event(c, "message", name, "completed", own, status="Success"))
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["zero", "offset", "no date", "typed by hand"], "texts once")
    run.equal([e.get("source_time") for e in of(mine, "message.sent")][1], "2016-09-26T23:20:27.613Z", "a date with offset")
    run.check(all("source_time" in e for e in of(mine, "message.sent")), "else the Date of the batch")
    run.equal(of(mine, "message.sent")[-1]["actor"]["id"], "sip:recorder@contoso.example", "the account itself")


def late_send_link(run):
    """Messaging connects without sendMessage (audience messaging off): the notice waits for the link."""
    dep = run.start().dep
    original = dep.messaging_doc

    def mute(c):
        doc = original(c)
        doc["_links"].pop("sendMessage", None)
        return doc

    dep.messaging_doc = mute
    c, _ = dep.invite("z-1", ALICE, meeting=FOCUS)
    dep.wait("messaging", lambda: c.messaging == "Connected")
    dep.say(c, ALICE[0], "heard")
    dep.drained()
    run.equal(dep.requests("POST", r".*/messaging/messages"), [], "not before the link is there")
    dep.messaging_doc = original
    dep.emit(dep.messaging_event(c))
    noticed(dep)
    dep.drained()
    events, rows = ends(run, c)
    run.equal((texts(events), len(of(events, "notice.sent"))), (["heard"], 1), "recorded, noticed")


@settings(keys={"rejoin": False})
def no_rejoin(run):
    dep = run.start().dep
    c = talk(run, text=None, meeting=FOCUS)
    dep.lose_application()
    dep.wait("created again", lambda: dep.apps_made > 1)
    dep.drained()
    run.until("its end", lambda e: of(e, "conversation.ended"))
    run.stop()
    run.equal(dep.requests("POST", "communication/onlineMeetingInvitations"), [], "no rejoin")
    events, rows = run.archive()
    run.check(of(events, "capture.gap") and rows[0]["state"] == "ended", "a gap and the end")


@settings(keys={"accept_from": ["bob@contoso.example", "*@partner.example"]})
def accept_from(run):
    dep = run.start().dep
    dep.invite("af-1", ALICE, text="not me")
    dep.wait_request("POST", r".*/decline")
    b, _ = dep.invite("af-2", BOB, text="me")
    p, _ = dep.invite("af-3", ("Pat@Partner.example", "Pat"), text="me too")
    noticed(dep, 2)
    dep.drained()
    events, rows = ends(run, b, p)
    run.equal(sorted(texts(events)), ["me", "me too"], "texts of the admitted")
    run.equal([len(of(events, "invitation." + k)) for k in ("received", "accepted", "declined")], [3, 2, 1], "decisions")


def dead_server(run):
    """SIGTERM while the pool resets everything: within ten seconds all the same; the next start goes on."""
    dep = run.start().dep
    talk(run)
    original = dep.handle
    dep.handle = lambda seen: Reply(200, spoil="reset")
    dep.fault(Reply(200, spoil="reset"))
    run.stop()
    dep.handle = original
    run.start()
    run.stop()
    run.archive()


def hanging_server(run):
    """SIGTERM while no request is answered; a second signal ends at once."""
    dep = run.start().dep
    talk(run)
    original = dep.handle

    def hang(seen):
        with dep.cv:
            dep.seen.append(seen)
            dep.cv.wait_for(lambda: dep.closing or dep.handle is original, 60)
        return Reply(200, spoil="reset")

    dep.handle = hang
    run.stop()
    with dep.cv:
        dep.handle = original
        dep.cv.notify_all()
    run.start()
    dep.handle = hang
    run.process.send_signal(signal.SIGTERM)
    dep.wait("the signal at work", lambda: "SIGTERM" in run.log().split("stopped")[-1])
    begun = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    run.process.wait(10)
    run.check(time.monotonic() - begun < 2, "the second signal ends at once")
    dep.handle = original
    status, out, err = run.cli("verify")
    run.equal(status, 0, f"verify: {out}{err}")


def too_many(run):
    """410 TooManyApplications at the creation: waits and tries again."""
    dep, refusals = run.dep, []
    original = dep.create

    def create(seen):
        if len(refusals) < 2:
            refusals.append(seen)
            return error(410, "Gone", "TooManyApplications")
        return original(seen)

    dep.create = create
    run.start(ready=False)
    dep.wait("an application at last", lambda: dep.polls, 40)
    run.equal(len({s.body for s in dep.requests("POST", "applications")}), 1, "the same endpointId")
    run.stop()


def user_redirect(run):
    """The user resource redirects to a bare root, which has no user link: /oauth/user is appended."""
    dep = run.dep
    original = dep.handle

    def handle(seen):
        path = seen.target.partition("?")[0]
        if seen.origin == "discovery" and path == "/other/root":
            seen.name = "bare"
            with dep.cv:
                dep.seen.append(seen)
            return Reply(200, {"_links": {"self": {"href": "/other/root"}}})
        if seen.origin == "discovery" and path == "/other/root/oauth/user":
            seen.target = "/AD.svc/root/oauth/user"
            dep.user_override = None
        return original(seen)

    dep.handle = handle
    dep.user_override = {"_links": {"redirect": {"href": dep.url["discovery"] + "/other/root"}}}
    run.start()
    run.check(all("Authorization" not in s.headers for s in dep.requests(place="bare")) and dep.requests(place="bare"), "anonymous at the redirect")
    run.stop()


def burst(run):
    """Three hundred messages in one batch, timeout answers between, ten batches in a row."""
    dep = run.start().dep
    c = talk(run)
    said = ["zero"]
    for k in range(10):
        with dep.cv:
            for n in range(30):
                said.append(f"{k}.{n} " + "é" * (n * 50))
                dep.say(c, ALICE[0], said[-1])
    for _ in range(5):
        dep.drained()
        with dep.cv:
            number = dep.number + 1
        dep.fault(Reply(200, {"_links": {"self": {"href": dep.events_href(number)}, "next": {"href": dep.events_href(number)}}, "sender": []}))
        dep.wait("the empty answer", lambda: not dep.faults)
    dep.say(c, ALICE[0], "end")
    dep.drained()
    events, rows = ends(run, c)
    run.equal(texts(events), said + ["end"], "all of them in order")
    run.equal(of(events, "capture.gap"), [], "no gap")


def handled_elsewhere(run):
    """Another endpoint takes the invitation: accept fails, the invitation completes with ConnectedElsewhere."""
    dep = run.start().dep
    dep.accept_hook = lambda i: error(404, "NotFound")
    c, i = dep.invite("he-1", ALICE, text="not yours")
    dep.wait_request("POST", r".*/accept")
    i["state"] = "Connected"
    updated = dep.event("communication", i["rel"], i["name"], "updated", dep.invitation_doc(i))
    dep.emit(updated, dep.completed(i, "Failure", "Failed", {"code": "LocalFailure", "subcode": "ConnectedElsewhere"}))
    dep.end(c, deleted_only=True)
    dep.drained()
    run.stop()
    run.equal(len(dep.requests("POST", r".*/accept")), 1, "accepted once")
    events, rows = run.archive()
    run.equal([e["reason"]["subcode"] for e in of(events, "invitation.failed")], ["ConnectedElsewhere"], "failed with the reason")
    run.equal(texts(events), ["not yours"], "its text is kept")
    run.equal(of(events, "capture.gap"), [], "no gap")


def no_thread(run):
    """Two talks without a threadId are two conversations; the same person invites twice at once."""
    dep = run.start().dep
    a, _ = dep.invite("nt-1", ALICE, text="a")
    b, _ = dep.invite("nt-2", ALICE, text="b")
    a.thread = b.thread = ""
    noticed(dep, 2)
    dep.emit(dep.conversation_event(a), dep.conversation_event(b))
    dep.say(a, ALICE[0], "aa")
    dep.say(b, ALICE[0], "bb")
    dep.drained()
    events, rows = ends(run, a, b)
    run.equal(len(rows), 2, "two conversations")
    run.equal(sorted(texts([e for e in events if e.get("conversation") == r["id"]]) for r in rows), [["a", "aa"], ["b", "bb"]], "each its own texts")


SCENARIOS = (hanging_server, too_many, same_names, merged, people, dates, late_send_link, no_rejoin, accept_from, dead_server, user_redirect, burst,
             handled_elsewhere, no_thread)
