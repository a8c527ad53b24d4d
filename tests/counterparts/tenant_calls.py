"""From the answer to the end: states out of order, policy recording, recording status, sharing, keeping alive, hanging up."""

import time

from recorder_run import of, settings
from tenant import error
from tenant_answer import accepted, finish, invited
from tenant_run import fixture
from tenant_send import ALICE, BOB, CAROL, RECORDER, bot_data, person, pid
from tenant_wire import Reply

MEETING = "19:meeting_Win6Ydo4wsMijFjZS00ZGVjLTk5MGUtOTRjNWY2NmNkYTFm@thread.v2"


def patience(seconds):
    """Nothing may happen meanwhile; there is no event to wait for."""
    time.sleep(seconds)


def ends(events):
    return [{k: str(v) for k, v in e.get("reason", {}).items()} for e in of(events, "conversation.ended")]


# ---- states


def established_before_establishing(run):
    run.start()
    call = run.service.call()
    call.incoming()
    call.until_answered()
    call.update("established")
    call.update("establishing")
    call.update("established")
    run.until("the start", lambda e: of(e, "conversation.started"))
    events, _ = finish(run, call)
    run.equal([len(of(events, "conversation.started")), len(of(events, "conversation.ended"))], [1, 1], "started and ended once")


def everything_twice(run):
    """Each notification is delivered twice; each fact is there once."""
    run.start()
    call = run.service.call()
    first = call.note(call.resource(), "created")
    run.equal([call.send(first).status, call.send(first).status], [202, 202], "both are taken")
    call.begun = time.monotonic()
    call.until_answered()
    for _ in range(2):
        call.establish()
        call.roster(person("p1", ALICE), person("p2", BOB))
        call.share("created", "s1")
    for _ in range(2):
        call.share("deleted", "s1")
        call.end()
    events, _ = finish(run)
    run.equal(len(run.tenant.requests("POST", ".*/answer")), 1, "answered once")
    count = lambda kind: len(of(events, kind))
    run.equal([count(k) for k in ("invitation.received", "invitation.accepted", "conversation.started", "participant.joined", "sharing.started", "sharing.ended", "conversation.ended")],
              [1, 1, 1, 2, 1, 1, 1], "each fact once")
    run.equal(count("recording.started"), 1, "recording once")


def terminating_after_terminated(run):
    run.start()
    call = accepted(run)
    uri = call.callback_uri
    call.end()
    call.callback_uri = uri
    call.update("terminating")
    call.update("established")
    call.roster(person("p1", ALICE))
    events, rows = finish(run)
    run.equal((len(of(events, "conversation.started")), len(of(events, "conversation.ended")), rows[0]["state"]), (1, 1, "ended"), "an ended call stays ended")


def on_hold_and_transferring_is_not_an_end(run):
    run.start()
    call = accepted(run)
    for state in ("hold", "established", "transferring", "transferAccepted", "redirecting", "established", "someFutureState"):
        call.update(state)
    call.update("established", resultInfo={"@odata.type": "#microsoft.graph.resultInfo", "code": 500, "subcode": 7000, "message": "transfer failed"})
    run.until("the states", lambda e: len(of(e, "conversation.changed", "platform.event")) >= 1)
    events = run.events()
    run.equal(of(events, "conversation.ended"), [], "still going on")
    run.check("hold" in str([e for e in events if e["kind"] in ("conversation.changed", "platform.event")]).lower(), "later states are events")
    events, _ = finish(run, call)
    run.equal(len(of(events, "conversation.ended")), 1, "ended once, by the end")


