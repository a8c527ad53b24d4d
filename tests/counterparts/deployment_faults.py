"""What networks and servers do: faults on the channel, lost applications, restarts, tickets."""

import time

from deployment import Reply, error
from deployment_chats import ALICE, BOB, ends, noticed, one
from deployment_meetings import FOCUS
from recorder_run import of, settings, texts

HTML = {"Content-Type": "text/html"}


def talk(run, cid="t-1", **more):
    c, _ = run.dep.invite(cid, ALICE, **dict({"text": "zero"}, **more))
    noticed(run.dep)
    run.dep.drained()
    return c


def repeated(run, faults, gaps=0, setup=None):
    """Each fault once, a message before and after it: nothing lost, nothing twice, the same URL asked again."""
    dep = run.start().dep
    c = talk(run)
    said = ["zero"]
    for n, fault in enumerate(faults):
        dep.fault(fault)
        said.append(f"{n}")
        dep.say(c, ALICE[0], said[-1])
        dep.wait("the fault to be met", lambda: not dep.faults)
        dep.drained(40)
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal(texts(mine), said, "texts")
    run.equal(len(of(mine, "capture.gap")), gaps, f"gaps {[e['gap'] for e in of(mine, 'capture.gap')]}")
    run.equal(len(of(mine, "notice.sent")), 1, "one notice")
    asked = [s.target for s in dep.requests("GET", r"events\?.*")]
    return asked


def spoilt(run):
    asked = repeated(run, [lambda b, s=s: Reply(200, body=b, headers={"Content-Type": None}, spoil=s) for s in ("short", "reset", "bom", "chunked")]
                     + [lambda b: Reply(200, body=b"{\"_links\":", headers={"Content-Type": None}), lambda b: Reply(200, body=b"", headers={"Content-Type": None})])
    run.check(len(asked) > len(set(asked)), "the same URL again")


def refused(run):
    repeated(run, [error(500, "ServiceFailure"), Reply(502, body=b"<html>Bad Gateway</html>", headers=HTML), Reply(408, body=b"", headers=HTML),
                   error(429, "TooManyRequests", headers={"Retry-After": "1"}), error(504, "Timeout")])


def retry_after(run):
    dep = run.start().dep
    c = talk(run)
    dep.fault(error(503, "ServiceUnavailable", headers={"Retry-After": "3"}))
    dep.wait("the fault", lambda: not dep.faults)
    begun, polls = time.monotonic(), dep.polls
    dep.wait("the next poll", lambda: dep.polls > polls)
    run.check(time.monotonic() - begun > 2.5, f"Retry-After is honoured, not {time.monotonic() - begun:.1f} s")
    events, rows = ends(run, c)
    run.equal(len(of(events, "capture.gap")), 0, "no gap for three seconds")


def tickets(run):
    """401 at any time, 500 with 28032, expired tickets."""
    bad = {"X-Ms-diagnostics": '28032;source="fe1";reason="The web ticket is invalid.'}
    dep = run.start().dep
    c = talk(run)
    asked = dep.tokens_asked
    dep.fault(error(500, "ServiceFailure", headers=bad))
    dep.say(c, ALICE[0], "one")
    dep.wait("the fault", lambda: not dep.faults)
    dep.drained()
    run.check(dep.tokens_asked > asked, "28032 takes a new ticket")
    dep.revoke()
    dep.say(c, ALICE[0], "two")
    dep.drained()
    dep.say(c, ALICE[0], "three")
    dep.revoke()
    dep.drained()
    events, rows = ends(run, c)
    run.equal((texts(events), of(events, "capture.gap")), (["zero", "one", "two", "three"], []), "nothing lost, no gap")


@settings(expires=12)
def renewal(run):
    """Tickets of twelve seconds: renewed before their end, twice, without a gap."""
    dep = run.start().dep
    c = talk(run)
    asked = dep.tokens_asked
    dep.wait("two renewals", lambda: dep.tokens_asked >= asked + 2, 40)
    dep.say(c, ALICE[0], "one")
    dep.drained()
    events, rows = ends(run, c)
    run.equal((texts(events), of(events, "capture.gap"), rows[0]["coverage"]), (["zero", "one"], [], "complete"), "nothing lost, no gap")
    run.check(dep.tokens_asked < 14, f"not more tickets than needed: {dep.tokens_asked}")


def repeat_with_more(run):
    """A broken answer is given again with one more event appended, as the documents leave open."""
    dep = run.start().dep
    c = talk(run)

    def cut(body):
        dep.number -= 1
        dep.batch = None
        dep.pending = kept + dep.pending
        return Reply(200, body=body, headers={"Content-Type": None}, spoil="short")

    dep.fault(cut)
    with dep.cv:
        dep.say(c, ALICE[0], "one")
        kept = list(dep.pending)
    dep.wait("the fault", lambda: not dep.faults)
    dep.say(c, ALICE[0], "two")
    dep.drained()
    # the same batch once more, whole, although it was read: the answer's connection broke after its last byte
    events, rows = ends(run, c)
    run.equal((texts(events), of(events, "capture.gap")), (["zero", "one", "two"], []), "each once, no gap")


