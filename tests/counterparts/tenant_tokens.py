"""Whose requests are believed: tokens of all three kinds, keys that turn and go missing, the validation handshake."""

import base64
import hashlib
import hmac
import json
import time
from urllib.parse import quote

from cryptography.hazmat.primitives import serialization

from recorder_run import of, settings, texts
from tenant import CLIENT, OTHER_TENANT, TENANT
from tenant_answer import accepted, finish
from tenant_keys import b64url, life, rsa_key
from tenant_send import ALICE
from tenant_wire import post


def unsigned(claims, kid):
    return b64url(json.dumps({"alg": "none", "kid": kid, "typ": "JWT"}).encode()) + "." + b64url(json.dumps(claims).encode()) + "."


def by_public_key(claims, keys):
    """HMAC with the public key as the secret: the classic confusion."""
    kid, key = keys.keys[-1]
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = b64url(json.dumps({"alg": "HS256", "kid": kid, "typ": "JWT"}).encode()) + "." + b64url(json.dumps(claims).encode())
    return head + "." + b64url(hmac.new(pem, head.encode(), hashlib.sha256).digest())


def spoilt(token):
    head, claims, signature = token.split(".")
    doc = json.loads(base64.urlsafe_b64decode(claims + "=="))
    doc["exp"] += 1
    return ".".join((head, b64url(json.dumps(doc).encode()), signature))


def bad_tokens(keys, make):
    """Every token that must be refused, by name; `make(**claims)` gives the claims of a good one."""
    now = int(time.time())
    return {"nothing": "", "garbage": "abc", "three empty parts": "..", "alg none": unsigned(make(), keys.keys[-1][0]), "HS256 with the public key": by_public_key(make(), keys),
            "spoilt claims": spoilt(keys.sign(make())), "another audience": keys.sign(make(aud="00000000-0000-0000-0000-000000000001")), "no audience": keys.sign(make(aud=None)),
            "another issuer": keys.sign(make(iss="https://evil.example")), "no issuer": keys.sign(make(iss=None)), "issuer with a slash": keys.sign(make(iss=make()["iss"].rstrip("/") + "//")),
            "ended 6 minutes ago": keys.sign(make(nbf=now - 7200, iat=now - 7200, exp=now - 360)), "begins in an hour": keys.sign(make(nbf=now + 3600, iat=now + 3600, exp=now + 7200)),
            "without an end": keys.sign(make(exp=None)), "another's key": keys.sign(make(), key=rsa_key("stranger")), "an unknown key id": keys.sign(make(), kid="zz", key=rsa_key("stranger"))}


def nothing_archived(run):
    run.stop()
    events, rows = run.archive()
    run.equal(([e["kind"] for e in events], rows), ([], []), "nothing is archived")


def call_tokens_that_are_refused(run):
    run.start()
    keys = run.tenant.sets["calls"]
    bad = bad_tokens(keys, run.service.call_claims)
    bad.update({"no tenant": keys.sign(run.service.call_claims(tid=None)), "another tenant": keys.sign(run.service.call_claims(tid=OTHER_TENANT)),
                "a key of login": run.tenant.sets["notifications"].sign(run.service.call_claims()), "a key of the bot service": run.tenant.sets["bot"].sign(run.service.call_claims())})
    for name, token in bad.items():
        call = run.service.call()
        answer = run.service.calls([call.note(call.resource(), "created")], token=token)
        run.check(answer.status in (401, 403), f"{name}: refused, not {answer.status}")
        run.equal(answer.raw, b"", f"{name}: no body")
    run.equal(run.tenant.requests("POST", ".*/(answer|reject)"), [], "nobody is answered")
    nothing_archived(run)


def call_tokens_that_are_accepted(run):
    run.start()
    now = int(time.time())
    keys = run.tenant.sets["calls"]
    good = {"issuer graph": {}, "issuer botframework": {"iss": "https://api.botframework.com"}, "ended 4 minutes ago": {"nbf": now - 7200, "iat": now - 7200, "exp": now - 240},
            "begins in 4 minutes": {"nbf": now + 240, "iat": now + 240, "exp": now + 7200}, "several audiences": {"aud": [CLIENT, "x"]}, "tenant in capitals": {"tid": TENANT.upper()}}
    for name, over in good.items():
        call = run.service.call()
        answer = run.service.calls([call.note(call.resource(), "created")], token=keys.sign(run.service.call_claims(**over)))
        if name == "several audiences" and answer.status in (401, 403):
            continue
        run.equal(answer.status, 202, name)
        call.until_answered()
        call.end()
    run.until("the calls", lambda e: len(of(e, "invitation.received")) >= 5)
    run.stop()
    run.archive()


