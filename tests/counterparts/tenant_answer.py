"""Being called: who is answered, how fast, in which words; who is refused."""

import os
import stat
import time

from recorder_run import of, settings
from tenant import OTHER_TENANT, TENANT, error
from tenant_send import ALICE, BOB, CAROL, bot_data, identity, pid
from tenant_wire import Reply

INVITED = ("invitation.received", "invitation.accepted", "invitation.declined", "invitation.failed")


def invited(events):
    return [e["kind"].split(".")[1] for e in of(events, *INVITED)]


def accepted(run, **how):
    """An ordinary call that is answered and established."""
    before = len(of(run.events(), "invitation.accepted"))
    call = run.service.call(**how)
    run.equal(call.incoming().status, 202, "the notification is taken")
    call.until_answered()
    call.establish()
    run.until("the start", lambda e: of(e, "conversation.started") and len(of(e, "invitation.accepted")) > before)
    return call


def finish(run, *calls):
    for call in calls:
        call.end()
    run.until("the end", lambda e: len(of(e, "conversation.ended")) >= 1)
    run.stop()
    return run.archive()


def answers_a_policy_call_right_after_readiness(run):
    call = run.service.call(policy=bot_data())
    run.start()
    run.equal(call.incoming().status, 202, "the notification is taken")
    took = call.until_answered(5)
    run.check(took < 2, f"answered within 2 s of the first notification, not {took:.2f}")
    run.equal(len(run.tenant.requests("POST", ".*/token", "login")) <= 2, True, "no token is fetched for the answer")
    call.establish()
    run.until("the acceptance", lambda e: of(e, "invitation.accepted"))
    finish(run, call)


def answers_a_policy_call_before_readiness(run):
    """The service knocks as soon as the port is open; signing in takes a second."""
    slow = []

    def before(seen):
        if seen.origin == "login" and not slow:
            slow.append(seen)
            reply = run.tenant.at_login(seen)
            reply.spoil, reply.seconds = "hang", 1
            return reply
        return None

    run.tenant.before = before
    call = run.service.call(policy=bot_data())
    run.start(ready=False)
    run.until_listening()
    run.check(run.ready() != 200 or not slow, "not ready without a token")
    answer = call.incoming()
    run.equal(answer.status, 202, "the notification is taken before the first token is there")
    took = call.until_answered(5)
    run.check(took < 5, f"answered within 5 s, not {took:.2f}")
    run.until_ready()
    call.establish()
    run.until("the start", lambda e: of(e, "conversation.started"))
    finish(run, call)


def one_call_from_offer_to_end(run):
    """The plain ordinary call; the row of the list, the events in order."""
    run.start()
    call = accepted(run)
    call.roster(*[])
    run.tenant.wait("the recording status", lambda: call.statuses() == ["recording"])
    run.until("the recording", lambda e: of(e, "recording.started"))
    events, rows = finish(run, call)
    received = of(events, "invitation.received")[0]
    run.equal(received.get("source_id"), call.id, "source_id = call id")
    run.equal(received["actor"]["id"], pid(ALICE), "actor = caller")
    run.equal(received["actor"].get("name"), ALICE[1], "the caller's name")
    run.equal(invited(events), ["received", "accepted"], "received, then accepted")
    latency = of(events, "invitation.accepted")[0].get("detail", {}).get("latency_ms")
    run.check(type(latency) is int and 0 <= latency <= 5000, f"how long the answer took, in ms: {latency!r}")
    kinds = [e["kind"] for e in events if e["kind"].split(".")[0] in ("conversation", "recording")]
    run.equal([kinds[0], kinds.count("conversation.started"), kinds.count("conversation.ended"), kinds.count("recording.started")], ["conversation.started", 1, 1, 1], f"once each {kinds}")
    run.equal(len({e.get("conversation") for e in events}), 1, "one conversation")
    run.equal([(r["state"], r["coverage"]) for r in rows], [("ended", "complete")], "the row")
    ended = of(events, "conversation.ended")[0]
    run.equal({k: str(v) for k, v in ended.get("reason", {}).items()}, {"code": "0", "subcode": "0", "message": "The call ended normally."}, "reason = resultInfo")


