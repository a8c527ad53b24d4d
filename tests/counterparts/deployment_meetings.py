"""Meetings: joining, adding messaging, roster, lobby, roles, escalation, coming back."""

import time

from deployment import error
from deployment_chats import ALICE, BOB, ends, noticed, one
from recorder_run import of, settings, texts

CAROL, DAN = ("carol@contoso.example", "Carol"), ("dan@contoso.example", "Dan")
FOCUS = "sip:alice@contoso.example;gruu;opaque=app:conf:focus:id:KS77KG4B"


def kinds(events, person):
    return [e["kind"] + (":" + str(e["participant"].get("in_lobby")) if "in_lobby" in e["participant"] else "")
            for e in events if e["kind"].startswith("participant.") and e["participant"]["id"] == "sip:" + person[0].lower()]


@settings(style="absolute")
def meeting(run):
    """Joined, left with a reason, lobby, roles, found by the roster check, modalities, subject, the end."""
    dep = run.start().dep
    dep.accept_hook = lambda i: (dep.people_in(c, CAROL, role="Attendee"), c.roster_hidden.add(CAROL[0]), dep.enter(i), None)[3] or Reply204()
    c, i = dep.invite("3b80d6be", ALICE, meeting=FOCUS, subject="Agenda")
    noticed(dep)
    dep.wait("roster", lambda: dep.requests("GET", r".*/participants/carol.*") or dep.requests("GET", r".*/participants"))
    dep.people_in(c, BOB, role="Attendee", lobby=True)
    dep.emit(dep.view(c, BOB[0], "lobby", "added"))
    dep.drained()
    dep.wait_request("GET", r".*participants/bob@contoso.example")
    c.people[BOB[0]]["lobby"] = False
    dep.emit(dep.view(c, BOB[0], "lobby", "deleted"), dep.joined(c, BOB[0], "Bob"), dep.view(c, BOB[0], "attendees", "added"))
    dep.drained()
    c.people[BOB[0]]["role"] = "Leader"
    dep.emit(dep.view(c, BOB[0], "attendees", "deleted"), dep.view(c, BOB[0], "leaders", "added"))
    dep.drained()
    dep.people_in(c, DAN, role="Attendee", lobby=True)
    dep.emit(dep.view(c, DAN[0], "lobby", "added"))
    dep.drained()
    dep.wait_request("GET", r".*participants/dan@contoso.example")
    c.people.pop(DAN[0])
    dep.emit(dep.view(c, DAN[0], "lobby", "deleted"))
    dep.drained()
    dep.say(c, BOB[0], "hello all")
    at = "communication/conversations/3b80d6be"
    c.modalities = ["Messaging", "Audio"]
    dep.emit(dep.conversation_event(c),
             dep.event(c, "participantAudio", f"{at}/participants/{BOB[0]}/audio", "added", in_=("participant", f"{at}/participants/{BOB[0]}", "Bob")),
             dep.event(c, "applicationSharer", f"{at}/applicationSharing/applicationSharer", "added", in_=("applicationSharing", f"{at}/applicationSharing")),
             dep.event(c, "applicationSharer", f"{at}/applicationSharing/applicationSharer", "deleted", in_=("applicationSharing", f"{at}/applicationSharing")),
             dep.event(c, "hyperspace", f"{at}/hyperspace", "exploded", {"x": "unheard of", "_links": {}}))
    c.subject = "Agenda, changed"
    dep.emit(dep.conversation_event(c))
    run.until("the new subject", lambda events: any(e.get("subject") == c.subject for e in of(events, "conversation.changed")))
    dep.emit(dep.left(c, BOB[0], reason={"code": "RemoteFailure", "subcode": "Ejected", "message": "out"}))
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.check(kinds(mine, ALICE)[:1] in (["participant.joined"], ["participant.joined:False"]), f"Alice joined {kinds(mine, ALICE)}")
    found = [e for e in of(mine, "participant.joined") if e["participant"]["id"] == "sip:carol@contoso.example"]
    run.equal([(e.get("detail") or {}).get("found_by") for e in found], ["roster check"], "Carol is found by the roster check")
    bob = kinds(mine, BOB)
    run.check(bob[0] == "participant.joined:True" and "participant.changed:False" in bob and bob[-1].startswith("participant.left"), f"Bob waits, is admitted, leaves {bob}")
    run.equal(len([k for k in bob if k.startswith("participant.joined")]), 1, "Bob joins once")
    run.equal([e["participant"].get("role") for e in of(mine, "participant.changed") if e["participant"]["id"] == "sip:bob@contoso.example"][-1], "Leader",
              "promotion is participant.changed with the role") if bob else None
    dan = kinds(mine, DAN)
    run.equal(dan[:1] + [k.split(":")[0] for k in dan[1:]], ["participant.joined:True", "participant.left"], "Dan waits and is refused")
    left = [e for e in of(mine, "participant.left") if e["participant"]["id"] == "sip:bob@contoso.example"]
    run.equal([e.get("reason", {}).get("subcode") for e in left], ["Ejected"], "reason of leaving")
    run.equal((len(of(mine, "sharing.started")), len(of(mine, "sharing.ended"))), (1, 1), "sharing")
    run.check(of(mine, "modality.changed"), "modality.changed")
    run.check(any(e.get("subject") == "Agenda, changed" for e in of(mine, "conversation.changed")), "the new subject is conversation.changed")
    run.check(any("hyperspace" in str(e.get("detail")) for e in of(mine, "platform.event")), "the unheard of is kept")
    run.equal(of(mine, "invitation.received")[0].get("detail", {}).get("modality"), "meeting", "modality")
    run.equal((rows[0]["coverage"], len(of(mine, "capture.gap")), len(of(mine, "notice.sent"))), ("complete", 0, 1), "complete, one notice")
    run.equal(sorted(p["id"] for p in rows[0]["participants"])[:3], ["sip:alice@contoso.example", "sip:bob@contoso.example", "sip:carol@contoso.example"], "participants")


