"""Rosters, full and delta: who was there, by the rules of the protocol description."""

from recorder_run import of, settings
from tenant_answer import accepted, finish
from tenant_send import ALICE, BOB, CAROL, RECORDER, identity, person, pid

DELTA = {"delta_roster": True}


def moves(events, *kinds):
    """(kind, participant id) of each roster event."""
    return [(e["kind"].split(".")[1], e["participant"]["id"]) for e in of(events, *(kinds or ("participant.joined", "participant.left", "participant.changed")))]


def joined(events):
    return moves(events, "participant.joined")


def gone(events):
    return [i for _, i in moves(events, "participant.left")]


def full_lists_are_compared(run):
    run.start()
    call = accepted(run)
    call.roster(person("p1", ALICE))
    call.roster(person("p1", ALICE), person("p2", BOB))
    call.roster(person("p2", BOB, muted=True))
    call.roster(person("p2", BOB, muted=True))
    call.roster()
    run.until("everybody's leave", lambda e: len(of(e, "participant.left")) == 2)
    events, rows = finish(run, call)
    run.equal(moves(events), [("joined", pid(ALICE)), ("joined", pid(BOB)), ("left", pid(ALICE)), ("changed", pid(BOB)), ("left", pid(BOB))]
              if moves(events)[2][0] == "left" else [("joined", pid(ALICE)), ("joined", pid(BOB)), ("changed", pid(BOB)), ("left", pid(ALICE)), ("left", pid(BOB))], "who came and went")
    run.equal([e["participant"].get("muted") for e in of(events, "participant.changed")], [True], "participant.muted")
    run.equal([e["participant"].get("name") for e in of(events, "participant.joined")], [ALICE[1], BOB[1]], "names")
    run.equal(sorted(p["id"] for p in rows[0]["participants"]), sorted([pid(ALICE), pid(BOB)]), "participants of the row")


def our_own_leg_is_no_participant(run):
    run.start()
    call = accepted(run)
    me = person(call.mine, RECORDER, "applicationInstance")
    call.roster(me, person("p1", ALICE), person("p9", ("2891555a-92ff-42e6-80fa-6e1300c6b5c6", "Calling Bot"), "application"))
    run.until("the roster", lambda e: len(of(e, "participant.joined")) == 2)
    events, rows = finish(run, call)
    run.equal(sorted(i for _, i in joined(events)), sorted([pid(ALICE), "application:2891555a-92ff-42e6-80fa-6e1300c6b5c6"]), "another bot is one")
    run.check(not any(RECORDER[0] in p["id"] for p in rows[0]["participants"]), "nor in the list")


def every_sort_of_identity(run):
    """The first member that is not null; a phone is tel:, the rest <member>:<id>; a user's roster id is not an identity."""
    run.start()
    call = accepted(run)
    sorts = [("phone", "+4930123456", "tel:+4930123456"), ("guest", "guest-77", "guest:guest-77"), ("encrypted", "enc-1", "encrypted:enc-1"),
             ("azureCommunicationServicesUser", "8:acs:x", "azureCommunicationServicesUser:8:acs:x"), ("onPremises", "op-1", "onPremises:op-1")]
    people = [person(f"p{n}", (key, None), kind, None) for n, (kind, key, _) in enumerate(sorts)] + [person("q1", ALICE, tenant=None), person("q2", BOB, tenant="932899F8-2EA1-4604-8413-27BD2892079F")]
    people[1]["info"]["identity"]["user"] = None
    call.roster(*people)
    run.until("all", lambda e: len(of(e, "participant.joined")) == 7)
    events, _ = finish(run, call)
    wanted = [w for _, _, w in sorts] + [pid(ALICE), pid(BOB, "932899f8-2ea1-4604-8413-27bd2892079f")]
    run.equal([i.lower() for _, i in joined(events)], [w.lower() for w in wanted], "participant ids")


