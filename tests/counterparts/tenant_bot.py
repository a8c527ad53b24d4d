"""Bot activities: being installed is an invitation; messages are the same facts that Graph tells; the notice goes to the chat."""

import json
import threading
import time

from recorder_run import NOTICE, of, settings, texts
from tenant import CLIENT, OTHER_TENANT, TENANT, error
from tenant_answer import invited
from tenant_messages import done, versions
from tenant_run import fixture
from tenant_send import ALICE, BOB, CAROL, pid
from tenant_subscriptions import ALL, GROUP, group, said, subscribed
from tenant_wire import Reply, post

BOT = {"id": "28:" + CLIENT, "name": "Recorder"}


def take(run, activity, **how):
    answer = run.service.send(activity, **how)
    run.check(answer.status in (200, 202), f"{activity['type']}: taken, not {answer}")
    return answer


def install(run, thread=GROUP, who=ALICE, **over):
    return take(run, run.service.activity("conversationUpdate", thread, who, membersAdded=[BOT], **over))


def noticed(run, count=1, seconds=20):
    run.tenant.wait(f"{count} notices", lambda: len(run.tenant.posted) >= count, seconds)
    return run.tenant.posted[count - 1]


def installed_and_removed(run):
    """Received, accepted, noticed once, covered; removed is the end."""
    group(run)
    run.start()
    install(run)
    thread, body = noticed(run)
    run.equal((thread, body["type"], body["text"]), (GROUP, "message", NOTICE), "the notice")
    take(run, run.service.activity("installationUpdate", GROUP, action="add"))
    take(run, run.service.activity("message", GROUP, BOB, text="hello"))
    run.until("the message", lambda e: texts(e) == ["hello"] and of(e, "notice.sent"))
    posts = run.tenant.requests("POST", origin="connector")
    run.check(all(s.bearer for s in posts), "with a connector token")
    run.check(all("19%3A2da4" in s.target for s in posts), f"conversation ids are percent-encoded: {[s.target for s in posts]}")
    take(run, run.service.activity("conversationUpdate", GROUP, membersRemoved=[BOT]))
    take(run, run.service.activity("installationUpdate", GROUP, action="remove"))
    run.until("the removal", lambda e: of(e, "conversation.ended") or "remove" in json.dumps(of(e, "platform.event")).lower())
    events, rows = done(run)
    run.equal(invited(events), ["received", "accepted"], "one invitation, though told twice")
    run.equal(of(events, "invitation.received")[0]["actor"]["id"], pid(ALICE), "actor = who installed")
    run.equal([len(of(events, k)) for k in ("notice.sent", "conversation.started", "message.sent")], [1, 1, 1], "each once; the notice is no message")
    run.equal(of(events, "notice.sent")[0]["message"]["text"], NOTICE, "its text")
    run.equal((len(rows), len(run.tenant.posted)), (1, 1), "one conversation, one notice")


@settings(keys={"accept_from": [f"*@{TENANT}"]})
def installed_by_a_stranger(run):
    group(run)
    run.start()
    install(run, who=CAROL, tenant=OTHER_TENANT)
    run.until("the refusal", lambda e: of(e, "invitation.declined"))
    take(run, run.service.activity("message", GROUP, CAROL, tenant=OTHER_TENANT, text="not ours"))
    time.sleep(1)
    run.stop()
    events, _ = run.archive()
    run.equal((invited(events), run.tenant.posted), (["received", "declined"], []), "declined, no notice")


@settings(notice="")
def no_notice_is_configured(run):
    group(run)
    run.start()
    install(run)
    run.until("the acceptance", lambda e: of(e, "invitation.accepted"))
    events, _ = done(run)
    run.equal((run.tenant.posted, of(events, "notice.sent")), ([], []), "no notice")