def Reply204():
    from deployment import Reply
    return Reply(204)


def inviter_forms(run):
    """`from` embedded, as a link, or (as in the field capture) not there at all."""
    dep = run.start().dep
    for n, form in enumerate(("embedded", "link", "none")):
        dep.invite(f"f-{n}", ALICE, meeting=FOCUS + str(n), **{"from": form})
        dep.wait(f"an answer to {form}", lambda: len(dep.requests("POST", r".*/(accept|decline)")) == n + 1)
    dep.drained()
    accepted = len(dep.requests("POST", r".*/accept"))
    noticed(dep, accepted)
    run.stop()
    events, rows = run.archive()
    received = of(events, "invitation.received")
    run.equal([e.get("actor", {}).get("id") for e in received][:2], ["sip:alice@contoso.example"] * 2, "inviter")
    run.equal(accepted, 3, "accepted: the organiser in onlineMeetingUri stands in where no inviter is told")


def conflict(run):
    """The 409 of the seed: no subcode, then a fresh link; the operationId stays; no POST goes to another conversation."""
    dep = run.start().dep
    bodies = []

    def hook(seen, c):
        bodies.append(seen.body)
        return error(409, "Conflict") if len(bodies) < 3 else None

    dep.add_hook = hook
    c, _ = dep.invite("0ae942e4", ALICE, meeting=FOCUS)
    noticed(dep, 1)
    dep.say(c, ALICE[0], "at last")
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal((len(bodies), len(set(bodies))), (3, 1), "three tries, one operationId")
    run.check(len(dep.requests("GET", r".*/0ae942e4/messaging")) >= 2, "GET messaging before each further try")
    run.equal(texts(mine), ["at last"], "text")
    run.equal((len(of(mine, "recording.started")), len(of(mine, "invitation.received"))), (1, 1), "our own invitation is no invitation.received")