def ways_to_end(run):
    """`resultInfo` as string, with subCode, missing, null, unknown; `state` missing or in PascalCase; the id of the URL in other letters."""
    run.start()
    forms = [({"code": "0", "subcode": 0}, "0"), ({"code": 500, "subcode": 560500, "message": "Server Internal Error. DiagCode: 500#560500.@"}, "500"), ({"code": 487, "subcode": 0, "message": "x"}, "487"), (None, None)]
    for info, _ in forms:
        call = accepted(run, key=None)
        over = {} if info is None else {"resultInfo": {"@odata.type": "#microsoft.graph.resultInfo", **info}}
        run.equal(call.end(None, **over).status, 202, "the end is taken")
    call = accepted(run)
    call.end(None, state=None)
    call = accepted(run)
    call.end(None, state="Terminated", resultInfo={"code": 200, "subCode": 560000, "message": "ended"})
    call = accepted(run)
    shouted = {"@odata.type": "#microsoft.graph.call", "state": "terminated", "resultInfo": {"code": 0, "subcode": 0}}
    call.gone = True
    call.send({"changeType": "deleted", "resourceUrl": "/communications/calls/" + call.id.replace("-", "").upper(), "resourceData": shouted})
    events = run.until("seven ends", lambda e: len(of(e, "conversation.ended")) >= 7)
    run.stop()
    events, rows = run.archive()
    run.equal(sorted(r["state"] for r in rows), ["ended"] * 7, "all ended")
    found = ends(events)
    run.equal(len(found), 7, "seven ends")
    run.equal([found[0].get("code"), found[1].get("code"), found[1].get("subcode"), found[2].get("code")], ["0", "500", "560500", "487"], "reasons as given")
    run.check(any(e.get("subcode") == "560000" for e in found), f"subCode is read, too: {found}")


@settings(keys={"accept_from": ["*"]})
def the_documents_samples(run):
    """The samples of Microsoft's pages, as printed: every one is taken, and none disturbs the others."""
    run.start()
    names = ["incoming-p2p-minimal", "incoming-p2p-typed", "incoming-p2p-callroutes", "incoming-audio-video", "incoming-pstn-appinstance", "incoming-policy-recording", "establishing",
             "established", "establishing-meeting", "established-tone", "state-transferring", "roster-full", "roster-muted", "roster-pstn", "roster-screensharing", "roster-delta-enabled",
             "contentsharing-started-bare", "contentsharing-ended-bare", "contentsharing-collection-updated", "contentsharing-collection-ended", "operation-invite-completed",
             "operation-playprompt-completed", "terminating", "terminated-code-string", "terminated-after-redirect", "terminated-answeredby-encrypted", "terminated-server-error-qna", "deleted-after-reject"]
    for name in names:
        doc = fixture(name)
        answer = run.service.calls(doc["value"])
        run.equal(answer.status, 202, f"{name} is taken")
    run.until("what they tell", lambda e: len(of(e, "invitation.received")) >= 3)
    run.stop()
    events, _ = run.archive()
    run.check(any(e["actor"]["id"].startswith("tel:") or e["actor"]["id"].startswith(ALICE[0].lower()) for e in of(events, "invitation.received") if "actor" in e), "callers")


def an_orphan_is_asked_for(run):
    """Any notification of an unknown call makes a record, and the call is asked for."""
    run.start()
    call = run.service.call(thread=MEETING)
    call.state = "established"
    call.people = [person("p1", ALICE)]
    call.update("established")
    run.tenant.wait_request("GET", f".*/calls/{call.id}")
    run.until("the record", lambda e: of(e, "conversation.started"))
    call.end()
    run.until("the end", lambda e: of(e, "conversation.ended"))
    run.stop()
    run.archive()


def several_items_in_one_body(run):
    run.start()
    a, b = run.service.call(), run.service.call(source=BOB)
    answer = run.service.calls([a.note(a.resource(), "created"), b.note(b.resource(), "created")])
    run.equal(answer.status, 202, "taken")
    run.tenant.wait("both answers", lambda: a.answered and b.answered)
    a.establish(), b.establish()
    run.until("both", lambda e: len(of(e, "conversation.started")) == 2)
    a.end(), b.end()
    run.until("both ends", lambda e: len(of(e, "conversation.ended")) == 2)
    run.stop()
    events, rows = run.archive()
    run.equal(len(rows), 2, "two conversations")


def finished_operations_and_tones_end_nothing(run):
    """A finished operation comes with changeType `deleted`."""
    run.start()
    call = accepted(run)
    for kind in ("playPrompt", "inviteParticipants", "muteParticipant"):
        call.operation("d45324c1", kind=kind)
    call.send(call.note({"@odata.type": "#microsoft.graph.call", "state": "established", "toneInfo": {"@odata.type": "#microsoft.graph.toneInfo", "sequenceId": 1, "tone": "tone1"}}))
    run.until("operations and tone", lambda e: len(of(e, "platform.event")) >= 4)
    run.equal(of(run.events(), "conversation.ended"), [], "the call goes on")
    finish(run, call)