def the_notice_goes_only_where_it_may(run):
    """A serviceUrl that is not allow-listed gets no token, even with a valid token naming it."""
    group(run)
    run.start()
    evil = run.tenant.url["stranger"] + "/emea/"
    for n, url in enumerate((evil, run.tenant.url["connector"] + "@" + evil.removeprefix("http://"), run.tenant.url["connector"].rsplit(":", 1)[0] + ":1/", "http://127.0.0.3.evil.example/")):
        activity = run.service.activity("conversationUpdate", f"19:{n}@thread.v2", membersAdded=[BOT], serviceUrl=url)
        run.service.send(activity, token=run.service.bot_token(serviceurl=url))
    install(run)
    noticed(run)
    time.sleep(1)
    run.equal(run.tenant.requests(origin="stranger"), [], "nothing is sent to a stranger")
    run.stop()
    run.archive()


def the_notice_is_tried_again(run):
    group(run)
    run.start()
    run.tenant.fault("POST", "/emea/v3/.*", Reply(429, {"error": {"code": "x", "message": "x"}}, {"Retry-After": "0.5"}), Reply(502))
    install(run)
    noticed(run, seconds=30)
    run.until("the notice", lambda e: of(e, "notice.sent"))
    done(run)


def the_notice_cannot_be_sent(run):
    """403 after an uninstall: said, not hidden."""
    group(run)
    run.start()
    run.tenant.fault("POST", "/emea/v3/.*", *[Reply(403, {"error": {"code": "BotNotInConversationRoster", "message": "x"}})] * 5)
    install(run)
    run.until("the failure", lambda e: of(e, "message.undelivered"))
    events, _ = done(run)
    run.equal(of(events, "notice.sent"), [], "no notice was sent")


@settings(keys=ALL)
def one_message_two_witnesses(run):
    """The same message by Graph and by the bot is one event, in one conversation, whichever comes first."""
    chat = group(run)
    run.start()
    subscribed(run)
    install(run)
    first = said(run, chat, "Graph first")
    take(run, run.service.activity("message", GROUP, ALICE, id=first["id"], text="Graph first"))
    second = run.tenant.chats.say(chat, BOB, "bot first")
    take(run, run.service.activity("message", GROUP, BOB, id=second["id"], text="bot first"))
    run.until("the second", lambda e: "bot first" in texts(e))
    run.service.tell(chat, second)
    said(run, chat, "last")
    run.until("the last", lambda e: "last" in texts(e))
    take(run, run.service.activity("messageUpdate", GROUP, BOB, id=second["id"], text="edited", channelData={"eventType": "editMessage", "tenant": {"id": TENANT}}))
    run.tenant.chats.edit(chat, second["id"], "edited")
    run.service.tell(chat, chat.messages[second["id"]], "updated")
    run.until("the edit", lambda e: of(e, "message.edited"))
    take(run, run.service.activity("messageDelete", GROUP, ALICE, id=first["id"], channelData={"eventType": "softDeleteMessage", "tenant": {"id": TENANT}}))
    run.tenant.chats.delete(chat, first["id"])
    run.service.tell(chat, chat.messages[first["id"]], "deleted")
    run.until("the deletion", lambda e: of(e, "message.deleted"))
    said(run, chat, "really last")
    run.until("the end", lambda e: "really last" in texts(e))
    events, rows = done(run)
    run.equal(sorted(texts(events)), sorted(["Graph first", "bot first", "last", "really last"]), "each message once")
    run.equal((len(of(events, "message.edited")), len(of(events, "message.deleted")), len(rows)), (1, 1, 1), "edited once, deleted once, one conversation")


def messages_by_the_bot_alone(run):
    """Without any subscription: edits, deletions, restorations, HTML, channels."""
    group(run)
    run.start()
    install(run)
    html = [{"contentType": "text/html", "content": "<div>Hello <strong>bold</strong></div>"}]
    one = run.service.activity("message", GROUP, ALICE, text="Hello bold", textFormat="plain", attachments=html)
    take(run, one), take(run, one)
    change = lambda kind, event, **over: take(run, run.service.activity(kind, GROUP, ALICE, id=one["id"], channelData={"eventType": event, "tenant": {"id": TENANT}}, **over))
    change("messageUpdate", "editMessage", text="Hello again")
    run.until("the edit", lambda e: of(e, "message.edited"))
    change("messageDelete", "softDeleteMessage")
    run.until("the deletion", lambda e: of(e, "message.deleted"))
    change("messageUpdate", "undeleteMessage", text="Hello again")
    run.until("the restoration", lambda e: len(of(e, "message.edited")) == 2)
    events, rows = done(run)
    run.equal([k for k, _ in versions(events)], ["sent", "edited", "deleted", "edited"], "versions")
    run.check("<strong>bold</strong>" in of(events, "message.sent")[0]["message"].get("html", ""), "the HTML copy is used")
    run.equal((of(events, "message.sent")[0]["actor"]["id"], of(events, "message.sent")[0]["message"]["id"]), (pid(ALICE), one["id"]), "actor and id")
    run.equal(len(rows), 1, "one conversation")