def answer_of(run, **how):
    call = run.start().service.call(**how)
    call.incoming()
    call.until_answered()
    body = call.answered.body
    call.establish()
    run.until("the start", lambda e: of(e, "conversation.started"))
    finish(run, call)
    return call, body


def the_default_answer(run):
    call, body = answer_of(run)
    run.equal(body["mediaConfig"]["@odata.type"], "#microsoft.graph.serviceHostedMediaConfig", "service-hosted")
    run.check(not body["mediaConfig"].get("preFetchMedia"), "nothing to prefetch")
    run.equal(body["acceptedModalities"], ["audio"], "acceptedModalities")
    run.check("participantCapacity" not in body, "no participantCapacity")
    run.equal((body["callOptions"]["@odata.type"], body["callOptions"].get("isContentSharingNotificationEnabled")), ("#microsoft.graph.incomingCallOptions", True), "callOptions with their type")
    run.check(not body["callOptions"].get("isDeltaRosterEnabled"), "no delta roster")
    run.check(body["callbackUri"].startswith(run.callback_url + "/api/calls/") and len(body["callbackUri"]) > len(run.callback_url) + 12, f"callbackUri carries our key: {body['callbackUri']}")
    run.check(call.answered.headers.get("client-request-id"), "client-request-id on each request")
    run.check((call.answered.headers.get("Content-Type") or "").startswith("application/json"), "as JSON")


@settings(prefix="/greffier/teams")
def callback_url_with_a_path(run):
    call, body = answer_of(run)
    run.check(body["callbackUri"].startswith(run.callback_url + "/api/calls/"), f"callbackUri {body['callbackUri']}")
    run.check(call.answered, "the prefix is served")


@settings(keys={"prefetch_media": [{"uri": "https://cdn.contoso.com/beep.wav", "resource_id": "1D6DE2D4-CD51-4309-8DAA-70768651088E"},
                                   {"uri": "https://cdn.contoso.com/cool.wav", "resource_id": "1D6DE2D4-CD51-4309-8DAA-70768651088F"}]})
def answer_with_prefetch(run):
    _, body = answer_of(run)
    run.equal([(m["uri"], m["resourceId"]) for m in body["mediaConfig"]["preFetchMedia"]],
              [("https://cdn.contoso.com/beep.wav", "1D6DE2D4-CD51-4309-8DAA-70768651088E"), ("https://cdn.contoso.com/cool.wav", "1D6DE2D4-CD51-4309-8DAA-70768651088F")], "preFetchMedia")


@settings(keys={"media": "app-hosted", "media_blob_file": "media.blob", "accepted_modalities": ["audio", "video", "videoBasedScreenSharing"], "participant_capacity": 200})
def answer_app_hosted_from_a_file(run):
    run.file("media.blob", b"<Media \"Session\" blob>\xc3\xbc\n")
    _, body = answer_of(run)
    run.equal(body["mediaConfig"], {"@odata.type": "#microsoft.graph.appHostedMediaConfig", "blob": "<Media \"Session\" blob>ü"}, "the blob without its final newline")
    run.equal(body["acceptedModalities"], ["audio", "video", "videoBasedScreenSharing"], "acceptedModalities")
    run.equal(body.get("participantCapacity"), 200, "participantCapacity")


def answer_app_hosted_from_a_command(run):
    run.file("blob.sh", b"#!/bin/sh\nprintf '{\"who\":\"%s\"}\\n' \"$1\"\n", 0o700)
    run.configure(media="app-hosted", media_blob_command=[run.path("blob.sh"), "a b"], content_sharing=False, delta_roster=True, participant_capacity=1)
    os.chmod(run.path("blob.sh"), stat.S_IRWXU)
    _, body = answer_of(run)
    run.equal(body["mediaConfig"].get("blob"), '{"who":"a b"}', "what the command prints")
    run.equal((bool(body["callOptions"].get("isContentSharingNotificationEnabled")), body["callOptions"].get("isDeltaRosterEnabled")), (False, True), "callOptions by configuration")
    run.check("participantCapacity" not in body, "a capacity of 1 is not sent")