def legacy_bodies_are_not_in_graph_form(run):
    run.start()
    run.equal(run.service.calls(b'{"callId":"x","type":"incoming"}').status in (204, 400), True, "204 for calls not in Graph form")
    run.equal(run.service.calls(b"{").status in (204, 400), True, "unreadable: 400 or 204")
    finish(run, accepted(run))


# ---- policy recording


def policy_recording_keeps_its_bot_data(run):
    run.start()
    data = bot_data(pairedRecorders=[{"id": "471f0300-5c1f-4d99-b5f4-2722e877d490", "participantId": "p"}], otherRecorders=[{"id": "671f0300-9c1f-4d99-b5f4-2722e877d490"}])
    call = accepted(run, policy=data)
    run.tenant.wait("the status", lambda: call.statuses() == ["recording"])
    events, _ = finish(run, call)
    kept = str([e for e in events if e["kind"].startswith("invitation.")])
    for word in ("Tag:Test Policy", "ComplianceRecording", "471f0300-5c1f-4d99-b5f4-2722e877d490", "671f0300-9c1f-4d99-b5f4-2722e877d490", BOB[0].lower()):
        run.check(word.lower() in kept.lower(), f"the policy's {word} is kept with the invitation")
    run.check("join token" not in str(events), "the join token is not archived as an event")


def joining(call, who, over=None):
    data = dict(call.resource(), source={"@odata.type": "#microsoft.graph.participantInfo", "id": "x-" + who[0], "identity": {"user": {"id": who[0], "displayName": who[1]}}})
    data["applicationMetadata"] = {"botData": bot_data(who)}
    data["incomingContext"] = {"@odata.type": "#microsoft.graph.incomingContext", "sourceParticipantId": "s-" + who[0], "observedParticipantId": "s-" + who[0]}
    data.update(over or {})
    return call.note({"@odata.type": "#microsoft.graph.participantJoiningNotification", "call": data}, "created")


def left(call, key):
    return call.note({"@odata.type": "#microsoft.graph.participantLeftNotification", "participantId": key,
                      "call": {"@odata.type": "#microsoft.graph.call", "id": call.id, "resultInfo": {"code": 0, "subcode": 0}}}, "deleted")


@settings(keys={"participant_capacity": 100})
def joining_is_answered_in_the_response(run):
    """202 would lose the user."""
    run.start()
    call = accepted(run, policy=bot_data(ALICE))
    answer = call.send(joining(call, BOB))
    run.equal(answer.status, 200, "200")
    run.equal(answer.doc, {"@odata.type": "#microsoft.graph.acceptJoinResponse"}, "accepted")
    run.check(answer.headers.get_content_type() == "application/json", "as JSON")
    run.check(answer.seconds < 2, f"at once: {answer.seconds:.2f}")
    answer = call.send(joining(call, CAROL))
    run.equal(answer.status, 200, "200")
    run.equal(call.send(left(call, "s-" + BOB[0])).status, 202, "left is taken")
    run.until("Bob has left", lambda e: of(e, "participant.left"))
    run.equal(of(run.events(), "conversation.ended"), [], "the call goes on")
    events, rows = finish(run, call)
    run.equal([e["actor"]["id"] for e in of(events, "invitation.received")], [pid(ALICE), pid(BOB), pid(CAROL)], "received, with that user as actor")
    run.equal(invited(events), ["received", "accepted"] * 3, "and accepted")
    run.equal([e["participant"]["id"] for e in of(events, "participant.left")][:1], [pid(BOB)], "left by the participant id of the joining")
    run.equal(len(rows), 1, "one conversation")


@settings(keys={"participant_capacity": 100, "accept_policy_recording": False, "accept_from": [ALICE[0]], "reject_reason": "busy"})
def joining_is_refused_by_policy(run):
    run.start()
    call = accepted(run, policy=bot_data(ALICE))
    answer = call.send(joining(call, BOB))
    run.equal((answer.status, answer.doc), (200, {"@odata.type": "#microsoft.graph.rejectJoinResponse", "reason": "busy"}), "refused in the response")
    events, _ = finish(run, call)
    run.equal(invited(events), ["received", "accepted", "received", "declined"], "declined")