def drops(run):
    """Messaging drops twice: shortly (no gap), and for over five seconds (a gap). The notice is not repeated."""
    dep = run.start().dep
    c, _ = dep.invite("d-1", ALICE, meeting=FOCUS)
    noticed(dep)
    dep.drained()
    dep.set_messaging(c, "Disconnected", reason={"code": "LocalFailure", "subcode": "Replaced"})
    dep.wait("connected again", lambda: c.messaging == "Connected")
    dep.say(c, ALICE[0], "between")
    dep.drained()
    before = run.until("the text between", lambda events: "between" in texts(events))
    short = len(of(before, "capture.gap"))  # others may have spoken meanwhile: the contract leaves a gap open
    run.check(short <= 1, "at most one gap for the short drop")
    run.equal((len(of(before, "recording.started")), len(of(before, "recording.stopped"))), (2, 1), "recording stopped and started")
    c.addable = False
    dep.set_messaging(c, "Disconnected", reason={"code": "LocalFailure", "subcode": "Unavailable"})
    dep.drained()
    begun = time.monotonic()
    while time.monotonic() - begun < 6:   # the span itself is under test
        time.sleep(0.1)
    c.addable = True
    dep.emit(dep.messaging_event(c))
    dep.wait("connected again", lambda: c.messaging == "Connected")
    dep.say(c, ALICE[0], "after")
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    gaps = of(mine, "capture.gap")
    run.equal(len(gaps) - short, 1, "one gap for the long drop")
    run.equal(rows[0]["coverage"], "incomplete", "coverage")
    run.equal((texts(mine), len(of(mine, "notice.sent"))), (["between", "after"], 1), "texts, one notice")
    run.equal(len(noticed(dep)), 1, "the notice is not sent again")


@settings(style="opaque")
def own_lobby(run):
    """We wait in the lobby; admitted; another lobby denies us."""
    dep = run.start().dep

    def lobby(i):
        i["c"].state = "InLobby"
        dep.emit(dep.conversation_event(i["c"]), dep.messaging_event(i["c"]))
        return Reply204()

    dep.accept_hook = lobby
    c, i = dep.invite("w-1", ALICE, meeting=FOCUS)
    dep.wait_request("POST", r".*/accept")
    dep.drained()
    run.equal(dep.requests("POST", r".*messagingInvitations\?.*"), [], "no addMessaging from the lobby")
    dep.enter(i)
    noticed(dep)
    dep.say(c, ALICE[0], "welcome")
    dep.drained()
    d, j = dep.invite("w-2", BOB, meeting=FOCUS + "2")
    dep.wait_request("POST", r".*/accept", 2)
    dep.drained()
    dep.emit(dep.completed(j, "Failure", "Failed", {"code": "RemoteFailure", "subcode": "Denied", "message": "no"}))
    dep.end(d, reason={"code": "RemoteFailure", "subcode": "Denied"})
    dep.drained()
    events, rows = ends(run, c)
    run.equal(texts(events), ["welcome"], "text")
    run.equal((len(of(events, "invitation.accepted")), len(of(events, "invitation.failed"))), (1, 1), "accepted, failed")
    run.equal([e["reason"].get("subcode") for e in of(events, "invitation.failed")], ["Denied"], "reason")
    run.equal(len(of(events, "conversation.started")), 1, "the lobby is not the meeting")


def escalation(run):
    """A two-party talk becomes a conference: other href, same thread; nothing counted twice, one notice."""
    dep = run.start().dep
    thread = "AdIw2sMaOjuEJHfcRJiiK5Czug+5Ug=="
    a, _ = dep.invite("x-1", ALICE, thread=thread, text="let us")
    noticed(dep)
    dep.say(a, ALICE[0], "let us\r\n")
    dep.drained()
    b, _ = dep.invite("x-2", ALICE, thread=thread, meeting=FOCUS)
    dep.wait_request("POST", r".*onlineMeetingInvitations/.*/accept")
    dep.end(a)
    dep.wait("messaging in the conference", lambda: b.messaging == "Connected")
    dep.people_in(b, BOB)
    dep.emit(dep.joined(b, BOB[0]))
    dep.say(b, BOB[0], "three of us")
    dep.drained()
    dep.wait_request("GET", r".*participants/bob@contoso.example")
    events, rows = ends(run, b)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["let us", "three of us"], "texts")
    run.equal((len(of(mine, "conversation.started")), len(of(mine, "conversation.ended")), len(of(mine, "notice.sent"))), (1, 1, 1), "started, ended, noticed once")
    run.equal(of(mine, "capture.gap"), [], "no gap")
    run.equal(len([e for e in of(mine, "participant.joined") if e["participant"]["id"] == "sip:alice@contoso.example"]), 1, "Alice joined once")