def a_channel_thread_by_the_bot(run):
    run.start()
    channel = "19:4a95f7d8db4c4e7fae857bcebe0623e6@thread.tacv2"
    install(run, channel, group="channel")
    take(run, run.service.activity("message", channel + ";messageid=1616991851162", BOB, group="channel", text="in a thread"))
    take(run, run.service.activity("message", channel, BOB, group="channel", text="a root"))
    run.until("both", lambda e: len(texts(e)) == 2)
    events, rows = done(run)
    run.equal(len({e["conversation"] for e in of(events, "message.sent")}), 1, "one conversation without ;messageid")


def meetings_by_the_bot(run):
    """Start, end, participants who join and leave."""
    meeting = "19:meeting_OTFkNDQzMjMtZWQyYi00ZjI4LTk1ZmUtZmI2NjBmNTFmMzg1@thread.v2"
    run.start()
    install(run, meeting)
    event = lambda name, value: take(run, run.service.activity("event", meeting, name="application/vnd.microsoft." + name, value=value))
    member = lambda who, inside: {"members": [{"user": {"id": "29:x" + who[1][:3], "name": who[1], "aadObjectId": who[0], "tenantId": TENANT}, "meeting": {"inMeeting": inside, "role": "Organizer"}}]}
    event("meetingStart", {"Id": "MCMx", "MeetingType": "Scheduled", "JoinUrl": "https://teams.microsoft.com/l/meetup-join/x", "Title": "Weekly", "StartTime": "2025-10-08T17:30:00.0000000Z"})
    event("meetingParticipantJoin", member(ALICE, True))
    event("meetingParticipantJoin", member(BOB, True))
    event("meetingParticipantLeave", member(BOB, False))
    event("meetingEnd", {"Id": "MCMx", "MeetingType": "Scheduled", "JoinUrl": "https://teams.microsoft.com/l/meetup-join/x", "Title": "Weekly", "EndTime": "2025-10-08T18:30:00.0000000Z"})
    run.until("Bob's leave", lambda e: of(e, "participant.left"))
    run.until("the end of the meeting", lambda e: "meetingEnd" in json.dumps(e) or of(e, "conversation.ended") or any(x.get("state") for x in of(e, "conversation.changed")))
    events, _ = done(run)
    run.equal([e["participant"]["id"] for e in of(events, "participant.joined")], [pid(ALICE), pid(BOB)], "joined")
    run.equal([e["participant"]["id"] for e in of(events, "participant.left")], [pid(BOB)], "left")
    run.check("meetingStart" in json.dumps(events) or "Weekly" in json.dumps(events), "the start is kept")


def members_of_a_chat_by_the_bot(run):
    """Ids only; the others who come and go, reactions to our own message, renamed teams: kept."""
    group(run)
    run.start()
    install(run)
    member = lambda who: {"id": "29:1" + who[0].replace("-", "")[:20], "aadObjectId": who[0]}
    take(run, run.service.activity("conversationUpdate", GROUP, membersAdded=[member(BOB)]))
    take(run, run.service.activity("conversationUpdate", GROUP, membersRemoved=[member(BOB)]))
    take(run, run.service.activity("conversationUpdate", GROUP, membersAdded=[{"id": "29:unknown"}]))
    take(run, run.service.activity("messageReaction", GROUP, BOB, reactionsAdded=[{"type": "like"}], replyToId="1575667808184"))
    for name in ("bot-conversationUpdate-channelRenamed", "bot-conversationUpdate-teamRenamed", "bot-conversationUpdate-teamrestored", "bot-conversationUpdate-teamUnarchived", "bot-conversationUpdate-channelRestored"):
        activity = dict(fixture(name), serviceUrl=run.service.service_url, id=f"f:{name}")
        take(run, activity)
    run.until("Bob", lambda e: of(e, "participant.joined") and of(e, "participant.left"))
    run.until("the others", lambda e: "teamrestored" in json.dumps(e).lower())
    events, _ = done(run)
    run.check(pid(BOB) in [e["participant"]["id"] for e in of(events, "participant.joined")], "Bob joined")
    run.equal([e["participant"]["id"] for e in of(events, "participant.left")], [pid(BOB)], "Bob left")
    run.check(of(events, "reaction.added") or "like" in json.dumps(events), "the reaction is kept")