def two_legs_of_one_call(run):
    """A 1:1 between two policy users: two legs, the same callChainId, one conversation, both raw streams kept."""
    run.legs = 2
    run.start()
    chain = "05f2f70f-3a9c-47c1-80a9-cc79e91d8cec"
    a, b = run.service.call(policy=bot_data(ALICE), chain=chain), run.service.call(policy=bot_data(BOB), chain=chain, source=BOB)
    for call in (a, b):
        call.incoming()
    for call in (a, b):
        call.until_answered(5)
        call.establish()
    run.until("both legs", lambda e: len(of(e, "invitation.accepted")) == 2)
    a.end()
    run.until("one leg's end", lambda e: len(of(e, "conversation.ended")) == 1)
    b.end()
    run.until("the other's", lambda e: len(of(e, "conversation.ended")) == 2)
    run.stop()
    events, rows = run.archive()
    run.equal(len({e.get("conversation") for e in events}), 1, "one conversation")
    run.equal(sorted(e["source_id"] for e in of(events, "invitation.received")), sorted([a.id, b.id]), "both invitations")
    run.equal(len(of(events, "conversation.ended")), 2, "ended once per call")


def two_legs_tell_the_same(run):
    """Both legs of one call carry the same roster and the same session: each fact is there once."""
    run.legs = 2
    run.start()
    legs = [run.service.call(policy=bot_data(who), chain="05f2f70f-3a9c-47c1-80a9-cc79e91d8cec", source=who) for who in (ALICE, BOB)]
    for call in legs:
        call.incoming()
    for call in legs:
        call.until_answered(5)
        call.establish()
    for call in legs:
        call.roster(person("p1", ALICE), person("p2", BOB), person(legs[0].mine, RECORDER, "applicationInstance"), person(legs[1].mine, RECORDER, "applicationInstance"))
        call.share("created", "S1")
    run.until("both legs", lambda e: len(of(e, "invitation.accepted")) == 2 and of(e, "sharing.started"))
    for call in legs:
        call.share("deleted", "S1")
        call.roster(person("p2", BOB))
    for call in legs:
        call.end()
    run.until("both ends", lambda e: len(of(e, "conversation.ended")) == 2)
    run.stop()
    events, rows = run.archive()
    who = lambda kind: sorted(e["participant"]["id"] for e in of(events, kind))
    run.equal(len(rows), 1, "one conversation")
    run.equal((who("participant.joined"), [i for i in who("participant.left") if i == pid(ALICE)]), (sorted([pid(ALICE), pid(BOB)]), [pid(ALICE)]), "each came once, Alice left once; neither leg is a participant")
    run.equal((len(of(events, "sharing.started")), len(of(events, "sharing.ended"))), (1, 1), "one session")


def other_chains_are_other_conversations(run):
    run.start()
    a, b = accepted(run), run.service.call(source=BOB)
    b.incoming()
    b.until_answered()
    b.establish()
    run.until("both", lambda e: len(of(e, "conversation.started")) == 2)
    a.end(), b.end()
    run.until("ends", lambda e: len(of(e, "conversation.ended")) == 2)
    run.stop()
    run.equal(len(run.archive()[1]), 2, "two conversations")


def two_meetings_in_one_chat(run):
    """A recurring meeting: two calls, one thread, one conversation."""
    run.legs = 2
    run.tenant.chats.add(MEETING, "meeting", members=[ALICE, BOB])
    run.start()
    for n in (1, 2):
        call = run.service.call(thread=MEETING)
        call.incoming()
        call.until_answered()
        call.establish()
        call.roster(person(f"p{n}", ALICE))
        run.until("Alice", lambda e: len(of(e, "participant.joined")) == n)
        call.end()
        run.until("the end", lambda e: len(of(e, "conversation.ended")) == n)
    run.stop()
    events, rows = run.archive()
    run.equal(len(rows), 1, "one conversation")
    run.equal(rows[0]["state"], "ended", "ended")


# ---- recording status


def status_by_operation(run):
    """`running`: the result comes as an operation with the same clientContext."""
    run.start()
    run.tenant.status_answer = "running"
    call = accepted(run)
    run.tenant.wait("the status", lambda: call.operations)
    patience(0.5)
    run.equal(of(run.events(), "recording.started"), [], "not confirmed yet")
    context = call.operations[0][1]["clientContext"]
    run.check(context, "a clientContext")
    call.operation("somebody else's", code=200)
    call.operation(context, status="Completed")
    run.until("the confirmation", lambda e: of(e, "recording.started"))
    finish(run, call)