def the_same_refusals_on_the_bots_endpoint(run):
    run.start()
    keys = run.tenant.sets["bot"]
    bad = bad_tokens(keys, run.service.bot_claims)
    bad.update({"no service URL": keys.sign(run.service.bot_claims(serviceurl=None)), "another service URL": keys.sign(run.service.bot_claims(serviceurl=run.tenant.url["stranger"] + "/")),
                "service URL without its slash": keys.sign(run.service.bot_claims(serviceurl=run.service.service_url.rstrip("/"))),
                "the issuer of calls": keys.sign(run.service.bot_claims(iss="https://graph.microsoft.com")), "a key of calls": run.tenant.sets["calls"].sign(run.service.bot_claims())})
    for name, token in bad.items():
        answer = run.service.send(run.service.activity("message", "19:x@thread.v2", text="x"), token=token)
        run.check(answer.status in (401, 403), f"{name}: refused, not {answer.status}")
    keys.endorsements = ["webchat"]
    keys.turn(keep=False)
    answer = run.service.send(run.service.activity("message", "19:x@thread.v2", text="x"))
    run.check(answer.status in (401, 403), f"a key that is not endorsed for msteams: refused, not {answer.status}")
    nothing_archived(run)


def keys_of_other_sorts(run):
    """A set is no worse for what a reader does not understand."""
    run.tenant.sets["calls"].others = [{"kty": "EC", "use": "sig", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "oct"}, {"kty": "RSA", "kid": "broken", "n": "%%%", "e": ""}, {}, None, 7]
    run.start()
    finish(run, accepted(run))


def keys_turn(run):
    """A token by a key published since is believed at once; unknown ids cannot make us ask without end."""
    run.start()
    keys = run.tenant.sets["calls"]
    accepted(run).end()
    keys.turn()
    accepted(run).end()
    keys.turn(keep=False)
    fetched = keys.fetched
    for n in range(30):
        call = run.service.call()
        answer = run.service.calls([call.note(call.resource(), "created")], token=keys.sign(run.service.call_claims(), kid=f"made-up-{n}", key=rsa_key("stranger")))
        run.check(answer.status in (401, 403), f"refused, not {answer.status}")
    run.check(keys.fetched - fetched <= 3, f"rate-limited refresh: {keys.fetched - fetched} for 30 tokens")
    run.stop()
    run.equal(len(of(run.archive()[0], "invitation.accepted")), 2, "two calls")


@settings(keys={"chat_scopes": ["/chats/getAllMessages"]})
def keys_that_turn_twice_at_once(run):
    """Two new keys within a moment: what comes while the refresh is limited is verified by the next one, not dropped."""
    chat = run.tenant.chats.add("19:x@thread.v2", members=[ALICE])
    run.start()
    one = run.tenant.wait("the subscription", lambda: next(iter(run.tenant.subscriptions.values()), None))
    for n in range(4):
        run.tenant.sets["notifications"].turn()
        doc = run.tenant.chats.say(chat, ALICE, f"by key {n}")
        run.equal(run.service.changes([run.service.item(one, chat, doc)]).status, 202, "taken")
        del chat.messages[doc["id"]]
    run.until("all four", lambda e: len(texts(e)) == 4, 90)
    run.stop()
    run.archive()


@settings(keys={"chat_scopes": ["/chats/getAllMessages"]})
def strangers_cannot_use_up_the_refreshes(run):
    """Made-up key ids exhaust the refreshes that are allowed; a good notification by a new key is verified all the same."""
    chat = run.tenant.chats.add("19:x@thread.v2", members=[ALICE])
    run.start()
    one = run.tenant.wait("the subscription", lambda: next(iter(run.tenant.subscriptions.values()), None))
    keys = run.tenant.sets["notifications"]
    fetched = keys.fetched
    for n in range(40):
        doc = run.tenant.chats.say(chat, ALICE, f"never seen {n}")
        token = keys.sign(run.service.validation_claims(), kid=f"made-up-{n}", key=rsa_key("stranger"))
        run.equal(run.service.changes([run.service.item(one, chat, doc, clientState="guessed")], [token]).status, 202, "taken")
        del chat.messages[doc["id"]]
    run.check(keys.fetched - fetched <= 12, f"rate-limited refresh: {keys.fetched - fetched} for 40 tokens")
    keys.turn()
    doc = run.tenant.chats.say(chat, ALICE, "by the new key")
    run.equal(run.service.changes([run.service.item(one, chat, doc)]).status, 202, "taken")
    del chat.messages[doc["id"]]
    run.until("the good one", lambda e: texts(e) == ["by the new key"], 45)
    run.stop()
    run.archive()