def lost(run):
    """404 on events and on the application: created again under the same id with acks from 1; the meeting is rejoined."""
    dep = run.start().dep
    c = talk(run, text=None, meeting=FOCUS, subject="Long")
    dep.say(c, ALICE[0], "before")
    dep.drained()
    thread, made = c.thread, dep.apps_made
    dep.join_hook = lambda seen, body: dep.rejoined(body, "t-2", thread, FOCUS, "Long", [ALICE]) if body.get("onlineMeetingUri") == FOCUS else error(404, "NotFound", "DestinationNotFound")
    dep.lose_application()
    dep.wait("created again", lambda: dep.apps_made > made)
    d = dep.wait("rejoined", lambda: dep.conversations.get("t-2"))
    dep.wait("messaging again", lambda: d.messaging == "Connected")
    dep.say(d, ALICE[0], "after")
    dep.drained()
    events, rows = ends(run, d)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["before", "after"], "texts")
    run.equal((len(of(mine, "conversation.started")), len(of(mine, "conversation.ended")), len(of(mine, "invitation.received"))), (1, 1, 1), "the same conversation")
    run.check(len(of(mine, "capture.gap")) >= 1 and rows[0]["coverage"] == "incomplete", "a gap, incomplete")
    run.equal([e for e in of(events, "capture.gap") if "conversation" not in e], [], "gaps are per conversation")


def lost_gone(run):
    """410, and the meeting is over when the recorder comes back; a two-party talk cannot be rejoined."""
    dep = run.start().dep
    c = talk(run, text=None, meeting=FOCUS)
    dep.invite("t-9", BOB, text="two-party")
    noticed(dep, 2)
    dep.drained()
    with dep.cv:
        dep.fault(error(410, "Gone", "InactiveApplicationExpired"))
        dep.app_alive = False
    dep.wait("created again", lambda: dep.apps_made > 1)
    dep.wait_request("POST", "communication/onlineMeetingInvitations")
    dep.drained()
    run.stop()
    events, rows = run.archive()
    run.equal(len({e["conversation"] for e in of(events, "capture.gap")}), 2, "a gap in each open conversation")
    run.equal({r["state"] for r in rows}, {"ended"}, "both have ended")


def events_only(run):
    """404 ApplicationNotFound on the channel although the application lives: it is asked first, and not made anew."""
    dep = run.start().dep
    c = talk(run)
    before = len(dep.requests("GET", "application"))
    dep.fault(error(404, "NotFound", "ApplicationNotFound"))
    dep.wait_request("GET", "application", before + 1)
    dep.say(c, ALICE[0], "one")
    dep.drained()
    events, rows = ends(run, c)
    run.equal((texts(events), dep.apps_made), (["zero", "one"], 1), "goes on")


def resync(run):
    dep = run.start().dep
    c = talk(run)
    with dep.cv:
        dep.fault(Reply(200, {"_links": {"self": {"href": "/x"}, "resync": {"href": dep.events_href(dep.number + 1)}}}))
    dep.wait("the fault", lambda: not dep.faults)
    dep.say(c, ALICE[0], "one")
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["zero", "one"], "goes on")
    run.check(len(of(mine, "capture.gap")) == 1 and "resync" in of(mine, "capture.gap")[0]["gap"]["cause"].lower(), f"a gap with its cause {of(mine, 'capture.gap')}")


def resume(run):
    """After long silence the server closed everything: gap, meeting rejoined."""
    dep = run.start().dep
    c = talk(run, text=None, meeting=FOCUS)
    thread = c.thread
    dep.join_hook = lambda seen, body: dep.rejoined(body, "t-2", thread, FOCUS, "", [ALICE])
    with dep.cv:
        c.gone = True
        dep.fault(Reply(200, {"_links": {"self": {"href": "/x"}, "resume": {"href": dep.events_href(dep.number + 1)}}}))
    d = dep.wait("rejoined", lambda: dep.conversations.get("t-2"))
    dep.wait("messaging again", lambda: d.messaging == "Connected")
    dep.say(d, ALICE[0], "after")
    dep.drained()
    events, rows = ends(run, d)
    mine = one(run, events, rows)
    run.check(len(of(mine, "capture.gap")) >= 1 and texts(mine) == ["after"], f"gap, then on {texts(mine)} {of(mine, 'capture.gap')}")
    run.equal((len(of(mine, "conversation.started")), len(of(mine, "conversation.ended"))), (1, 1), "the same conversation")


def replaced(run):
    """A second poller takes over: told, not fought."""
    dep = run.start().dep
    talk(run)
    dep.fault(error(409, "Conflict", "PGetReplaced"))
    dep.wait("the fault", lambda: not dep.faults)
    dep.fault(error(409, "Conflict", "PGetReplaced"))
    dep.wait("the fault", lambda: not dep.faults)
    polls, begun = dep.polls, time.monotonic()
    while time.monotonic() - begun < 3:
        time.sleep(0.1)
    run.check(dep.polls - polls <= 2, f"not fought: {dep.polls - polls} polls in three seconds")
    run.check(any(w in run.log().lower() for w in ("replaced", "another", "second")), "an alarm in the log")
    run.check(run.healthy(), "serve stays up")
    run.stop()