def status_without_an_operation(run):
    """A null operation: the result comes later."""
    run.start()
    real = run.tenant.call

    def null(seen, call_id, rest):
        reply = real(seen, call_id, rest)
        return Reply(200, body=b"null", headers={"Content-Type": "application/json"}) if rest == "/updaterecordingstatus" else reply

    run.tenant.call = null
    call = accepted(run)
    run.tenant.wait("the status", lambda: call.operations)
    patience(0.5)
    run.equal(of(run.events(), "recording.started"), [], "not confirmed yet")
    call.operation(call.operations[0][1]["clientContext"])
    run.until("the confirmation", lambda e: of(e, "recording.started"))
    finish(run, call)


def status_fails(run):
    run.start()
    run.tenant.status_answer = "running"
    call = accepted(run)
    run.tenant.wait("the status", lambda: call.operations)
    call.operation(call.operations[0][1]["clientContext"], status="failed", code=500)
    run.until("the failure", lambda e: of(e, "recording.failed"))
    run.equal(of(run.events(), "recording.started"), [], "never started")
    finish(run, call)


def status_fails_at_once(run):
    run.start()
    run.tenant.status_answer = "failed"
    call = accepted(run)
    run.until("the failure", lambda e: of(e, "recording.failed"))
    finish(run, call)


def status_is_refused(run):
    run.start()
    run.tenant.fault("POST", ".*/updateRecordingStatus", *[error(403, "Forbidden")] * 5)
    call = accepted(run)
    run.until("the failure", lambda e: of(e, "recording.failed"))
    events, _ = finish(run, call)
    run.equal(of(events, "recording.started"), [], "never started")


def nothing_is_recorded_as_recorded_before_the_platform_confirms(run):
    """The status is under way: people do not see yet that they are recorded, so the archive does not say that they were told, and no
    media is asked for, then or ever."""
    run.start()
    run.tenant.status_answer = "running"
    call = accepted(run, policy=bot_data())
    call.roster(person("p1", ALICE), person("p2", BOB))
    run.tenant.wait("the status", lambda: call.operations)
    run.until("the roster", lambda e: len(of(e, "participant.joined")) == 2)
    run.equal(of(run.events(), "recording.started"), [], "not before the confirmation")
    run.tenant.wait("that it was asked only for what is stored", lambda: call.statuses() == ["recording"])
    call.operation(call.operations[0][1]["clientContext"], change="updated")
    run.until("the start", lambda e: of(e, "recording.started"))
    events, _ = finish(run, call)
    # `recordResponse`, `subscribeToTone`, `playPrompt`, `mute` and their like are the ways to media.
    asked = {seen.path.split("/")[-1].split("?")[0] for seen in run.tenant.requests("POST", ".*/communications/calls/.*")}
    run.check(asked <= {"answer", "updateRecordingStatus", "keepAlive"}, f"nothing else is asked of the call: {asked}")
    run.equal(call.answered.body.get("mediaConfig", {}).get("@odata.type"), "#microsoft.graph.serviceHostedMediaConfig", "media stays with the service")


@settings(keys={"report_recording_status": False})
def status_is_not_reported(run):
    run.start()
    call = accepted(run)
    call.roster(person("p1", ALICE))
    run.until("the roster", lambda e: of(e, "participant.joined"))
    finish(run, call)
    run.equal(call.operations, [], "no updateRecordingStatus")


# ---- sharing, alive, alone


def sharing_in_both_forms(run):
    run.start()
    call = accepted(run)
    call.share("created", "S1", bare=True)
    call.share("updated", "S1")
    call.share("deleted", "S1", bare=True)
    call.share("created", "S2")
    call.share("updated", "S2", bare=True)
    call.share("deleted", "S2")
    call.share("created", "S3")
    run.until("three sessions", lambda e: len(of(e, "sharing.started")) == 3)
    events, _ = finish(run, call)
    run.equal([e.get("source_id") for e in of(events, "sharing.started")], ["S1", "S2", "S3"], "started")
    run.equal([e.get("source_id") for e in of(events, "sharing.ended")][:2], ["S1", "S2"], "ended")