def keys_out_of_reach_are_kept(run):
    run.start()
    accepted(run).end()
    for keys in run.tenant.sets.values():
        keys.down = True
    call = run.service.call()
    answer = run.service.calls([call.note(call.resource(), "created")], token=run.tenant.sets["calls"].sign(run.service.call_claims(), kid="unknown"))
    run.check(answer.status in (401, 403, 503), f"an unknown key is not believed: {answer.status}")
    finish(run, accepted(run))


def keys_out_of_reach_at_the_start(run):
    """Refused while they cannot be checked; believed as soon as they can."""
    for keys in run.tenant.sets.values():
        keys.down = True
    run.start(ready=False)
    run.until_listening()
    call = run.service.call()
    answer = call.incoming()
    run.check(answer.status in (401, 403, 503), f"not believed: {answer.status}")
    for keys in run.tenant.sets.values():
        keys.down = False
    end = time.monotonic() + 20
    while answer.status != 202 and time.monotonic() < end:
        time.sleep(0.3)
        answer = call.incoming()
    run.equal(answer.status, 202, "believed later")
    call.until_answered()
    call.establish()
    run.until("the start", lambda e: of(e, "conversation.started"))
    finish(run, call)


# ---- handshake


def validation_handshake_decodes_once(run):
    run.start()
    tokens = ["plain", "a b+c", "100% %2B %25", "Grüße 日本語", "<script>alert('x')</script>&amp;", "a=b&c=d?e#f", " leading and trailing ", "x" * 2000]
    for path in ("/api/notifications", "/api/lifecycle"):
        for token in tokens:
            for coded in (quote(token, safe=""), quote(token, safe="").replace("%20", "+")):
                answer = post(f"{run.callback_url}{path}?validationToken={coded}", b"", {"Content-Type": "text/plain; charset=utf-8"})
                run.equal((answer.status, answer.headers.get_content_type(), answer.raw.decode("utf-8", "replace")), (200, "text/plain", token), f"{path} {coded[:40]}")
                run.check(answer.headers.get("X-Content-Type-Options") == "nosniff", "nosniff")
    nothing_archived(run)


def strange_requests(run):
    run.start()
    for method, path in (("GET", "/api/calls"), ("GET", "/api/notifications"), ("PUT", "/api/messages"), ("POST", "/api/unknown"), ("POST", "/"), ("GET", "/")):
        answer = post(run.callback_url + path, b"", method=method)
        run.check(400 <= answer.status < 500, f"{method} {path}: {answer.status}")
    big = b"[" * 100_000
    run.equal(run.service.calls(big).status in (204, 400, 413), True, "a deeply nested body")
    run.equal(run.service.changes(big).status in (202, 400, 413), True, "a deeply nested body of changes")
    run.equal(run.service.changes(b"not json").status, 400, "unreadable: 400")
    answer = post(run.callback_url + "/api/messages", b"not json", {"Authorization": f"Bearer {run.service.bot_token()}"})
    run.check(answer.status in (400, 401, 403), f"unreadable: {answer.status}")
    finish(run, accepted(run))


# ---- change notifications


@settings(keys={"chat_scopes": ["/chats/getAllMessages"]})
def notifications_that_are_not_believed(run):
    """202 whatever is wrong, and nothing becomes an event."""
    chat = run.tenant.chats.add("19:x@thread.v2", members=[ALICE])
    run.start()
    one = run.tenant.wait("the subscription", lambda: next(iter(run.tenant.subscriptions.values()), None))
    keys = run.tenant.sets["notifications"]
    make = run.service.validation_claims
    bad = bad_tokens(keys, make)
    bad.update({"another publisher": keys.sign(make(appid="00000000-0000-0000-0000-000000000002")), "no publisher": keys.sign(make(appid=None)), "no tenant": keys.sign(make(tid=None, iss=make()["iss"])),
                "another tenant": keys.sign(make(tid=OTHER_TENANT)), "issuer of another tenant": keys.sign(make(iss=f"https://sts.windows.net/{OTHER_TENANT}/")),
                "a key of calls": run.tenant.sets["calls"].sign(make()), "a bot's token": run.tenant.sets["bot"].sign(run.service.bot_claims())})
    def unseen(what):
        doc = run.tenant.chats.say(chat, ALICE, f"never seen: {what}")
        del chat.messages[doc["id"]]
        return doc

    for name, token in bad.items():
        run.equal(run.service.changes([run.service.item(one, chat, unseen(name))], [token]).status, 202, f"{name}: 202")
    good, worst = run.service.validation_token(), bad["another's key"]
    for tokens in ([good, worst], [worst, good]):
        what = f"{len(tokens)} tokens, the first {'good' if tokens[:1] == [good] else 'bad'}"
        run.equal(run.service.changes([run.service.item(one, chat, unseen(what))], tokens).status, 202, f"{what}: 202")
    # Microsoft's own helper takes an empty list for valid.
    for what, member in (("an empty list", {"validationTokens": []}), ("null", {"validationTokens": None}), ("a list of nothing", {"validationTokens": [None]}), ("no such member", {})):
        item = run.service.item(one, chat, unseen(what))
        run.check("encryptedContent" in item, "encrypted")
        run.equal(run.service.changes(json.dumps({**member, "value": [item]}).encode()).status, 202, f"validationTokens {what}: 202")
    for over in ({"clientState": "wrong"}, {"clientState": None}, {"clientState": one.body["clientState"] + "x"}, {"tenantId": OTHER_TENANT}):
        item = run.service.item(one, chat, unseen(over), **over)
        run.equal(run.service.changes([{k: v for k, v in item.items() if v is not None}]).status, 202, f"{over}: 202")
    doc = run.tenant.chats.say(chat, ALICE, "seen")
    run.equal(run.service.changes([run.service.item(one, chat, doc)]).status, 202, "a good one")
    run.until("the good one", lambda e: "seen" in texts(e))
    run.stop()
    events, _ = run.archive()
    run.equal((texts(events), of(events, "capture.gap")), (["seen"], []), "only the good one")
    run.check("never seen" not in json.dumps(events), "no event of any kind tells of the others")