def unexpected_activities_are_answered_and_kept(run):
    group(run)
    run.start()
    install(run)
    odd = [run.service.activity("typing", GROUP), run.service.activity("somethingNew", GROUP, marker="something-new-1"), run.service.activity("event", GROUP, name="application/vnd.microsoft.readReceipt", value={"lastReadMessageId": "1"}),
           run.service.activity("event", GROUP, name="unknown-event-1")]
    for activity in odd:
        take(run, activity)
    invoke = run.service.activity("invoke", GROUP, name="adaptiveCard/action", value={"action": {"type": "Action.Execute"}})
    answer = run.service.send(invoke)
    run.check(answer.status in (200, 202, 501), f"invoke: {answer}")
    for name in ("bot-message-personal", "bot-message-channel-thread", "bot-invoke-adaptivecard", "bot-messageReaction-reactionsAdded", "bot-conversationUpdate-bot-added-team", "bot-installationUpdate-add", "x-bot-event-meetingstart"):
        answer = run.service.send(dict(fixture(name), serviceUrl=run.service.service_url))
        run.check(answer.status in (200, 202), f"{name}: {answer}")
    run.until("what is new", lambda e: "unknown-event-1" in json.dumps(e) and "somethingNew" in json.dumps(e) and "adaptiveCard/action" in json.dumps(e))
    events, _ = done(run)
    run.check(all(e["kind"] == "platform.event" for e in events if "somethingNew" in json.dumps(e.get("detail", {}))), "as platform events")


def activities_that_are_malformed(run):
    """Each is answered; what is taken is kept as it came, and makes nobody a member, invites nobody and disturbs nothing. What is no activity at all is refused."""
    run.start()
    here = {"id": "19:elsewhere@thread.v2"}
    odd = [{}, {"type": None}, {"type": ["message"]}, {"type": "message"}, {"type": "message", "conversation": None}, {"type": "message", "from": 7, "conversation": {"id": 3}, "text": {}},
           {"type": "conversationUpdate", "membersAdded": {"id": "28:x"}, "conversation": here}, {"type": "messageUpdate", "id": None, "conversation": here}, {"type": "messageDelete", "id": [], "conversation": here},
           {"type": "event", "name": 3, "value": "x", "conversation": here}, {"type": "installationUpdate", "action": {}},
           {"type": "event", "name": "application/vnd.microsoft.meetingParticipantJoin", "value": {"members": [None, {"user": None}]}, "conversation": here},
           {"type": "conversationUpdate", "membersAdded": [None, {}], "conversation": here}, {"type": "messageReaction", "replyToId": "1", "reactionsAdded": [{"type": 7}], "conversation": here},
           {"type": "installationUpdate", "action": "add"}, {"type": "event", "name": "x", "id": None, "conversation": here}, {"type": "event", "name": "x", "id": None, "conversation": here}]
    taken = []
    for n, activity in enumerate(odd):
        answer = run.service.send({"channelId": "msteams", "serviceUrl": run.service.service_url, "id": f"odd-{n}", "marker": f"marker-{n}.", **activity})
        run.check(answer.status in (200, 202, 400), f"{activity}: {answer.status}")
        taken += [n] if answer.status != 400 else []
    for raw in (b"[]", b"null", b"7", b'"x"', b"[{}]", b"{", b"", b"\xff\xfe"):
        answer = post(run.callback_url + "/api/messages", raw, {"Authorization": f"Bearer {run.service.bot_token()}"})
        run.check(answer.status in (400, 401, 403), f"{raw}: {answer.status}")
    group(run)
    install(run)
    noticed(run)
    subscribed(run)  # a listener that is stopped while the tenant checks its addresses would be refused
    run.until("the notice", lambda e: of(e, "notice.sent"))
    take(run, run.service.activity("message", GROUP, BOB, text="after all that"))
    run.until("the next message", lambda e: "after all that" in texts(e))
    events, _ = done(run)
    told = {n: [e["kind"] for e in events if f"marker-{n}." in json.dumps(e.get("detail"))] for n in taken}
    run.equal([n for n in taken if len(told[n]) != 1], [], "each that was taken is kept, once")
    run.check({k for kinds in told.values() for k in kinds} <= {"platform.event", "message.sent"}, f"as nothing that it is not: {told}")
    run.equal((invited(events), of(events, "participant.joined", "participant.left", "message.edited", "message.deleted", "capture.gap")), (["received", "accepted"], []), "nobody came or went, nobody else invited us")
    run.equal([t for t in texts(events) if t], ["after all that"], "and nobody said a word")
    run.check("panicked" not in run.log(), "nothing panicked")


