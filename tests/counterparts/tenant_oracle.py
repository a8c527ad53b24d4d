"""Judged by programs nobody here wrote: Microsoft's bot library says which tokens and activities mean what; an independent issuer signs calls."""

import json
import os
import subprocess
import time

from recorder_run import HERE, of
from tenant import CLIENT, TENANT
from tenant_answer import finish
from tenant_bot import BOT
from tenant_keys import life
from tenant_send import ALICE, BOB
from tenant_tokens import bad_tokens


class Oracle:
    def __init__(self, mode):
        self.process = subprocess.Popen(["node", os.path.join(HERE, "bot_oracle.mjs"), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8")

    def ask(self, value=None):
        if value is not None:
            self.process.stdin.write(json.dumps(value) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the oracle has nothing to say; is GREFFIER_BOT_MODULES set?")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


def tokens_as_the_library_judges_them(run):
    """Its table of accepted and refused tokens must come out the same."""
    keys, now = run.tenant.sets["bot"], int(time.time())
    sign = lambda **over: keys.sign(run.service.bot_claims(**over))
    cases = {f"bad: {n}": t for n, t in bad_tokens(keys, run.service.bot_claims).items()}
    cases.update({"good": sign(), "ended 4 minutes ago": sign(nbf=now - 7200, iat=now - 7200, exp=now - 240), "begins in 4 minutes": sign(nbf=now + 240, exp=now + 7200),
                  "another service URL": sign(serviceurl="https://evil/"), "no service URL": sign(serviceurl=None), "service URL without its slash": sign(serviceurl=run.service.service_url.rstrip("/")),
                  "service URL in capitals": sign(serviceurl=run.service.service_url.upper()), "claim serviceUrl": sign(serviceurl=None, serviceUrl=run.service.service_url),
                  "several audiences": sign(aud=["x", CLIENT]), "issuer of calls": sign(iss="https://graph.microsoft.com"), "lower-case scheme": sign()})
    activity = run.service.activity("typing", "19:x@thread.v2")
    header = lambda name, token: "" if token == "" else ("bearer " if name == "lower-case scheme" else "Bearer ") + token
    asked = [{"name": n, "header": header(n, t), "activity": activity} for n, t in cases.items()]
    webchat = dict(activity, channelId="webchat")
    asked.append({"name": "a key not endorsed for the channel", "header": header("", cases["good"]), "activity": webchat})
    oracle = Oracle("judge")
    verdicts = oracle.ask({"app": CLIENT, "metadata": f"{run.tenant.url['keys']}/bot/.well-known/openid-configuration", "cases": asked, "activities": []})["verdicts"]
    oracle.close()
    run.equal((verdicts["good"], verdicts["bad: nothing"]), (True, False), "the oracle is awake")
    run.start()
    for case in asked:
        answer = run.service.send(case["activity"], token="", headers={"Authorization": case["header"]} if case["header"] else None)
        ours = {200: True, 202: True, 401: False, 403: False}.get(answer.status, answer.status)
        # Where the description is looser than the library ("letter case varies"), or says nothing, both may stand; a token
        # without an end, which the library lets pass, is none.
        if case["name"] in ("claim serviceUrl", "lower-case scheme", "several audiences", "begins in 4 minutes"):
            run.check(ours in (True, False), f"{case['name']}: {ours}")
        elif case["name"] == "bad: without an end":
            run.equal(ours, False, "a token without an end")
        else:
            run.equal(ours, verdicts[case["name"]], f"token {case['name']}")
    run.stop()
    run.archive()


# Handler of the library -> kinds of which one must be in the archive.
MEANS = {"onMessage": ("message.sent",), "onTeamsMessageEditEvent": ("message.edited",), "onTeamsMessageUndeleteEvent": ("message.edited",), "onTeamsMessageSoftDeleteEvent": ("message.deleted",),
         "onReactionsAdded": ("reaction.added",), "onReactionsRemoved": ("reaction.removed",), "onInstallationUpdateAdd": ("invitation.received",), "onInstallationUpdateRemove": ("platform.event", "conversation.ended"),
         "onTeamsMembersAddedEvent": ("participant.joined",), "onTeamsMembersRemovedEvent": ("participant.left",), "onTeamsChannelRenamedEvent": ("platform.event", "conversation.changed"),
         "onTeamsChannelDeletedEvent": ("platform.event", "conversation.changed"), "onTeamsTeamRenamedEvent": ("platform.event", "conversation.changed"),
         "onTeamsMeetingStartEvent": ("platform.event", "conversation.changed", "conversation.started"), "onTeamsMeetingEndEvent": ("platform.event", "conversation.changed", "conversation.ended"),
         "onTeamsMeetingParticipantsJoinEvent": ("participant.joined",), "onTeamsMeetingParticipantsLeaveEvent": ("participant.left",), "onTeamsReadReceiptEvent": ("platform.event",)}


def activities_as_the_library_classifies_them(run):
    """Every activity in a conversation of its own; what the library calls it decides which kind must be archived."""
    member = {"id": "29:1" + BOB[0].replace("-", "")[:20], "aadObjectId": BOB[0], "name": BOB[1]}
    inside = {"members": [{"user": {**member, "tenantId": TENANT}, "meeting": {"inMeeting": True, "role": "Organizer"}}]}
    teams = lambda event: {"eventType": event, "tenant": {"id": TENANT}, "team": {"id": "19:t@thread.tacv2", "name": "T"}, "channel": {"id": "19:c@thread.tacv2", "name": "C"}}
    meet = "application/vnd.microsoft."
    table = [("message", {"type": "message", "text": "x"}), ("edit", {"type": "messageUpdate", "text": "y", "channelData": teams("editMessage")}), ("undelete", {"type": "messageUpdate", "text": "y", "channelData": teams("undeleteMessage")}),
             ("delete", {"type": "messageDelete", "channelData": teams("softDeleteMessage")}), ("reaction", {"type": "messageReaction", "reactionsAdded": [{"type": "like"}], "replyToId": "1"}),
             ("reaction removed", {"type": "messageReaction", "reactionsRemoved": [{"type": "like"}], "replyToId": "1"}), ("installed", {"type": "installationUpdate", "action": "add"}),
             ("removed", {"type": "installationUpdate", "action": "remove"}), ("member added", {"type": "conversationUpdate", "membersAdded": [member], "channelData": teams("teamMemberAdded")}),
             ("member removed", {"type": "conversationUpdate", "membersRemoved": [member], "channelData": teams("teamMemberRemoved")}), ("channel renamed", {"type": "conversationUpdate", "channelData": teams("channelRenamed")}),
             ("channel deleted", {"type": "conversationUpdate", "channelData": teams("channelDeleted")}), ("team renamed", {"type": "conversationUpdate", "channelData": teams("teamRenamed")}),
             ("meeting starts", {"type": "event", "name": meet + "meetingStart", "value": {"Title": "m", "StartTime": "2024-01-01T00:00:00Z", "JoinUrl": "u", "MeetingType": "Scheduled", "Id": "i"}}),
             ("meeting ends", {"type": "event", "name": meet + "meetingEnd", "value": {"Title": "m", "EndTime": "2024-01-01T00:00:00Z", "JoinUrl": "u", "MeetingType": "Scheduled", "Id": "i"}}),
             ("joins", {"type": "event", "name": meet + "meetingParticipantJoin", "value": inside}), ("leaves", {"type": "event", "name": meet + "meetingParticipantLeave", "value": inside}),
             ("read", {"type": "event", "name": meet + "readReceipt", "value": {"lastReadMessageId": "1"}})]
    activities = {}
    for n, (name, over) in enumerate(table):
        over = dict(over)
        if "eventType" in over.get("channelData", {}) and over["type"].startswith("message"):
            over["channelData"] = {"eventType": over["channelData"]["eventType"], "tenant": {"id": TENANT}}
        activities[name] = run.service.activity(over.pop("type"), f"19:case{n}@thread.v2", ALICE, **over)
    oracle = Oracle("judge")
    classes = oracle.ask({"app": CLIENT, "metadata": f"{run.tenant.url['keys']}/bot/.well-known/openid-configuration", "cases": [], "activities": [{"name": n, "activity": a} for n, a in activities.items()]})["classes"]
    oracle.close()
    run.start()
    held = 0
    for name, activity in activities.items():
        handlers = [h for h in classes[name] if h in MEANS]
        run.check(len(handlers) >= 1, f"{name}: the library calls {classes[name]}")
        before = len(run.events())
        thread = activity["conversation"]["id"]
        run.tenant.chats.add(thread, members=[ALICE, BOB])
        if name != "installed":
            run.service.send(run.service.activity("conversationUpdate", thread, membersAdded=[BOT]))
            held += 1
            run.until("the installation", lambda e: len(of(e, "invitation.accepted")) >= held)
            before = len(run.events())
        else:
            held += 1
        answer = run.service.send(activity)
        run.check(answer.status in (200, 202), f"{name}: {answer}")
        wanted = {k for h in handlers for k in MEANS[h]}
        try:
            run.until(f"{name}: one of {wanted}", lambda e: any(x["kind"] in wanted for x in e[before:]), 8)
        except AssertionError as e:
            run.found.append(str(e))
    run.stop()
    run.archive()


def calls_signed_by_an_independent_issuer(run):
    """oauth2-mock-server publishes the keys and signs the tokens."""
    oracle = Oracle("issue")
    where = oracle.ask()
    run.configure(calls_openid_url=where["metadata"], calls_issuers=[where["issuer"], "https://graph.microsoft.com"])
    run.start()
    for issuer in (where["issuer"], "https://graph.microsoft.com"):
        call = run.service.call()
        token = oracle.ask({"iss": issuer, "aud": CLIENT, "tid": TENANT, **life()})["token"]
        run.equal(run.service.calls([call.note(call.resource(), "created")], token=token).status, 202, f"{issuer}: taken")
        call.until_answered()
        sign = lambda: oracle.ask({"iss": issuer, "aud": CLIENT, "tid": TENANT, **life()})["token"]
        for state in ("establishing", "established"):
            call.state = state
            call.send(call.note({"@odata.type": "#microsoft.graph.call", "id": call.id, "state": state}), token=sign())
        call.send(call.note({"@odata.type": "#microsoft.graph.call", "id": call.id, "state": "terminated"}, "deleted"), token=sign())
    call = run.service.call()
    run.equal(run.service.calls([call.note(call.resource(), "created")]).status in (401, 403), True, "our tenant's own keys are strangers here")
    run.equal(run.service.calls([call.note(call.resource(), "created")], token=oracle.ask({"iss": "https://evil.example", "aud": CLIENT, "tid": TENANT, **life()})["token"]).status in (401, 403), True, "another issuer")
    oracle.close()
    run.until("two ends", lambda e: len(of(e, "conversation.ended")) == 2)
    finish(run)


SCENARIOS = (tokens_as_the_library_judges_them, activities_as_the_library_classifies_them, calls_signed_by_an_independent_issuer)