@settings(keys={"chat_scopes": ["/chats/getAllMessages"]})
def notifications_wait_for_keys(run):
    """JWKS out of reach is our outage: what was taken is verified later, not lost."""
    chat = run.tenant.chats.add("19:x@thread.v2", members=[ALICE])
    run.start()
    one = run.tenant.wait("the subscription", lambda: next(iter(run.tenant.subscriptions.values()), None))
    keys = run.tenant.sets["notifications"]
    keys.down = True
    keys.turn()
    doc = run.tenant.chats.say(chat, ALICE, "verified later")
    answer = run.service.changes([run.service.item(one, chat, doc)])
    run.check(answer.status in (202, 503), f"taken, or asked to send again: {answer.status}")
    time.sleep(1)
    keys.down = False
    if answer.status == 503:
        run.equal(run.service.changes([run.service.item(one, chat, doc)]).status, 202, "taken")
    run.until("the message", lambda e: "verified later" in texts(e), 60)
    run.stop()
    run.archive()


@settings(keys={"chat_scopes": ["/chats/getAllMessages"]})
def slow_keys_do_not_slow_the_202(run):
    """Within 3 s, whatever the key server does; it is verified afterwards."""
    chat = run.tenant.chats.add("19:x@thread.v2", members=[ALICE])
    run.start()
    one = run.tenant.wait("the subscription", lambda: next(iter(run.tenant.subscriptions.values()), None))
    run.tenant.sets["notifications"].turn()

    slow = []

    def before(seen):
        if seen.origin == "keys" and len(slow) < 3:
            slow.append(seen)
            reply = run.tenant.at_keys(seen)
            reply.spoil, reply.seconds = "hang", 4
            return reply
        return None

    run.tenant.before = before
    doc = run.tenant.chats.say(chat, ALICE, "verified when the keys are there")
    answer = run.service.changes([run.service.item(one, chat, doc)])
    run.check(answer.status == 202 and answer.seconds < 3, f"{answer.status} after {answer.seconds:.1f} s")
    run.until("the message", lambda e: texts(e) == ["verified when the keys are there"], 60)
    run.stop()
    run.archive()


@settings(keys={"chat_scopes": ["/chats/getAllMessages"]})
def version_two_tokens_of_the_publisher(run):
    chat = run.tenant.chats.add("19:x@thread.v2", members=[ALICE])
    run.start()
    one = run.tenant.wait("the subscription", lambda: next(iter(run.tenant.subscriptions.values()), None))
    doc = run.tenant.chats.say(chat, ALICE, "v2")
    claims = {"aud": CLIENT, "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "azp": "0bf30f3b-4a52-48df-9a82-234910c4a086", "tid": TENANT, "ver": "2.0", **life()}
    run.equal(run.service.changes([run.service.item(one, chat, doc)], [run.tenant.sets["notifications"].sign(claims)]).status, 202, "taken")
    run.until("the message", lambda e: texts(e) == ["v2"])
    run.stop()
    run.archive()


SCENARIOS = (call_tokens_that_are_refused, call_tokens_that_are_accepted, the_same_refusals_on_the_bots_endpoint, keys_of_other_sorts, keys_turn, keys_that_turn_twice_at_once, strangers_cannot_use_up_the_refreshes, keys_out_of_reach_are_kept, keys_out_of_reach_at_the_start,
             validation_handshake_decodes_once, strange_requests, notifications_that_are_not_believed, notifications_wait_for_keys, slow_keys_do_not_slow_the_202, version_two_tokens_of_the_publisher)
