"""Killed at the worst moments, secrets, check, and whose tokens go where."""

import http.client
import json
import random
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.parse import parse_qs, urlsplit

from recorder_run import of, settings, texts
from tenant import BOT_SCOPE, GRAPH_SCOPE
from tenant_answer import accepted, finish
from tenant_keys import client_certificate
from tenant_messages import done
from tenant_send import ALICE, BOB, bot_data, person, pid
from tenant_subscriptions import ALL, GROUP, group, said, subscribed


def flood(run, count, end):
    """`count` notifications from eight senders; `end` is called in the middle, and the last quarter is sent after its signal. What was acknowledged is there, exactly once."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    docs = [run.tenant.chats.say(chat, ALICE, f"text {n}") for n in range(count)]
    bodies = [[run.service.item(one, chat, d)] for d in docs]
    for d in docs:
        del chat.messages[d["id"]]
    taken, lock, work, token = set(), threading.Lock(), iter(enumerate(bodies)), run.service.validation_token()
    held, signalled, send_signal = count * 3 // 4, threading.Event(), run.process.send_signal

    def signal_sent(number):
        send_signal(number)
        signalled.set()

    run.process.send_signal = signal_sent

    def sender():
        while True:
            with lock:
                n, items = next(work, (None, None))
            if n is None:
                return
            if n >= held:
                signalled.wait(60)
            try:
                answer = run.service.changes(items, [token])
            except (OSError, HTTPException):
                continue
            if answer.status == 202:
                with lock:
                    taken.add(n)
            run.check(answer.status in (202, 503), f"taken, or to be sent again: {answer}")

    threads = [threading.Thread(target=sender) for _ in range(8)]
    for t in threads:
        t.start()
    limit = random.Random(7).randrange(count // 4, count * 3 // 4)
    while len(taken) < limit and any(t.is_alive() for t in threads):
        time.sleep(0.002)
    end()
    for t in threads:
        t.join()
    # A recorder that is asked to stop may still take what comes; one that is killed cannot.
    late = len([n for n in taken if n >= held])
    run.check(limit <= len(taken) < count + (end == run.stop) and not (late and end == run.kill), f"ended in the middle: {len(taken)} taken, {late} of them after the signal")
    run.start()
    wanted = {f"text {n}" for n in taken}
    run.until("everything that was acknowledged", lambda e: wanted <= set(texts(e)), 40)
    said(run, chat, "goes on")
    run.until("the next", lambda e: "goes on" in texts(e))
    events, _ = done(run)
    run.equal(len(texts(events)), len(set(texts(events))), "exactly once")


@settings(keys=ALL)
def killed_during_500_notifications(run):
    flood(run, 500, run.kill)


@settings(keys=ALL)
def stopped_during_300_notifications(run):
    flood(run, 300, run.stop)


def killed_between_202_and_the_answer(run):
    """The invitation was acknowledged; after the restart it is decided, or said to have failed. It is never forgotten."""
    run.start()
    call = run.service.call(policy=bot_data())
    killed = threading.Event()

    def before(seen):
        if seen.path.endswith("/answer") and not killed.is_set():
            killed.set()
            run.kill()
        return None

    run.tenant.before = before
    try:
        taken = call.incoming().status == 202
    except OSError:
        taken = False
    run.tenant.wait("the kill", killed.is_set)
    run.start()
    if not taken:
        run.equal(call.incoming().status, 202, "the notification is taken when it comes again")
    run.tenant.wait("a decision or none", lambda: call.answered or len(run.tenant.requests("GET", ".*/calls/.*")) > 0, 10)
    if call.answered:
        call.establish()
        run.until("the start", lambda e: of(e, "conversation.started"))
    call.end()
    run.until("the end", lambda e: of(e, "conversation.ended", "invitation.failed"))
    run.stop()
    events, _ = run.archive()
    run.equal(len(of(events, "invitation.received")), 1, "the invitation is there once")


def killed_after_the_answer(run):
    """Notifications go to the callbackUri of the answer, also after a restart."""
    run.start()
    call = run.service.call()
    call.incoming()
    call.until_answered()
    run.kill()
    run.start()
    run.equal(call.establish().status, 202, "the key of the callbackUri is still known")
    call.roster(person("p1", ALICE))
    run.until("the roster", lambda e: any(x["participant"]["id"] == pid(ALICE) for x in of(e, "participant.joined")))
    events, rows = finish(run, call)
    run.equal((len(rows), len(of(events, "invitation.received"))), (1, 1), "one conversation")


def killed_again_and_again(run):
    """Random kills while a meeting with its chat goes on: nothing acknowledged is lost, nothing is there twice."""
    thread = "19:meeting_random@thread.v2"
    chat = run.tenant.chats.add(thread, "meeting", members=[ALICE, BOB])
    run.start()
    call = accepted(run, thread=thread)
    subscribed(run)
    rng = random.Random(11)
    for n in range(24):
        if rng.random() < 0.25:
            run.kill()
            run.start()
        said(run, chat, f"text {n}")
    call.roster(person("p1", ALICE), person("p2", BOB))
    run.until("all", lambda e: {f"text {n}" for n in range(24)} <= set(texts(e)) and len(of(e, "participant.joined")) >= 2, 40)
    events, rows = finish(run, call)
    run.equal((len(texts(events)), len(rows)), (24, 1), "each once, one conversation")
    run.equal([len(of(events, k)) for k in ("conversation.started", "conversation.ended")], [1, 1], "started and ended once")


def wrong_secret(run):
    """`check` exits 1 after at most two tries; `serve` stays up, is not ready, and tries again slowly."""
    run.tenant.secret_right = False
    status, out, err = run.cli("check")
    run.equal(status, 1, f"check: {out}{err}")
    run.check(len(run.tenant.requests(origin="login")) <= 2, "at most two tries")
    before = len(run.tenant.requests(origin="login"))
    run.start(ready=False)
    run.until_listening()
    end = time.monotonic() + 10
    while run.ready() is None and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(3)
    run.check(run.process.poll() is None and run.ready() not in (200, None), f"serve stays up and is not ready: {run.ready()}")
    run.check(len(run.tenant.requests(origin="login")) - before <= 2, "no hammering")
    call = run.service.call()
    run.equal(call.incoming().status, 202, "what arrives is taken all the same")
    run.until("the invitation", lambda e: of(e, "invitation.received"))
    run.stop()
    run.archive()


def check_says_what_works(run):
    status, out, err = run.cli("check")
    run.equal(status, 0, f"check: {out}{err}")
    run.check("teams" in out, f"names the connector: {out}")


@settings(roles=("Chat.Read.All",))
def check_names_missing_roles(run):
    status, out, err = run.cli("check")
    said_all = out + err
    run.check("Calls.JoinGroupCall.All" in said_all or "Calls.AccessMedia.All" in said_all, f"missing roles are named: {status} {said_all}")


def a_readable_secret_is_refused(run):
    run.file("secret", b"x", 0o644)
    status, _, err = run.cli("check")
    run.check(status in (1, 2) and "secret" in err, f"mode 0600 or stricter: {status} {err}")


def keys_of_the_configuration(run):
    """Unknown keys are errors that name the key and the nearest known one; plain http only on loopback."""
    run.configure(acept_from=["*"])
    status, _, err = run.cli("check")
    run.check(status in (1, 2) and "acept_from" in err and "accept_from" in err, f"nearest key: {status} {err}")
    run.configure(acept_from=None, graph_url="http://graph.example.com")
    status, _, err = run.cli("check")
    run.check(status in (1, 2) and "graph_url" in err, f"plain http elsewhere: {status} {err}")
    run.configure(graph_url=run.tenant.url["graph"], tenant_id="not-a-guid")
    status, _, err = run.cli("check")
    run.check(status in (1, 2) and "tenant_id" in err, f"tenant_id: {status} {err}")
    run.configure(tenant_id=None)
    status, _, err = run.cli("check")
    run.check(status in (1, 2) and "tenant_id" in err, f"tenant_id is required: {status} {err}")
    run.equal(run.tenant.seen, [], "nobody was asked")


@settings(keys=ALL)
def tokens_go_where_they_belong(run):
    """Graph tokens to Graph, connector tokens to the connector, none to login or keys."""
    chat = group(run)
    run.start()
    subscribed(run)
    call = accepted(run)
    said(run, chat, "x")
    run.service.send(run.service.activity("conversationUpdate", GROUP, membersAdded=[{"id": "28:0efc74f7-41c3-47a4-8775-7259bfef4241"}]))
    run.tenant.wait("the notice", lambda: run.tenant.posted)
    run.until("the message", lambda e: texts(e) == ["x"])
    finish(run, call)
    scopes = {t: held[0] for t, held in run.tenant.tokens.items()}
    for s in run.tenant.seen:
        wanted = {"graph": GRAPH_SCOPE, "connector": BOT_SCOPE}.get(s.origin) if s.bearer else None
        run.check(scopes.get(s.bearer) == wanted, f"{s}: token of {scopes.get(s.bearer)}")
    run.check(all("client_secret" not in s.target and b"secret" not in s.raw for s in run.tenant.seen if s.origin != "login"), "the secret goes to login only")


def stopping_in_mid_call(run):
    """SIGTERM: recording is said to stop, we leave, exit 0 within 10 s."""
    run.start()
    call = accepted(run)
    call.roster(person("p1", ALICE))
    run.until("the recording", lambda e: of(e, "recording.started"))
    run.stop()
    run.equal(call.statuses(), ["recording", "notRecording"], "notRecording before leaving")
    run.check(call.deleted_by_us, "our leg is deleted")
    run.archive()


def scopes_of_the_clouds(run):
    """Each cloud has its own Graph; nothing of one is asked of another."""
    for cloud, host in (("global", "graph.microsoft.com"), ("us-gov-l4", "graph.microsoft.us"), ("us-gov-l5", "dod-graph.microsoft.us"), ("china", "microsoftgraph.chinacloudapi.cn")):
        before = len(run.tenant.seen)
        run.configure(cloud=cloud, graph_scope=None)
        run.cli("check")
        forms = [parse_qs(s.raw.decode()) for s in run.tenant.seen[before:] if s.origin == "login"]
        run.check(any(f["scope"] == [f"https://{host}/.default"] for f in forms), f"{cloud}: {[f['scope'] for f in forms]}")
    run.configure(cloud="mars")
    status, _, err = run.cli("check")
    run.check(status in (1, 2) and "cloud" in err, f"no such cloud: {status} {err}")


@settings(certificate=True)
def a_certificate_that_ends_soon(run):
    """`check` warns 30 days ahead: an ended certificate breaks the answers first, at the worst moment."""
    run.equal(run.cli("check")[0], 0, "a good certificate")
    quiet = "".join(run.cli("check")[1:])
    run.file("client.pem", client_certificate(10)[0])
    status, out, err = run.cli("check")
    run.equal(status, 0, f"still works: {out}{err}")
    warned = [line for line in (out + err).splitlines() if line not in quiet and "certificate" in line.lower()]
    run.check(warned, f"warns: {out}{err}")


def fifty_policy_calls_at_once(run):
    run.start()
    calls = [run.service.call(policy=bot_data(), source=(f"{n:08d}-0000-0000-0000-000000000000", f"P{n}")) for n in range(50)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda c: c.incoming(), calls))
    run.equal({a.status for a in answers}, {202}, "all are taken")
    slowest = max(call.until_answered(10) for call in calls)
    run.check(slowest < 5, f"all within 5 s: {slowest:.2f}")
    for call in calls:
        call.end(0, 487, "cancelled")
    run.until("all ends", lambda e: len(of(e, "invitation.failed")) == 50, 40)
    run.stop()
    events, _ = run.archive()
    run.equal(len(of(events, "invitation.received")), 50, "each invitation once")


def a_slow_answer_delays_nobody_else(run):
    run.start()
    slow = run.service.call(policy=bot_data())

    def before(seen):
        if seen.path.endswith("/answer") and slow.id in seen.path:
            reply = run.tenant.at_graph(seen)
            reply.spoil, reply.seconds = "hang", 3
            return reply
        return None

    run.tenant.before = before
    run.check(slow.incoming().seconds < 1, "202 does not wait for the answer")
    quick = run.service.call(policy=bot_data(), source=BOB)
    quick.incoming()
    took = quick.until_answered(5)
    run.check(took < 1.5, f"the other is answered at once: {took:.2f}")
    slow.establish(), quick.establish()
    run.until("both", lambda e: len(of(e, "invitation.accepted")) == 2)
    slow.end(), quick.end()
    run.until("both ends", lambda e: len(of(e, "conversation.ended")) == 2)
    run.stop()
    run.archive()


@settings(keys=ALL)
def bodies_as_the_wire_may_carry_them(run):
    """Chunked, with a character set and a byte order mark, large, on one connection."""
    chat = group(run)
    run.start()
    one = subscribed(run)[0]
    parts = urlsplit(one.body["notificationUrl"])
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    for n, text in enumerate(("chunked", "x" * 200_000, "third")):
        doc = run.tenant.chats.say(chat, ALICE, text)
        raw = json.dumps({"value": [run.service.item(one, chat, doc)], "validationTokens": [run.service.validation_token()]}).encode()
        body = (raw[i:i + 1000] for i in range(0, len(raw), 1000)) if n == 0 else raw
        connection.request("POST", target, body, {"content-type": "Application/JSON; charset=utf-8"}, encode_chunked=n == 0)
        answer = connection.getresponse()
        answer.read()
        run.equal(answer.status, 202, f"body {n}")
    connection.close()
    run.until("all", lambda e: len(texts(e)) == 3)
    done(run)


@settings(keys=ALL)
def the_viewer_shows_hostile_text_harmlessly(run):
    chat = group(run)
    run.start()
    subscribed(run)
    run.tenant.chats.say(chat, ("8a34a46b-3d17-4adc-8dce-dc4e7d572698", "<script>alert('n')</script>"), html="<script>alert('t')</script><img src=x onerror=alert(1)><b>bold</b>")
    run.service.tell(chat, next(iter(chat.messages.values())))
    events = run.until("it", texts)
    page = urllib.request.urlopen(f"http://127.0.0.1:{run.port}/conversations/{events[-1]['conversation']}", timeout=10).read().decode()
    run.check("<script>alert" not in page and "onerror=alert(1)>" not in page.replace("&", ""), "nothing of it is alive")
    run.check("bold" in page, "but the text is there")
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{run.port}/metrics", timeout=10).read().decode()
    run.check("teams" in metrics or "greffier" in metrics, "metrics")
    done(run)


SCENARIOS = (killed_during_500_notifications, stopped_during_300_notifications, killed_between_202_and_the_answer, killed_after_the_answer, killed_again_and_again, wrong_secret, check_says_what_works, check_names_missing_roles,
             a_readable_secret_is_refused, keys_of_the_configuration, tokens_go_where_they_belong, stopping_in_mid_call, scopes_of_the_clouds, a_certificate_that_ends_soon,
             fifty_policy_calls_at_once, a_slow_answer_delays_nobody_else, bodies_as_the_wire_may_carry_them, the_viewer_shows_hostile_text_harmlessly)