def lobby(run):
    """Waiting, admitted, refused."""
    run.start()
    call = accepted(run)
    call.roster(person("p1", ALICE), person("p2", BOB, lobby=True), person("p3", CAROL, lobby=True))
    call.roster(person("p1", ALICE), person("p2", BOB))
    call.roster(person("p1", ALICE), person("p2", BOB))
    run.until("the refusal", lambda e: of(e, "participant.left"))
    events, _ = finish(run, call)
    run.equal([(i, e["participant"].get("in_lobby", False)) for e, (_, i) in zip(of(events, "participant.joined"), joined(events))],
              [(pid(ALICE), False), (pid(BOB), True), (pid(CAROL), True)], "joined with in_lobby")
    run.equal([(e["participant"]["id"], e["participant"].get("in_lobby")) for e in of(events, "participant.changed")], [(pid(BOB), False)], "admitted: changed with in_lobby false")
    run.equal(gone(events), [pid(CAROL)], "refused: left")


def rejoining_and_two_devices(run):
    """A person who comes again has a new roster id; the same person may be there twice."""
    run.start()
    call = accepted(run)
    call.roster(person("p1", ALICE))
    call.roster()
    call.roster(person("p2", ALICE))
    run.until("the second coming", lambda e: len(of(e, "participant.joined")) == 2)
    call.roster(person("p2", ALICE), person("p3", ALICE))
    call.roster(person("p3", ALICE))
    call.roster(person("p3", ALICE), person("p4", BOB))
    run.until("Bob", lambda e: any(i == pid(BOB) for _, i in joined(e)))
    events, rows = finish(run, call)
    alice = [m for m in moves(events) if m[1] == pid(ALICE)]
    run.equal(alice[:3], [("joined", pid(ALICE)), ("left", pid(ALICE)), ("joined", pid(ALICE))], "came, left, came again")
    run.check(alice.count(("left", pid(ALICE))) <= 2, f"still there on one device: {alice}")
    run.equal(len([p for p in rows[0]["participants"] if p["id"] == pid(ALICE)]), 1, "one person in the list")


def screen_sharing_and_server_mute(run):
    run.start()
    call = accepted(run)
    call.roster(person("p1", ALICE))
    call.roster(person("p1", ALICE, sharing="sendOnly"))
    forced = person("p1", ALICE)
    forced["mediaStreams"][0]["serverMuted"] = True
    call.roster(forced)
    run.until("both changes", lambda e: len(of(e, "participant.changed")) >= 2)
    events, _ = finish(run, call)
    shown = lambda way: {"audio": "sendReceive", "videobasedscreensharing": way}
    run.equal([e.get("detail") for e in of(events, "participant.changed")],
              [{"screen_sharing": True, "streams": shown("sendOnly")}, {"screen_sharing": False, "server_muted": True, "streams": shown("receiveOnly")}], "the screen, then the mute that somebody else forced")
    run.equal([e["participant"].get("muted") for e in of(events, "participant.changed")], [None, None], "which is not the person's own")


def hostile_names_and_metadata(run):
    run.start()
    call = accepted(run)
    evil = person("p1", (ALICE[0], "<script>alert(1)</script>\u202e\u0000x"), metadata="{\"x\": \"</script>\"}" * 100)
    call.roster(evil, {"id": "p2"}, {"id": "p3", "info": None}, {"id": "p4", "info": {"identity": {}}}, {"id": "p5", "info": {"identity": {"user": {"id": None}}}}, {"info": {"identity": {"user": {"id": BOB[0]}}}},
                person("p6", CAROL, mediaStreams=None, isMuted=None, isInLobby=None))
    run.until("Carol", lambda e: any(i == pid(CAROL) for _, i in joined(e)))
    events, rows = finish(run, call)
    run.check(any(i == pid(ALICE) for _, i in joined(events)), "Alice is there, whatever she is called")
    run.check(len(rows) == 1, "one conversation")