@settings(keys={"keep_alive_seconds": 2})
def keeps_the_call_alive(run):
    """And asks for call and roster with it; 404 is the end of a meeting that came without `deleted`."""
    run.start()
    call = accepted(run)
    first = run.tenant.wait_request("POST", f".*/calls/{call.id}/keepAlive", seconds=10)
    second = run.tenant.wait_request("POST", f".*/calls/{call.id}/keepAlive", 2, seconds=10)
    run.check(1 < second.at - first.at < 4, f"every two seconds: {second.at - first.at:.1f}")
    call.people = [person("p1", ALICE)]
    run.until("the roster that no notification told", lambda e: of(e, "participant.joined"))
    call.gone = True
    run.until("the end", lambda e: of(e, "conversation.ended"))
    run.stop()
    run.equal(run.archive()[1][0]["state"], "ended", "ended")


@settings(keys={"keep_alive_seconds": 2})
def keeping_alive_fails(run):
    """503 again and again: on record in the call's conversation; the call goes on, and keepAlive does when it can."""
    run.start()
    call = accepted(run)
    tried = lambda status: [s for s in run.tenant.requests("POST", f".*/calls/{call.id}/keepAlive") if s.status == status]
    run.tenant.before = lambda seen: error(503, "ServiceUnavailable", {"Retry-After": "0.1"}) if seen.path.endswith("/keepAlive") else None
    failures = lambda events: [e for e in of(events, "platform.event") if str(e.get("detail", {}).get("recorder")).startswith("keepAlive failed")]
    run.until("the failure", failures, 30)
    run.check(len(tried(503)) >= 2, "tried more than once")
    run.tenant.before = None
    good = len(tried(200))
    run.tenant.wait("a keepAlive", lambda: len(tried(200)) > good, 20)
    call.roster(person("p1", ALICE))
    events = run.until("the roster", lambda e: of(e, "participant.joined"))
    run.equal(of(events, "conversation.ended"), [], "the call goes on")
    events, rows = finish(run, call)
    run.equal({e.get("conversation") for e in failures(events)}, {rows[0]["id"]}, "in the conversation of the call")
    run.check(all("503" in e["detail"]["recorder"] for e in failures(events)), f"and why: {failures(events)}")
    run.equal([len(of(events, k)) for k in ("conversation.started", "recording.started", "recording.failed", "conversation.ended")], [1, 1, 0, 1], "nothing else came of it")


@settings(keys={"hang_up_after_seconds": 2})
def hangs_up_after_the_last_human(run):
    run.start()
    call = accepted(run)
    call.roster(person("me", RECORDER, "applicationInstance", id=call.mine), person("p1", ALICE), person("bot", RECORDER, "application"))
    run.until("Alice", lambda e: of(e, "participant.joined"))
    call.roster(person("me", RECORDER, "applicationInstance", id=call.mine), person("bot", RECORDER, "application"))
    begun = time.monotonic()
    gone = run.tenant.wait_request("DELETE", f".*/calls/{call.id}", seconds=15)
    run.check(gone.at - begun > 1.5, f"not before its time: {gone.at - begun:.1f}")
    run.equal(call.statuses(), ["recording", "notRecording"], "then notRecording and DELETE")
    call.update("terminating")
    call.end()
    events, _ = finish(run)
    run.equal([len(of(events, k)) for k in ("recording.started", "recording.stopped", "conversation.ended")], [1, 1, 1], "stopped, ended")
    order = [e["kind"] for e in events if e["kind"] in ("recording.stopped", "conversation.ended")]
    run.equal(order, ["recording.stopped", "conversation.ended"], "in this order")


@settings(keys={"hang_up_after_seconds": 2})
def does_not_hang_up_on_anybody(run):
    """Somebody comes back in time; a 1:1 whose roster stays empty never had humans on it."""
    run.start()
    quiet = accepted(run, source=BOB)
    quiet.roster()
    call = accepted(run)
    call.roster(person("p1", ALICE))
    call.roster()
    patience(1)
    call.roster(person("p2", ALICE))
    patience(2.5)
    run.equal(run.tenant.requests("DELETE", ".*/calls/.*"), [], "nobody is left alone")
    quiet.end()
    finish(run, call)