@settings(keys={"cloud": "us-gov-l4", "participant_capacity": 200, "graph_scope": "https://graph.microsoft.com/.default", "bot_scope": "https://api.botframework.com/.default"})
def government_cloud_lacks_options(run):
    """US Government metadata has neither participantCapacity nor callOptions in `answer`."""
    run.configure(calls_issuers=["https://graph.microsoft.com"])
    _, body = answer_of(run)
    run.check("participantCapacity" not in body and "callOptions" not in body, f"not sent there: {sorted(body)}")


@settings(tls=True, certificate=True)
def tls_and_a_client_certificate(run):
    """Everything over TLS under a private authority; a client assertion instead of the secret."""
    call, body = answer_of(run)
    run.check(body["callbackUri"].startswith("https://"), "https")
    run.check(all(b"client_assertion=" in s.raw and b"client_secret" not in s.raw for s in run.tenant.requests("POST", origin="login")), "assertions only")


# ---- who may call


def tries(run, *callers):
    """Calls one after the other; the answer to each: "accepted" or the reason of the rejection."""
    run.start()
    got, calls = [], []
    for how in callers:
        how = dict(how)
        token = how.pop("token_tid", None)
        call = run.service.call(**how)
        answer = call.send(call.note(call.resource(**({} if call.call_tenant else {"tenantId": None})), "created"), **({"token": run.service.call_token(tid=token)} if token else {}))
        if answer.status != 202:
            got.append(answer.status)
            continue
        run.tenant.wait("a decision", lambda: call.answered or call.rejected, 10)
        got.append("accepted" if call.answered else call.rejected.body["reason"])
        if call.answered:
            call.establish()
        call.end()
        calls.append(call)
    run.until("every decision", lambda e: len(of(e, "invitation.accepted", "invitation.declined")) >= len(calls))
    run.stop()
    events, _ = run.archive()
    for call, decision in zip(calls, [g for g in got if isinstance(g, str)]):
        mine = [e for e in events if e.get("source_id") == call.id and e["kind"] == "invitation.received"]
        run.equal(len(mine), 1, f"{decision}: invitation.received once, whatever the policy says")
    run.equal((len(of(events, "invitation.accepted")), len(of(events, "invitation.declined"))), (got.count("accepted"), len(calls) - got.count("accepted")), "as many accepted and declined")
    return got, events


def own_tenant_by_default(run):
    got, events = tries(run, {}, {"source_tenant": OTHER_TENANT}, {"source_tenant": TENANT.upper()}, {"phone": "+4912345678"})
    run.equal(got, ["accepted", "forbidden", "accepted", "accepted"], "everyone of tenant_id; a phone without tenantId counts to call.tenantId")
    run.equal([e["actor"]["id"] for e in of(events, "invitation.declined") if "actor" in e] in ([], [pid(ALICE, OTHER_TENANT)]), True, "the actor of what was declined")
    run.equal([e["actor"]["id"] for e in of(events, "invitation.received")], [pid(ALICE), pid(ALICE, OTHER_TENANT), pid(ALICE), "tel:+4912345678"], "actor = caller")


@settings(keys={"accept_from": [ALICE[0].lower(), f"{BOB[0]}@{TENANT}"], "reject_reason": "busy"})
def named_people(run):
    got, _ = tries(run, {}, {"source": BOB}, {"source": CAROL}, {"source": BOB, "source_tenant": OTHER_TENANT}, {"source": ALICE, "source_tenant": OTHER_TENANT})
    run.equal(got, ["accepted", "accepted", "busy", "busy", "accepted"], "<oid> of any tenant, <oid>@<tid> of that tenant")


