"""Signing in: the check verb, wrong credentials, whom secrets are told, redirects, activity."""

import time

from deployment import PASSWORD, Reply, error
from deployment_chats import ALICE, noticed
from recorder_run import of, settings


def check_verb(run):
    """`check` signs in, says what works line by line, and signs out again."""
    dep = run.dep
    status, out, err = run.cli("check")
    run.equal(status, 0, f"check: {out} {err}")
    for word in ("AD.svc", dep.url["pool"].removeprefix("http://").split(":")[0], "password", "rchiving"):
        run.check(word in out, f"check tells of {word}: {out}")
    run.equal([s.name for s in dep.requests("DELETE")], ["application"], "signs out")
    run.check(not dep.app_alive, "no application is left")
    run.check(PASSWORD not in out + err and "cwt=" not in out + err, "no secret is printed")
    tickets = dep.requests("POST", "token")
    run.equal(sorted(s.origin for s in tickets), ["discovery", "pool"], "one ticket per origin")
    run.check(all(s.headers["Content-Type"].lower().startswith("application/x-www-form-urlencoded") for s in tickets), "form")
    anonymous = [s for s in dep.seen if s.name == "discovery"]
    run.check(anonymous and all("Authorization" not in s.headers for s in anonymous), "discovery is anonymous")
    run.check(all(h not in s.headers for s in dep.seen for h in ("Origin", "X-Ms-Origin", "Referer")), "no browser headers")
    run.check(all("json" in s.headers.get("Accept", "") for s in dep.seen), "asks for JSON")


def wrong_password(run):
    dep = run.dep
    dep.password_right = False
    status, out, err = run.cli("check")
    run.equal(status, 1, "check exits")
    run.check(1 <= dep.tokens_asked <= 2, f"at most two tries: {dep.tokens_asked}")
    run.check(PASSWORD not in out + err, "no secret")
    before = dep.tokens_asked
    run.start(ready=False)
    dep.wait("a try", lambda: dep.tokens_asked > before)
    begun = time.monotonic()
    while time.monotonic() - begun < 4:
        time.sleep(0.1)
    run.check(dep.tokens_asked - before <= 2, f"serve does not hammer: {dep.tokens_asked - before}")
    run.check(run.process.poll() is None and run.healthy(), "serve stays up with the viewer")
    run.check(any(w in run.log().lower() for w in ("password", "credential")), "an alarm")
    run.stop()


def second_serve(run):
    run.start()
    status, out, err = run.cli("serve", timeout=20)
    run.equal(status, 1, "the second serve exits")
    run.check(str(run.process.pid) in err, f"and names the first one's pid: {err}")
    run.check(run.process.poll() is None, "the first goes on")
    run.stop()


def stranger_seen(run):
    """What the untrusted host received, in all it was sent."""
    return "".join(str(s.headers) + s.body.decode("utf-8", "replace") + s.target for s in run.dep.requests(origin="stranger"))


def innocent(run):
    seen = stranger_seen(run)
    run.check("Authorization" not in seen and "cwt" not in seen and "password" not in seen and "p%26a" not in seen, f"the stranger is told nothing: {seen}")


def untrusted_token(run):
    """The challenge points elsewhere for the ticket."""
    run.dep.token_href = run.dep.url["stranger"] + "/WebTicket/oauthtoken"
    status, out, err = run.cli("check")
    run.equal(status, 1, f"check fails: {out} {err}")
    run.check("127.0.0.3" in out + err, f"and names the host: {out} {err}")
    innocent(run)


def untrusted_redirect(run):
    """A redirect link leads away."""
    run.dep.discovery_override = {"_links": {"redirect": {"href": run.dep.url["stranger"] + "/root"}}}
    status, out, err = run.cli("check")
    run.equal(status, 1, "check fails")
    innocent(run)