def killed_in_mid_call(run):
    """After the restart the call is asked for, goes on, and what may have been missed is said."""
    run.start()
    call = accepted(run, thread=MEETING)
    call.roster(person("p1", ALICE), person("p2", BOB))
    run.until("the roster", lambda e: len(of(e, "participant.joined")) == 2)
    run.kill()
    call.people = [person("p1", ALICE), person("p3", CAROL)]
    run.start()
    run.tenant.wait_request("GET", f".*/calls/{call.id}")
    run.tenant.wait_request("GET", f".*/calls/{call.id}/participants")
    run.until("Carol", lambda e: any(x["participant"]["id"] == pid(CAROL) for x in of(e, "participant.joined")))
    call.roster(person("p1", ALICE), person("p3", CAROL))
    events, rows = finish(run, call)
    run.equal(len(rows), 1, "the same conversation")
    run.equal([e["participant"]["id"] for e in of(events, "participant.left")], [pid(BOB)], "Bob has left meanwhile")
    run.equal([len(of(events, k)) for k in ("conversation.started", "conversation.ended", "invitation.accepted")], [1, 1, 1], "each once")
    run.check(of(events, "capture.gap"), "the time without a recorder is a gap")


def ended_while_the_recorder_was_down(run):
    run.start()
    call = accepted(run)
    run.kill()
    call.gone = True
    run.start()
    run.until("the end", lambda e: of(e, "conversation.ended"))
    run.stop()
    _, rows = run.archive()
    run.equal(rows[0]["state"], "ended", "a call that is not found has ended")


@settings(keys={"hang_up_after_seconds": 2})
def leaving_is_refused(run):
    """DELETE fails: tried again; 404 means that we are out already."""
    run.start()
    call = accepted(run)
    run.tenant.fault("DELETE", ".*/calls/.*", error(503, "ServiceUnavailable"))
    call.roster(person("p1", ALICE))
    call.roster()
    run.tenant.wait_request("DELETE", ".*/calls/.*", 2, 30)
    call.gone = True
    call.end()
    events, _ = finish(run)
    run.equal([len(of(events, k)) for k in ("recording.started", "recording.stopped", "conversation.ended")], [1, 1, 1], "each once")


def recording_stops_when_the_call_does(run):
    """Nobody is told `recording` in the archive after the call has gone, whatever the order of things."""
    run.start()
    run.tenant.status_answer = "running"
    call = accepted(run)
    run.tenant.wait("the status", lambda: call.operations)
    context, uri = call.operations[0][1]["clientContext"], call.callback_uri
    call.end()
    run.until("the end", lambda e: of(e, "conversation.ended"))
    call.callback_uri = uri
    call.operation(context)
    accepted(run, source=BOB).end()
    run.until("another call", lambda e: len(of(e, "conversation.ended")) == 2)
    run.stop()
    events, rows = run.archive()
    mine = [e for e in events if e.get("conversation") == of(events, "conversation.ended")[0]["conversation"]]
    run.check(len(of(mine, "recording.started")) == len(of(mine, "recording.stopped")), f"no recording is left open: {[e['kind'] for e in mine]}")


def a_5xx_of_graph_is_tried_again(run):
    run.start()
    run.tenant.fault("POST", ".*/updateRecordingStatus", error(503, "ServiceUnavailable", {"Retry-After": "0.3"}), Reply(200, spoil="reset"))
    call = accepted(run)
    run.until("the recording", lambda e: of(e, "recording.started"))
    finish(run, call)


SCENARIOS = (established_before_establishing, everything_twice, terminating_after_terminated, on_hold_and_transferring_is_not_an_end, ways_to_end, the_documents_samples, an_orphan_is_asked_for,
             several_items_in_one_body, finished_operations_and_tones_end_nothing, legacy_bodies_are_not_in_graph_form, policy_recording_keeps_its_bot_data, joining_is_answered_in_the_response,
             joining_is_refused_by_policy, two_legs_of_one_call, two_legs_tell_the_same, other_chains_are_other_conversations, two_meetings_in_one_chat, status_by_operation, status_without_an_operation, status_fails, status_fails_at_once, status_is_refused,
             nothing_is_recorded_as_recorded_before_the_platform_confirms, status_is_not_reported, sharing_in_both_forms, keeps_the_call_alive, keeping_alive_fails, hangs_up_after_the_last_human, does_not_hang_up_on_anybody,
             killed_in_mid_call, ended_while_the_recorder_was_down, leaving_is_refused, recording_stops_when_the_call_does, a_5xx_of_graph_is_tried_again)