@settings(keys={"accept_from": ["tel:+49*", f"*@{OTHER_TENANT}"], "reject_reason": "none"})
def phones_and_other_tenants(run):
    got, events = tries(run, {"phone": "+4930123"}, {"phone": "+4112345"}, {"source_tenant": OTHER_TENANT}, {})
    run.equal(got, ["accepted", "none", "accepted", "none"], "tel:+49* and *@<tid>")
    run.check("tel:+4930123" in [e["actor"]["id"] for e in of(events, "invitation.received")], "tel: ids")


@settings(keys={"accept_from": ["*"]})
def everyone(run):
    got, _ = tries(run, {"phone": "+1"}, {"source_tenant": OTHER_TENANT}, {"source": CAROL})
    run.equal(got, ["accepted"] * 3, "*")


@settings(keys={"accept_from": []})
def nobody(run):
    got, _ = tries(run, {}, {"policy": bot_data()})
    run.equal(got, ["forbidden", "accepted"], "nobody but policy recording")


def tenant_of_a_caller_without_one(run):
    """"A caller without tenantId counts to call.tenantId, else to the token's tid.\""""
    got, events = tries(run, {"tid": OTHER_TENANT, "token_tid": TENANT}, {"call_tenant": False, "token_tid": TENANT})
    run.check(got[0] in ("forbidden", 401, 403) and got[1] == "accepted", f"call.tenantId before the token's: {got}")
    run.equal([e["actor"]["id"] for e in of(events, "invitation.received")][-1], pid(ALICE), "and so are the ids")


@settings(keys={"accept_from": [BOB[0]], "accept_policy_recording": False})
def policy_recording_by_accept_from(run):
    got, _ = tries(run, {"policy": bot_data(reason="PolicyBasedRecording")}, {"policy": bot_data(), "source": BOB})
    run.equal(got, ["forbidden", "accepted"], "asked like everyone else")


def unresolved_callers(run):
    """Guests, anonymous and encrypted identities are callers, too; the first member that is not null counts."""
    run.configure(accept_from=["*"])
    run.start()
    sources = [("guest", "guest-1", "Gast"), ("encrypted", "enc-77", None), ("azureCommunicationServicesUser", "8:acs:1", "Acs"), ("onPremises", "op-1", None)]
    for kind, key, name in sources:
        call = run.service.call()
        who = identity(kind, key, name)
        who["user"] = None
        call.incoming(source={"@odata.type": "#microsoft.graph.participantInfo", "identity": who})
        call.until_answered()
        call.end()
    run.until("the calls", lambda e: len(of(e, "invitation.failed", "conversation.ended")) >= 4)
    run.stop()
    events, _ = run.archive()
    run.equal([e["actor"]["id"] for e in of(events, "invitation.received")], [f"{k}:{i}" for k, i, _ in sources], "<identity member>:<id>")


# ---- answers that fail


def failed(run):
    run.until("the failure", lambda e: of(e, "invitation.failed"))
    run.stop()
    events, rows = run.archive()
    run.equal(invited(events), ["received", "failed"], "received, then failed")
    run.equal(of(events, "recording.started"), [], "nothing is recorded")
    return events, rows


def answered_too_late(run):
    run.start()
    call = run.service.call(policy=bot_data())
    run.tenant.fault("POST", ".*/answer", error(404, "7504"), error(404, "7504"))
    call.incoming()
    run.tenant.wait_request("POST", ".*/answer")
    call.end(408, 8544, "Callee could not be reached.", state="Terminated")
    events, _ = failed(run)
    run.check("404" in str(of(events, "invitation.failed")[0]) or "8544" in str(of(events, "invitation.failed")[0]), f"says why: {of(events, 'invitation.failed')[0]}")


def answer_is_not_permitted(run):
    run.start()
    call = run.service.call()
    run.tenant.fault("POST", ".*/answer", *[error(403, "Forbidden")] * 3)
    call.incoming()
    run.tenant.wait_request("POST", ".*/answer")
    call.end(0, 487, "cancelled")
    failed(run)


