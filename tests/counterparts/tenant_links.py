"""What belongs together: calls and chats that know of each other early or late, legs, joiners, kinds nobody knows yet."""

import json

from recorder_run import of, settings, texts
from tenant_answer import accepted, finish, invited
from tenant_calls import MEETING, joining, left
from tenant_run import Run
from tenant_send import ALICE, BOB, CAROL, bot_data, person, pid
from tenant_subscriptions import ALL, said, subscribed


def one_conversation(run, events, rows):
    run.equal(len(rows), 1, f"one conversation: {[(r['id'], r.get('subject'), r['messages']) for r in rows]}")
    run.equal(len({e.get("conversation") for e in events if "conversation" in e}), 1, "in every event")


@settings(keys=ALL)
def a_call_into_a_known_chat(run):
    """People have been talking; then they call. It is the chat's conversation that the call belongs to."""
    chat = run.tenant.chats.add(MEETING, "meeting", members=[ALICE, BOB])
    run.start()
    subscribed(run)
    said(run, chat, "shall we call")
    run.until("the chat", texts)
    call = run.service.call(thread=MEETING)
    thread = {"@odata.type": "#microsoft.graph.chatInfo", "threadId": MEETING, "messageId": "0"}
    call.incoming(chatInfo=thread)
    call.until_answered()
    call.establish()
    said(run, chat, "can you hear me")
    run.until("both", lambda e: len(texts(e)) == 2 and of(e, "invitation.accepted"))
    one_conversation(run, *finish(run, call))


@settings(keys=ALL)
def a_call_that_tells_its_chat_later(run):
    """The chat is known; the invitation (with a join token only) does not name it, `establishing` does."""
    chat = run.tenant.chats.add(MEETING, "meeting", members=[ALICE, BOB])
    run.start()
    subscribed(run)
    said(run, chat, "shall we call")
    run.until("the chat", texts)
    call = accepted(run, thread=MEETING, policy=bot_data())
    said(run, chat, "can you hear me")
    call.roster(person("p1", ALICE), person("p2", BOB))
    run.until("both", lambda e: len(texts(e)) == 2 and len(of(e, "participant.joined")) == 2)
    events, rows = finish(run, call)
    one_conversation(run, events, rows)


def a_second_leg_after_the_first_has_ended(run):
    run.legs = 2
    run.start()
    chain = "05f2f70f-3a9c-47c1-80a9-cc79e91d8cec"
    first = accepted(run, policy=bot_data(ALICE), chain=chain)
    first.end()
    run.until("the first end", lambda e: of(e, "conversation.ended"))
    second = accepted(run, policy=bot_data(BOB), chain=chain, source=BOB)
    second.end()
    run.until("the second end", lambda e: len(of(e, "conversation.ended")) == 2)
    run.stop()
    events, rows = run.archive()
    one_conversation(run, events, rows)
    run.equal(rows[0]["state"], "ended", "ended")


def ended_before_it_was_established(run):
    """The end overtakes the beginning; the beginning comes late and changes nothing."""
    run.start()
    call = run.service.call()
    call.incoming()
    call.until_answered()
    uri = call.callback_uri
    call.end(0, 487, "cancelled")
    run.until("the failure", lambda e: of(e, "invitation.failed"))
    call.callback_uri = uri
    call.update("establishing")
    call.update("established")
    call.roster(person("p1", ALICE))
    call.share("created", "S1")
    accepted(run, source=BOB).end()
    run.until("another call", lambda e: of(e, "conversation.ended"))
    run.stop()
    events, _ = run.archive()
    mine = [e for e in events if e.get("conversation") == of(events, "invitation.failed")[0].get("conversation")]
    run.equal((invited(mine), of(mine, "recording.started")), (["received", "failed"], []), "failed, and never recorded")


@settings(keys={"participant_capacity": 100})
def joiners_twice_and_among_others(run):
    """The same joining again is answered again and told once; in one body with a roster it is answered all the same."""
    run.start()
    call = accepted(run, policy=bot_data(ALICE))
    note = joining(call, BOB)
    for n in (1, 2):
        answer = call.send(note)
        run.equal((answer.status, answer.doc.get("@odata.type")), (200, "#microsoft.graph.acceptJoinResponse"), f"answer {n}")
    answer = call.send(call.note([person("p1", ALICE)], tail="/participants"), joining(call, CAROL))
    run.equal((answer.status, answer.doc.get("@odata.type")), (200, "#microsoft.graph.acceptJoinResponse"), "among others")
    run.equal(call.send(left(call, "nobody-knows-this-id")).status, 202, "somebody unknown has left")
    lost = run.service.call(policy=bot_data(CAROL))
    answer = lost.send(joining(lost, CAROL))
    run.equal(answer.status, 200, "a joining for a call nobody knows is answered, too")
    run.until("all", lambda e: pid(CAROL) in [x["actor"]["id"] for x in of(e, "invitation.received")] and of(e, "participant.joined"))
    call.end()
    run.until("the end", lambda e: of(e, "conversation.ended"))
    run.stop()
    events, _ = run.archive()
    run.equal(len([e for e in of(events, "invitation.received") if e["actor"]["id"] == pid(BOB)]), 1, "Bob was received once")


