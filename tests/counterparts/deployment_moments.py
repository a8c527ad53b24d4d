"""The recorder killed at the worst moments; slow, closing and encrypted servers."""

import random
import threading
import time

from deployment import Reply
from deployment_chats import ALICE, BOB, chat, ends, noticed, one
from deployment_faults import talk
from deployment_meetings import FOCUS, meeting
from recorder_run import of, settings, texts

RESET = Reply(200, spoil="reset")


def kill_at(run, method, ending, carried_out=False):
    """Kills the recorder when the request arrives; it is carried out, or never reaches the pool."""
    dep, done = run.dep, []

    def before(seen):
        if seen.method == method and seen.name.endswith(ending) and not done:
            done.append(seen)
            if carried_out:
                with dep.cv:
                    dep.dispatch(seen, seen.name)
            run.kill()
            return RESET
        return None

    dep.before = before
    return done


def worst_moment(run, method, ending, carried_out, notice_seconds=20):
    dep = run.start().dep
    done = kill_at(run, method, ending, carried_out)
    c, _ = dep.invite("k-1", ALICE, meeting=FOCUS)
    dep.wait("the moment", lambda: done and run.process.poll() is not None)
    run.start()
    dep.wait("messaging", lambda: c.messaging == "Connected")
    dep.wait("the notice", lambda: c.messages, notice_seconds)
    dep.say(c, ALICE[0], "after all")
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["after all"], "text")
    run.equal([len(of(mine, k)) for k in ("invitation.received", "invitation.accepted", "conversation.started", "recording.started", "notice.sent", "conversation.ended")],
              [1] * 6, "each fact once")
    run.equal(dep.apps_made, 1, "the same application")


def killed_at_accept(run):
    worst_moment(run, "POST", "/accept", False)


def killed_after_accept(run):
    worst_moment(run, "POST", "/accept", True)


def killed_at_add_messaging(run):
    worst_moment(run, "POST", "?conversation=k-1", False)


def killed_after_add_messaging(run):
    worst_moment(run, "POST", "?conversation=k-1", True)


def killed_at_notice(run):
    worst_moment(run, "POST", "/messaging/messages", False, 40)


def killed_after_notice(run):
    worst_moment(run, "POST", "/messaging/messages", True)


def killed_at_random(run):
    """Somebody talks without pause while the recorder is killed again and again: every text exactly once, in order."""
    dep = run.start().dep
    c = talk(run)
    said, stop = ["zero"], threading.Event()

    def speak():
        while not stop.wait(0.004):
            said.append(f"text {len(said)}")
            dep.say(c, ALICE[0], said[-1])

    speaker = threading.Thread(target=speak)
    speaker.start()
    chance = random.Random(7)
    for _ in range(8):
        stop.wait(chance.uniform(0.02, 0.35))
        run.kill()
        polls = dep.polls
        run.start(ready=False)
        dep.wait("polling", lambda: dep.polls > polls)
    stop.set()
    speaker.join()
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.check(texts(mine) == said, f"{len(said)} texts said, {len(texts(mine))} recorded, {len(set(said) - set(texts(mine)))} lost")
    run.equal(dep.apps_made, 1, "one application")


def slow(run):
    """One lookup and one accept take long; the channel and other talks go on meanwhile."""
    dep = run.start().dep
    gate = threading.Event()

    def before(seen):
        if seen.name.endswith("s-1/participants/" + ALICE[0]) or seen.name.endswith("/participants/slow"):
            gate.wait(30)
        return None

    dep.before = before
    a, _ = dep.invite("s-1", ALICE, text="slow one")
    noticed(dep)
    dep.say(a, ALICE[0], "waits for its sender")
    b, _ = dep.invite("s-2", BOB, text="quick one")
    noticed(dep, 2)
    dep.say(b, BOB[0], "passes")
    dep.drained()
    run.until("the quick talk", lambda e: "passes" in texts(e))
    gate.set()
    run.until("the slow talk", lambda e: "waits for its sender" in texts(e))
    events, rows = ends(run, a, b)
    run.equal(sorted(texts(events)), sorted(["slow one", "waits for its sender", "quick one", "passes"]), "texts")
    run.equal(of(events, "capture.gap"), [], "no gap")