def whatever_changes_about_a_person_is_told(run):
    """Restrictions, recording information, stream directions, what the client says of itself."""
    run.start()
    call = accepted(run)
    streams = lambda audio, video, forced: [{"mediaType": k, "sourceId": str(n), "direction": way, "serverMuted": forced and k == "audio"} for n, (k, way) in enumerate((("audio", audio), ("video", video)))]
    both = lambda audio, video: {"streams": {"audio": audio, "video": video}}
    changes = [({"recordingInfo": {"recordingStatus": "recording", "initiator": identity("user", BOB[0], BOB[1])}}, {"recording_status": "recording"}),
               ({"restrictedExperience": {"videoDisabled": "watermarkProtection", "contentSharingDisabled": None}}, {"restricted": "video (watermarkProtection)"}),
               ({"restrictedExperience": {"videoDisabled": "watermarkProtection", "contentSharingDisabled": "watermarkProtection"}}, {"restricted": "content sharing (watermarkProtection), video (watermarkProtection)"}),
               ({"restrictedExperience": {"videoDisabled": None, "contentSharingDisabled": None}}, {"restricted": "none"}),
               ({"metadata": "marker-of-the-client"}, {"metadata": "marker-of-the-client"}),
               ({"mediaStreams": streams("sendReceive", "sendReceive", False)}, both("sendReceive", "sendReceive")),
               ({"mediaStreams": streams("sendReceive", "receiveOnly", False)}, both("sendReceive", "receiveOnly")),
               ({"mediaStreams": streams("inactive", "receiveOnly", False)}, both("inactive", "receiveOnly")),
               ({"mediaStreams": streams("inactive", "receiveOnly", True)}, {"server_muted": True}),
               ({"mediaStreams": streams("inactive", "receiveOnly", False)}, {"server_muted": False}),
               ({"recordingInfo": {"recordingStatus": "notRecording", "initiator": identity("user", BOB[0], BOB[1])}}, {"recording_status": "notRecording"})]
    now = {"mediaStreams": streams("sendReceive", "inactive", False)}
    call.roster(person("p1", ALICE, **now))
    for change, _ in changes:
        now.update(change)
        call.roster(person("p1", ALICE, **now))
    call.roster(person("p1", ALICE, muted=True, **now))
    run.until("the mute", lambda e: any(x.get("participant", {}).get("muted") for x in of(e, "participant.changed")))
    events, _ = finish(run, call)
    changed = of(events, "participant.changed")
    run.equal([e.get("detail") for e in changed], [told for _, told in changes] + [None], "each change is told as it is, and nothing but it")
    run.equal([e["participant"].get("muted") for e in changed], [None] * len(changes) + [True], "the person's own mute has its own place")
    run.equal((len(of(events, "participant.joined")), len(of(events, "participant.left"))), (1, 0), "the same person all the time")


def a_thousand_people(run):
    """A large meeting: every notification is the whole list."""
    run.start()
    call = accepted(run, source=("00000000-0000-4000-8000-000000000000", "Person 0"))
    people = [person(f"p{n}", (f"{n:08d}-0000-4000-8000-000000000000", f"Person {n}")) for n in range(1000)]
    answer = call.roster(*people)
    run.check(answer.status == 202 and answer.seconds < 3, f"{answer.status} after {answer.seconds:.1f} s")
    for n in (1, 2, 3):
        answer = call.roster(*people[n * 10:])
        run.check(answer.status == 202 and answer.seconds < 3, f"{answer.status} after {answer.seconds:.1f} s")
    run.until("all", lambda e: (len(of(e, "participant.joined")), len(of(e, "participant.left"))) == (1000, 30), 40)
    events, rows = finish(run, call)
    run.equal((len(of(events, "participant.joined")), len(rows[0]["participants"])), (1000, 1000), "a thousand, once each")


# ---- delta


@settings(keys=DELTA)
def absent_from_a_delta_means_nothing(run):
    run.start()
    call = accepted(run)
    call.delta(1, person("p1", ALICE, number=1), person("p2", BOB, number=1))
    call.delta(2, person("p3", CAROL, number=2))
    call.delta(3, person("p2", BOB, muted=True, number=3))
    run.until("the mute", lambda e: of(e, "participant.changed"))
    run.equal(gone(run.events()), [], "nobody has left")
    call.delta(4, person("p3", CAROL, number=4, removed="Removed from roster"))
    run.until("Carol's leave", lambda e: of(e, "participant.left"))
    events, _ = finish(run, call)
    run.equal(moves(events), [("joined", pid(ALICE)), ("joined", pid(BOB)), ("joined", pid(CAROL)), ("changed", pid(BOB)), ("left", pid(CAROL))], "who came and went")