def forbidden(run):
    """403 on the channel: discovered again."""
    dep = run.start().dep
    c = talk(run)
    found = len(dep.requests(place="discovery"))
    dep.fault(error(403, "Forbidden"))
    dep.wait("discovered again", lambda: len(dep.requests(place="discovery")) > found)
    run.check(run.healthy(), "serve stays up")
    run.stop()
    run.archive()


def outage(run):
    """The channel is out for over fifteen seconds: a gap."""
    dep = run.start().dep
    c = talk(run)
    dep.down_until = time.monotonic() + 15.5
    dep.fault(Reply(200, body=b"", spoil="reset"))
    dep.say(c, ALICE[0], "after")
    dep.drained(60)
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal((texts(mine), len(of(mine, "capture.gap"))), (["zero", "after"], 1), "one gap")


def killed(run):
    """kill -9 at the moment the poll for the next batch arrives: the batch is durable. Restart: same application, stored link."""
    dep = run.start().dep
    c = talk(run)
    for n in range(4):
        made = dep.apps_made
        dep.say(c, ALICE[0], f"durable {n}")
        dep.drained()
        run.kill()
        said = [e["message"]["text"] for e in run.events() if e["kind"] == "message.sent"]
        run.check(len(said) >= n + 1, f"at least what came before is there {said}")
        dep.say(c, ALICE[0], f"meanwhile {n}")
        begun = time.monotonic()
        run.start()
        run.check(time.monotonic() - begun < 5, f"polls again in {time.monotonic() - begun:.1f} s")
        run.equal(dep.apps_made, made, "the same application")
        dep.say(c, ALICE[0], f"again {n}")
        dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["zero"] + [w for n in range(4) for w in (f"durable {n}", f"meanwhile {n}", f"again {n}")], "every text once, in order")
    run.check(len(of(mine, "capture.gap")) >= 1 and rows[0]["coverage"] == "incomplete", f"process down is a gap {of(mine, 'capture.gap')}")
    run.equal((len(of(mine, "notice.sent")), len(noticed(dep))), (1, 1), "the notice is not repeated")
    run.equal((len(of(mine, "conversation.started")), len(of(mine, "participant.joined"))), (1, 1), "started and joined once")


def killed_lost(run):
    """Killed, and the application is gone at the restart: made anew, the meeting rejoined, the two-party talk ended."""
    dep = run.start().dep
    c = talk(run, text=None, meeting=FOCUS)
    thread = c.thread
    run.kill()
    dep.app_alive = False
    dep.join_hook = lambda seen, body: dep.rejoined(body, "t-2", thread, FOCUS, "", [ALICE])
    run.start()
    d = dep.wait("rejoined", lambda: dep.conversations.get("t-2"))
    dep.wait("messaging again", lambda: d.messaging == "Connected")
    dep.say(d, ALICE[0], "after")
    dep.drained()
    events, rows = ends(run, d)
    mine = one(run, events, rows)
    run.equal((texts(mine), len(of(mine, "conversation.started"))), (["after"], 1), "the same conversation")
    run.check(of(mine, "capture.gap"), "a gap")


def stopped(run):
    """SIGTERM in the middle: messaging stopped or conversation left, channel drained, application deleted."""
    dep = run.start().dep
    c = talk(run, text=None, meeting=FOCUS)
    dep.invite("t-2", BOB, text="hello")
    noticed(dep, 2)
    dep.drained()
    run.stop()
    left = dep.requests("DELETE")
    run.equal(sorted(s.name for s in left), ["application", "communication/conversations/t-1", "communication/conversations/t-2"], "DELETEs")
    run.equal(left and left[-1].name, "application", "the application last")
    order = [s for s in dep.seen if s.name and (s.name.startswith("events") or s.method == "DELETE")]
    run.check(any(s.method == "GET" for s in order[order.index(left[1]):]), "the channel is drained before")
    events, rows = run.archive()
    run.equal(({r["state"] for r in rows}, len(of(events, "conversation.ended")), of(events, "capture.gap")), ({"ended"}, 2, []), "ended, no gap")
    begun = time.monotonic()
    run.start()
    run.check(time.monotonic() - begun < 5, "starts again")
    run.equal(dep.apps_made, 2, "a new application after a clean stop")
    run.stop()
    events, rows = run.archive()
    run.equal((len(of(events, "capture.gap")), len(rows)), (0, 2), "a clean stop leaves no gap")


SCENARIOS = (outage, renewal, killed, spoilt, refused, retry_after, tickets, repeat_with_more, lost, lost_gone, events_only, resync, resume, replaced, forbidden,
             killed_lost, stopped)