def killed_while_the_notice_is_on_its_way(run):
    """The invitation is accepted, and nobody knows what came of the notice: it is sent after the restart."""
    group(run)
    run.start()
    killed = threading.Event()

    def before(seen):
        if seen.origin == "connector" and not killed.is_set():
            run.until("the acceptance", lambda e: of(e, "invitation.accepted"))
            run.kill()
            killed.set()
            return error(500, "ServiceError")
        return None

    run.tenant.before = before
    install(run)
    run.tenant.wait("the kill", killed.is_set)
    run.tenant.before = None
    run.start()
    noticed(run)
    run.until("the notice", lambda e: of(e, "notice.sent"))
    events, _ = done(run)
    run.equal((invited(events), len(of(events, "notice.sent")), len(run.tenant.posted)), (["received", "accepted"], 1, 1), "sent once, and on record")


def upgraded_without_having_been_installed(run):
    """The installation was never told: an upgrade tells as much. One of what is installed is no second invitation."""
    group(run)
    run.start()
    take(run, run.service.activity("installationUpdate", GROUP, action="add-upgrade"))
    noticed(run)
    take(run, run.service.activity("installationUpdate", GROUP, action="add-upgrade"))
    take(run, run.service.activity("message", GROUP, BOB, text="after that"))
    run.until("the message", lambda e: texts(e) == ["after that"])
    events, _ = done(run)
    run.equal((invited(events), len(run.tenant.posted)), (["received", "accepted"], 1), "invited once, told once")


def installed_again_after_a_restart(run):
    """The notice is not repeated."""
    group(run)
    run.start()
    install(run)
    noticed(run)
    run.until("the notice", lambda e: of(e, "notice.sent"))
    run.kill()
    run.start()
    install(run)
    take(run, run.service.activity("message", GROUP, BOB, text="after"))
    run.until("the message", lambda e: texts(e) == ["after"])
    events, rows = done(run)
    run.equal((len(run.tenant.posted), len(of(events, "notice.sent")), len(rows)), (1, 1, 1), "one notice, one conversation")


def installing_follows_the_chat(run):
    """Being added to a chat is an invitation: policy, acceptance, notice, capture."""
    chat = group(run)
    run.tenant.chats.say(chat, ALICE, "before the installation")
    run.start()
    install(run)
    one = subscribed(run)[0]
    run.equal(one.body["resource"].lstrip("/"), f"chats/{GROUP}/messages", "the chat is subscribed")
    run.until("the backfill", lambda e: texts(e) == ["before the installation"])
    done(run)


SCENARIOS = (installed_and_removed, killed_while_the_notice_is_on_its_way, upgraded_without_having_been_installed, installed_by_a_stranger, no_notice_is_configured, the_notice_goes_only_where_it_may, the_notice_is_tried_again, the_notice_cannot_be_sent,
             one_message_two_witnesses, messages_by_the_bot_alone, a_channel_thread_by_the_bot, meetings_by_the_bot, members_of_a_chat_by_the_bot, unexpected_activities_are_answered_and_kept,
             activities_that_are_malformed, installed_again_after_a_restart, installing_follows_the_chat)