@settings(keys=DELTA)
def late_and_doubled_deltas(run):
    """Per participant only a greater number counts; a removal that is older removes nobody."""
    run.start()
    call = accepted(run)
    call.delta(1, person("p1", ALICE, number=1))
    call.delta(2, person("p2", BOB, number=2))
    call.delta(3, person("p2", BOB, number=3, muted=True))
    call.people = [person("p1", ALICE), person("p2", BOB, muted=True)]
    keep = list(call.people)
    call.delta(3, person("p2", BOB, number=3, muted=True))
    call.delta(2, person("p2", BOB, number=2, removed="late"))
    call.people = keep
    call.delta(4, person("p3", CAROL, number=4))
    run.until("Carol", lambda e: len(joined(e)) == 3)
    events, _ = finish(run, call)
    run.equal(moves(events), [("joined", pid(ALICE)), ("joined", pid(BOB)), ("changed", pid(BOB)), ("joined", pid(CAROL))], "each once, nobody removed")


@settings(keys=DELTA)
def a_gap_in_deltas_is_asked_for(run):
    run.start()
    call = accepted(run)
    call.delta(1, person("p1", ALICE, number=1), person("p2", BOB, number=1))
    run.until("both", lambda e: len(joined(e)) == 2)
    before = len(run.tenant.requests("GET", f".*/{call.id}/participants"))
    call.people = [person("p1", ALICE, number=1), person("p3", CAROL, number=3)]
    wrapped = {"@odata.type": "#microsoft.graph.deltaParticipants", "participants": [person("p1", ALICE, muted=True, number=5)], "sequenceNumber": 5}
    call.people[0] = wrapped["participants"][0]
    call.send(call.note([wrapped], tail="/participants"))
    run.tenant.wait("the question", lambda: len(run.tenant.requests("GET", f".*/{call.id}/participants")) > before)
    run.until("what was missed", lambda e: any(i == pid(CAROL) for _, i in joined(e)) and pid(BOB) in gone(e))
    events, _ = finish(run, call)
    run.equal(sorted(moves(events, "participant.joined", "participant.left")), sorted([("joined", pid(ALICE)), ("joined", pid(BOB)), ("joined", pid(CAROL)), ("left", pid(BOB))]), "who came and went")


@settings(keys=DELTA)
def deltas_without_numbers(run):
    """Numbers may be null: then the order of arrival."""
    run.start()
    call = accepted(run)
    call.delta(None, person("p1", ALICE), person("p2", BOB))
    call.delta(None, person("p2", BOB, removed="x"))
    call.delta(None, person("p2", BOB))
    call.delta(None, person("p1", ALICE, removed="x"))
    run.until("all", lambda e: len(of(e, "participant.left")) == 2)
    events, _ = finish(run, call)
    run.equal(moves(events), [("joined", pid(ALICE)), ("joined", pid(BOB)), ("left", pid(BOB)), ("joined", pid(BOB)), ("left", pid(ALICE))], "in order of arrival")


def a_delta_without_being_asked_for(run):
    """The wrapper decides, not the configuration: nobody "leaves"."""
    run.start()
    call = accepted(run)
    call.roster(person("p1", ALICE), person("p2", BOB))
    call.delta(7, person("p3", CAROL, number=7))
    run.until("Carol", lambda e: len(joined(e)) == 3)
    run.equal(gone(run.events()), [], "nobody has left")
    finish(run, call)


def roster_before_the_answer_is_known(run):
    """Roster and states may overtake each other."""
    run.start()
    call = run.service.call()
    call.incoming()
    call.until_answered()
    call.roster(person("p1", ALICE))
    call.establish()
    run.until("Alice", lambda e: len(joined(e)) == 1)
    events, rows = finish(run, call)
    run.equal((len(rows), len(of(events, "conversation.started"))), (1, 1), "one conversation")


SCENARIOS = (full_lists_are_compared, our_own_leg_is_no_participant, every_sort_of_identity, lobby, rejoining_and_two_devices, screen_sharing_and_server_mute, hostile_names_and_metadata, whatever_changes_about_a_person_is_told, a_thousand_people,
             absent_from_a_delta_means_nothing, late_and_doubled_deltas, a_gap_in_deltas_is_asked_for, deltas_without_numbers, a_delta_without_being_asked_for,
             roster_before_the_answer_is_known)