def escalation_in_place(run):
    """The same href goes Connected, Conferencing, Conferenced; our messaging is dropped meanwhile."""
    dep = run.start().dep
    c, _ = dep.invite("p-1", ALICE, text="one")
    noticed(dep)
    dep.drained()
    c.state = "Conferencing"
    dep.emit(dep.conversation_event(c))
    c.state, c.meeting, c.messaging = "Conferenced", FOCUS, "Disconnected"
    dep.people_in(c, BOB)
    dep.emit(dep.conversation_event(c), dep.messaging_event(c), dep.joined(c, BOB[0]))
    dep.wait("messaging added", lambda: c.messaging == "Connected")
    dep.say(c, BOB[0], "two")
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal((texts(mine), len(of(mine, "notice.sent")), len(of(mine, "conversation.started"))), (["one", "two"], 1, 1), "one talk")
    run.check({"Conferencing", "Conferenced"} & {e.get("state") for e in of(mine, "conversation.changed")}, "state changes")
    run.equal(of(mine, "capture.gap"), [], "no gap")


def ejected(run):
    """After an ejection the recorder does not come back."""
    dep = run.start().dep
    c, _ = dep.invite("j-1", ALICE, meeting=FOCUS)
    noticed(dep)
    dep.drained()
    why = {"code": "RemoteFailure", "subcode": "Ejected", "message": "removed"}
    dep.emit(dep.event(c, "localParticipant", f"communication/conversations/j-1/participants/{dep.user}", "deleted", reason=why))
    dep.end(c, reason=why)
    dep.drained()
    dep.invite("j-2", BOB, text="something else")
    noticed(dep, 2)
    dep.drained()
    run.stop()
    run.equal([s.target for s in dep.requests("POST", r"communication/onlineMeetingInvitations")], [], "no rejoin")
    events, rows = run.archive()
    ended = [e for e in of(events, "conversation.ended") if e.get("reason", {}).get("subcode") == "Ejected"]
    run.equal((len(ended), of(events, "capture.gap")), (1, []), "ended with the reason, no gap")


def delivery(run):
    """Somebody cannot be reached by our notice in a meeting."""
    dep = run.dep

    def partly(seen, c, operation):
        from deployment import Reply
        name = dep.next_message(c)
        dep.emit(dep.sent_message(c, name, operation, failed=[BOB[0]]))
        return Reply(201, headers={"Location": dep.href(name)})

    dep.send_hook = partly
    run.start()
    dep.accept_hook = lambda i: (dep.people_in(i["c"], BOB), dep.enter(i), Reply204())[2]
    c, _ = dep.invite("y-1", ALICE, meeting=FOCUS)
    noticed(dep)
    dep.drained()
    events, rows = ends(run, c)
    run.equal(len(of(events, "message.undelivered")), 1, "message.undelivered for whom it did not reach")
    run.equal(texts(events), [], "no message.sent")


def link_only(run):
    """Nothing is embedded: every resource has to be fetched."""
    dep = run.start().dep
    original = dep.event

    def bare(sender, rel, name, kind, doc=None, title=None, in_=None, key=None, **more):
        if rel in ("conversation", "messaging", "onlineMeetingInvitation", "messagingInvitation", "localParticipant"):
            doc = None
        return original(sender, rel, name, kind, doc, title, in_, key, **more)

    dep.event = bare
    c, _ = dep.invite("o-1", ALICE, meeting=FOCUS, subject="Bare")
    noticed(dep)
    said = dep.say(c, ALICE[0], "fetched", embed=False)
    dep.wait_request("GET", said)
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal((texts(mine), rows[0]["subject"], len(of(mine, "notice.sent"))), (["fetched"], "Bare", 1), "recorded all the same")
    run.equal([e["actor"]["id"] for e in of(mine, "message.sent")], ["sip:alice@contoso.example"], "actor")
    run.equal((len(of(mine, "invitation.accepted")), len(of(mine, "recording.started")), rows[0]["state"]), (1, 1, "ended"), "the facts")
    run.equal(of(mine, "capture.gap"), [], "no gap")


SCENARIOS = (drops, meeting, inviter_forms, conflict, own_lobby, escalation, escalation_in_place, ejected, delivery, link_only)