def cancelled_while_ringing(run):
    """Answered, but ended before it was established."""
    run.start()
    call = run.service.call()
    call.incoming()
    call.until_answered()
    call.end("0", 603, "declined")
    events, _ = failed(run)
    run.check("603" in str(of(events, "invitation.failed")[0].get("reason")), f"resultInfo: {of(events, 'invitation.failed')[0]}")


def answered_after(run, *replies):
    """One immediate retry; the deadline rules."""
    run.start()
    call = run.service.call(policy=bot_data())
    run.tenant.fault("POST", ".*/answer", *replies)
    call.incoming()
    took = call.until_answered(5)
    run.check(took < 4, f"within the deadline: {took:.1f} s")
    call.establish()
    run.until("the acceptance", lambda e: of(e, "invitation.accepted"))
    finish(run, call)


def answer_again_after_500(run):
    answered_after(run, error(500, "UnknownError"))


def answer_again_after_429(run):
    answered_after(run, error(429, "TooManyRequests", {"Retry-After": "30"}))


def answer_again_after_a_broken_connection(run):
    answered_after(run, Reply(200, spoil="reset"))


@settings(idle=1)
def answer_on_connections_that_the_service_closes(run):
    """Graph closes what is idle; the answer is no slower for it."""
    run.start()
    time.sleep(2.5)
    for n in range(3):
        call = run.service.call(policy=bot_data())
        call.incoming()
        took = call.until_answered(5)
        run.check(took < 1.5, f"answered in {took:.2f} s")
        call.end()
        time.sleep(1.2)
    run.until("all", lambda e: len(of(e, "invitation.failed", "conversation.ended")) >= 3)
    run.stop()
    run.archive()


def answer_again_with_a_new_token(run):
    """401: new token, one retry."""
    run.start()
    run.tenant.revoke()
    call = run.service.call(policy=bot_data())
    call.incoming()
    call.until_answered(5)
    call.establish()
    run.until("the acceptance", lambda e: of(e, "invitation.accepted"))
    finish(run, call)


@settings(expires=76)
def tokens_are_renewed_before_they_end(run):
    """At 80 % of their life, in the background: no request ever carries an ended one."""
    run.start()
    first = len(run.tenant.requests("POST", origin="login"))
    run.tenant.wait("a renewal", lambda: len(run.tenant.requests("POST", origin="login")) > first, 80)
    call = accepted(run)
    run.equal([s for s in run.tenant.requests(origin="graph") if s.status == 401 and s.bearer], [], "no 401")
    finish(run, call)


def answers_are_tied_to_the_bot_of_the_token_not_to_targets(run):
    """"A call's `targets` are not checked.\""""
    run.start()
    call = run.service.call()
    call.incoming(targets=[{"identity": identity("application", "00000000-0000-0000-0000-000000000001")}])
    call.until_answered()
    call.establish()
    run.until("the start", lambda e: of(e, "conversation.started"))
    finish(run, call)


SCENARIOS = (answers_a_policy_call_right_after_readiness, answers_a_policy_call_before_readiness, one_call_from_offer_to_end, the_default_answer, callback_url_with_a_path,
             answer_with_prefetch, answer_app_hosted_from_a_file, answer_app_hosted_from_a_command, government_cloud_lacks_options, tls_and_a_client_certificate,
             own_tenant_by_default, named_people, phones_and_other_tenants, everyone, nobody, tenant_of_a_caller_without_one, policy_recording_by_accept_from, unresolved_callers,
             answered_too_late, answer_is_not_permitted, cancelled_while_ringing, answer_again_after_500, answer_again_after_429, answer_again_after_a_broken_connection, answer_on_connections_that_the_service_closes,
             answer_again_with_a_new_token, tokens_are_renewed_before_they_end, answers_are_tied_to_the_bot_of_the_token_not_to_targets)