def kinds_of_tomorrow(run):
    """Whatever comes with a good token is kept, with its JSON in `detail`."""
    run.start()
    call = accepted(run)
    call.send(call.note({"@odata.type": "#microsoft.graph.audioRoutingGroup", "id": "g1", "marker": "routing-1"}, tail="/audioRoutingGroups/g1"))
    call.send(call.note({"@odata.type": "#microsoft.graph.call", "id": call.id, "state": "established", "transcription": {"state": "active", "marker": "transcription-1"}, "somethingNew": {"marker": "new-1"}}))
    call.send({"@odata.type": "#microsoft.graph.commsNotification", "changeType": "rearranged", "resourceUrl": "/communications/somethings/1", "resourceData": {"marker": "resource-1"}})
    call.send(call.note({"@odata.type": "#microsoft.graph.deltaSomething", "marker": "delta-1"}))
    markers = ("routing-1", "transcription-1", "new-1", "resource-1", "delta-1")
    run.until("all of it", lambda e: all(m in json.dumps(e) for m in markers))
    events, _ = finish(run, call)
    run.equal(len(of(events, "conversation.ended")), 1, "and nothing of it ended the call")


def two_tenants_in_one_process(run):
    """A second connector with a listener and a tenant of its own; tokens of the one are nothing to the other."""
    other = Run(run.binary)
    try:
        other.configure(name="second")
        with open(run.path("greffier.toml"), encoding="utf-8") as f, open(other.path("greffier.toml"), encoding="utf-8") as g:
            both = f.read() + "\n[[connector]]" + g.read().split("[[connector]]")[1]
        run.file("greffier.toml", both.encode())
        run.start()
        a, b = run.service.call(), other.service.call(source=BOB)
        for call in (a, b):
            run.equal(call.incoming().status, 202, "taken")
            call.until_answered()
            call.establish()
        wrong = run.service.calls([a.note(a.resource(), "created")], token=other.service.call_token())
        run.check(wrong.status in (401, 403), f"the other tenant's token: {wrong.status}")
        run.until("both", lambda e: len(of(e, "conversation.started")) == 2)
        a.end(), b.end()
        events = run.until("both ends", lambda e: len(of(e, "conversation.ended")) == 2)
        run.equal(sorted({e["connector"] for e in events}), ["second", "teams"], "each event names its connector")
        run.equal(len(run.lines("list", "--json", "--connector", "second")), 1, "and so does the list")
        run.stop()
        run.equal(run.cli("verify")[0], 0, "verify")
    finally:
        other.close()


def a_recorded_call_of_two_that_names_no_chat(run):
    """Their chat is looked for under the id that it would have, and followed as the conversation of its own that it is."""
    run.start()
    call = accepted(run, policy=bot_data())
    missing = lambda e: [x for x in of(e, "platform.event") if "cannot be read" in x.get("detail", {}).get("recorder", "")]
    run.until("that there is none", missing)
    run.equal(run.tenant.subscriptions, {}, "nothing is subscribed for it")
    call.end()
    run.until("the end", lambda e: of(e, "conversation.ended"))
    thread = "19:" + "_".join(sorted((ALICE[0].lower(), BOB[0].lower()))) + "@unq.gbl.spaces"
    chat = run.tenant.chats.add(thread, "oneOnOne", members=[ALICE, BOB])
    second = accepted(run, policy=bot_data())
    one = subscribed(run)[0]
    run.check(thread in one.body["resource"].replace("%3A", ":").replace("%40", "@"), f"their chat: {one.body['resource']}")
    said(run, chat, "are you still there")
    run.until("the message", lambda e: texts(e) == ["are you still there"])
    many = accepted(run, policy=bot_data(isMultiParty=True), source=CAROL)
    many.end()
    events, rows = finish(run, second)
    run.equal(len(rows), 4, "three calls and a chat")
    run.equal(len(run.tenant.requests("GET", "/v1.0/chats/[^/]+")) >= 1, True, "asked, not taken for granted")


CHANNEL, TEAM = "19:4a95f7d8db4c4e7fae857bcebe0623e6@thread.tacv2", "fbe2bf47-16c8-47cf-b4a5-4b9b187c508b"


def a_meeting_in_a_channel_whose_team_is_not_known(run):
    """Its chat is the channel's, and no request of a call leads from there to the team: the record says that it is missing."""
    run.start()
    call = accepted(run, thread=CHANNEL)
    run.until("the gap", lambda e: of(e, "capture.gap"))
    events, rows = finish(run, call)
    run.check("chat_scopes" in of(events, "capture.gap")[0]["gap"]["cause"], f"what to do about it: {of(events, 'capture.gap')}")
    run.equal((len(of(events, "capture.gap")), rows[0]["coverage"]), (1, "incomplete"), "said once, and in the list")
    run.equal(run.tenant.requests("GET", "/v1.0/chats/.*/messages"), [], "nobody asks for it as a chat, which it is not")
    one_conversation(run, events, rows)


@settings(keys={"chat_scopes": [f"/teams/{TEAM}/channels/{CHANNEL}/messages"]})
def a_meeting_in_a_channel_that_is_followed(run):
    chat = run.tenant.chats.add(CHANNEL, "channel", team=TEAM, members=[ALICE, BOB])
    run.start()
    subscribed(run)
    call = accepted(run, thread=CHANNEL)
    said(run, chat, "in the channel")
    run.until("the message", lambda e: texts(e) == ["in the channel"])
    events, rows = finish(run, call)
    run.equal(of(events, "capture.gap"), [], "no gap")
    one_conversation(run, events, rows)


SCENARIOS = (a_meeting_in_a_channel_whose_team_is_not_known, a_meeting_in_a_channel_that_is_followed, a_call_into_a_known_chat, a_call_that_tells_its_chat_later, a_recorded_call_of_two_that_names_no_chat, a_second_leg_after_the_first_has_ended, ended_before_it_was_established, joiners_twice_and_among_others,
             kinds_of_tomorrow, two_tenants_in_one_process)