def untrusted_applications(run):
    """The user resource names applications on a host nobody trusts; likewise a redirect there."""
    run.dep.user_override = {"_links": {"applications": {"href": run.dep.url["stranger"] + "/ucwa/oauth/v1/applications"}}}
    status, out, err = run.cli("check")
    run.equal(status, 1, "check fails")
    run.dep.user_override = {"_links": {"redirect": {"href": run.dep.url["stranger"] + "/root"}}}
    status, out, err = run.cli("check")
    run.equal(status, 1, "check fails")
    innocent(run)


@settings(trusted=())
def untrusted_pool(run):
    """Loopback or not: a pool that is not listed gets nothing."""
    status, out, err = run.cli("check")
    run.equal(status, 1, "check fails")
    run.equal([s.target for s in run.dep.requests(origin="pool") if "Authorization" in s.headers or s.name == "token"], [], "no ticket, no password to the pool")
    run.check("trusted_hosts" in out + err, f"says what to do: {out} {err}")


def untrusted_events(run):
    """Hrefs inside events and links that leave the pool's origin are data, never fetched."""
    dep = run.start().dep
    c, i = dep.invite("u-1", ALICE)
    noticed(dep)
    far = dep.url["stranger"]
    event = dep.event(c, "participant", "communication/conversations/u-1/participants/x", "added")
    event[2]["link"]["href"] = far + "/participants/x"
    dep.emit(event)
    event = dep.event(c, "message", "communication/conversations/u-1/messaging/messages/77", "completed", status="Success")
    event[2]["link"]["href"] = far + "/messages/77"
    dep.emit(event)
    dep.drained()
    dep.fault(lambda b: Reply(200, body=b'{"_links":{"self":{"href":"/x"},"next":{"href":"' + (far + "/events?ack=9").encode() + b'"}}}', headers={"Content-Type": None}))
    dep.say(c, ALICE[0], "x")
    dep.wait("the fault", lambda: not dep.faults)
    begun = time.monotonic()
    while time.monotonic() - begun < 2 and not dep.requests(origin="stranger"):
        time.sleep(0.1)
    run.check(run.healthy(), "serve stays up")
    run.stop()
    run.equal(stranger_seen(run), "", "nothing is fetched from another origin")
    run.archive()


def redirects(run):
    """A loop ends; two redirects and a bare root on the user resource are followed."""
    dep = run.dep
    dep.discovery_override = {"_links": {"redirect": {"href": dep.url["discovery"] + "/b/loop"}}}
    status, out, err = run.cli("check")
    run.equal(status, 1, "a loop fails")
    run.check(len(dep.requests(place="loop")) <= 12, f"after few hops: {len(dep.requests(place='loop'))}")


@settings(style="absolute", keys={"activity_seconds": 10})
def activity(run):
    """reportMyActivity in the configured rhythm; 409 there makes the recorder available again."""
    dep = run.start().dep
    first = dep.wait_request("POST", "me/reportMyActivity", 1, 14).at
    with dep.cv:
        dep.available = False
    second = dep.wait_request("POST", "me/reportMyActivity", 2, 14).at
    run.check(5 < second - first < 12, f"every ten seconds: {second - first:.1f}")
    dep.wait_request("POST", "me/makeMeAvailable", 2)
    c, _ = dep.invite("k-1", ALICE, text="still there")
    noticed(dep)
    dep.end(c)
    dep.drained()
    run.stop()
    events, _ = run.archive()
    run.equal(of(events, "capture.gap"), [], "no gap")


def unavailable(run):
    """The server does not make the recorder available: said aloud, tried again later, serve stays up."""
    run.dep.make_error = error(403, "Forbidden", "AnonymousNotAllowed")
    run.start(ready=False)
    run.dep.wait_request("POST", "me/makeMeAvailable")
    run.dep.make_error = None
    run.dep.wait("available at last", lambda: run.dep.available and run.dep.polls, 40)
    run.check("invitation" in run.log().lower(), "an alarm that no invitation can reach the recorder")
    run.check(run.healthy(), "serve stays up")
    run.stop()


SCENARIOS = (activity, wrong_password, check_verb, second_serve, untrusted_token, untrusted_redirect, untrusted_applications, untrusted_pool, untrusted_events,
             redirects, unavailable)