def ticket_mid_flight(run):
    """Tickets end just before the accept, the addMessaging and the notice."""
    dep = run.start().dep
    seen_names = set()

    def before(seen):
        for ending in ("/accept", "?conversation=v-1", "/messaging/messages"):
            if seen.method == "POST" and seen.name.endswith(ending) and ending not in seen_names:
                seen_names.add(ending)
                dep.revoke()
                return dep.challenge("pool")
        return None

    dep.before = before
    c, _ = dep.invite("v-1", ALICE, meeting=FOCUS)
    dep.wait("the notice", lambda: c.messages)
    dep.say(c, ALICE[0], "still")
    dep.drained()
    events, rows = ends(run, c)
    run.equal((texts(events), len(of(events, "notice.sent")), of(events, "capture.gap")), (["still"], 1, []), "recorded, noticed once, no gap")
    adds = [s.body for s in dep.requests("POST", r".*\?conversation=v-1")]
    run.equal((len(adds), len(set(adds))), (2, 1), "the same body again")


def closing(run):
    """A server that closes every connection, without lengths, as an old proxy does."""
    dep = run.dep
    original = dep.handle

    def handle(seen):
        reply = original(seen)
        reply.spoil = reply.spoil or "close"
        return reply

    dep.handle = handle
    meeting(run)


def http_redirect(run):
    """An HTTP redirect carries nothing along and is not followed on the channel."""
    dep = run.start().dep
    c = talk(run)
    dep.fault(Reply(302, body=b"", headers={"Location": dep.url["stranger"] + "/events?ack=1", "Content-Type": "text/html"}))
    dep.wait("the fault", lambda: not dep.faults)
    dep.say(c, ALICE[0], "one")
    dep.drained()
    events, rows = ends(run, c)
    run.equal(texts(events), ["zero", "one"], "goes on")
    run.equal([str(s) for s in dep.requests(origin="stranger") if "Authorization" in s.headers or "cwt" in s.target], [], "no ticket for the stranger")


@settings(tls=True, style="absolute")
def tls(run):
    """The same over TLS under a private authority."""
    chat(run)


@settings(trusted=(), pool="127.0.0.1")
def other_port(run):
    """The pool on the configured autodiscover host, other port: trusted without being listed, a ticket of its own."""
    chat(run)
    run.equal(sorted({s.origin for s in run.dep.requests("POST", "token")}), ["discovery", "pool"], "a ticket per origin")


@settings(keys={"leave_after_seconds": 2})
def left_alone_two_party(run):
    """The other one's participant is deleted, the conversation stays: we leave after the time."""
    dep = run.start().dep
    c = talk(run)
    dep.emit(dep.left(c, ALICE[0]))
    dep.wait_request("DELETE", r"communication/conversations/t-1", seconds=15)
    dep.drained()
    run.stop()
    events, rows = run.archive()
    run.equal((rows[0]["state"], len(of(events, "capture.gap"))), ("ended", 0), "ended, no gap")


@settings(keys={"leave_after_seconds": 3})
def not_left_alone(run):
    """Somebody comes back in time, another waits in the lobby only: the clock starts anew, then runs out."""
    dep = run.start().dep
    c, _ = dep.invite("na-1", ALICE, meeting=FOCUS)
    noticed(dep)
    dep.emit(dep.left(c, ALICE[0]))
    dep.drained()
    begun = time.monotonic()
    while time.monotonic() - begun < 1.5:
        time.sleep(0.1)
    dep.people_in(c, BOB)
    dep.emit(dep.joined(c, BOB[0], "Bob"))
    dep.drained()
    begun = time.monotonic()
    while time.monotonic() - begun < 3.5:
        time.sleep(0.1)
    run.equal(dep.requests("DELETE"), [], "does not leave Bob")
    dep.emit(dep.left(c, BOB[0]))
    dep.wait_request("DELETE", r"communication/conversations/na-1", seconds=15)
    dep.drained()
    run.stop()
    run.archive()


SCENARIOS = (killed_at_notice, killed_at_random, slow, killed_at_accept, killed_after_accept, killed_at_add_messaging, killed_after_add_messaging, killed_after_notice,
             ticket_mid_flight, closing, http_redirect, tls, other_port, left_alone_two_party, not_left_alone)
