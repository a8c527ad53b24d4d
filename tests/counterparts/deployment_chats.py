"""Two-party conversations: invitations, texts, notices, ends."""

import base64
import time

from deployment import Reply, data_uri, error
from recorder_run import NOTICE, of, settings, texts

ALICE, BOB, MALLORY = ("Alice@Contoso.example", "Alice Ünal"), ("bob@contoso.example", "Bob"), ("mallory@evil.example", "Mallory")


def noticed(dep, count=1, seconds=20):
    return dep.wait_requests("POST", r".*/messaging/messages", count, seconds)


def ends(run, *conversations):
    for c in conversations:
        run.dep.end(c, reason={"code": "RemoteFailure", "subcode": "Ended", "message": "over"})
    run.dep.drained()
    run.stop()
    return run.archive()


def one(run, events, rows):
    run.equal(len(rows), 1, "one conversation")
    return [e for e in events if e.get("conversation") == rows[0]["id"]]


def chat(run):
    """A whole two-party talk; the first text comes in the invitation and again as a message."""
    dep = run.start().dep
    c, i = dep.invite("45c7e378-32fe-4709-b5ba-e5f913325f3e", ALICE, text="Hi there", subject="Lunch")
    first = noticed(dep)[0]
    run.equal(first.body.decode("utf-8"), NOTICE, "notice text")
    run.check(first.headers["Content-Type"].startswith("text/plain"), "notice is text/plain")
    run.check("operationId=" in first.target, "notice has an operationId")
    accept = dep.wait_requests("POST", r".*/accept")
    run.equal((len(accept), accept[0].body, accept[0].headers.get("Content-Length")), (1, b"", "0"), "accept: once, empty, with a length")
    dep.say(c, ALICE[0], "Hi there\r\n", title="")
    dep.say(c, ALICE[0], "second", stamp=1521638897041, title=None)
    dep.emit(dep.view(c, ALICE[0], "typingParticipants", "added"), dep.view(c, ALICE[0], "typingParticipants", "deleted"))
    third = dep.say(c, ALICE[0], "third", embed=False)
    dep.wait_request("GET", third)
    dep.say(c, ALICE[0], "urgent", importance="Urgent")
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["Hi there", "second", "third", "urgent"], "texts once and in order")
    sent = of(mine, "message.sent")
    run.check(all(e["actor"] == {"id": "sip:alice@contoso.example", "name": "Alice Ünal"} for e in sent), f"actor of messages {[e.get('actor') for e in sent]}")
    run.equal(sent[1].get("source_time"), "2018-03-21T13:28:17.041Z", "source_time = timeStamp")
    run.equal([e["kind"] for e in of(mine, "invitation.received", "invitation.accepted", "conversation.started", "recording.started", "notice.sent",
                                     "participant.joined", "recording.stopped", "conversation.ended")].count("conversation.started"), 1, "started once")
    for kind in ("invitation.received", "invitation.accepted", "recording.started", "notice.sent", "conversation.ended", "participant.joined"):
        run.equal(len(of(mine, kind)), 1, kind)
    received = of(mine, "invitation.received")[0]
    run.equal(received["actor"]["id"], "sip:alice@contoso.example", "inviter")
    run.equal(received.get("detail", {}).get("modality"), "messaging", "detail.modality")
    run.equal(received.get("subject"), "Lunch", "subject of the invitation")
    run.equal(of(mine, "notice.sent")[0]["message"]["text"], NOTICE, "text of notice.sent")
    ended = of(mine, "conversation.ended")[0]
    run.equal(ended.get("reason"), {"code": "RemoteFailure", "subcode": "Ended", "message": "over"}, "reason of the end")
    run.equal(of(mine, "capture.gap"), [], "no gap")
    run.check(len(of(mine, "platform.event")) >= 2 and not of(mine, "participant.left"), "typing is platform.event, no join or leave")
    row = rows[0]
    run.equal((row["subject"], row["state"], row["coverage"], row["connector"], row["platform"]), ("Lunch", "ended", "complete", "sfb", "ucwa"), "row of list")
    run.check(row.get("started_at") and row.get("ended_at"), f"times of list {row}")
    run.equal(row["participants"], [{"id": "sip:alice@contoso.example", "name": "Alice Ünal"}], "participants of list")


def first_text(run):
    """Not repeated; repeated and said again later; invitation that fails; base64; link-only invitation."""
    dep = run.start().dep
    a, _ = dep.invite("a-1", ALICE, text="not repeated")
    noticed(dep, 1)
    b, _ = dep.invite("b-2", BOB, text="again")
    noticed(dep, 2)
    for _ in range(3):
        dep.say(b, BOB[0], "again\r\n")
    dep.drained()
    dep.accept_hook = lambda i: error(404, "NotFound")
    c, i = dep.invite("c-3", ALICE, text="never mind")
    dep.wait_request("POST", r".*/accept", 3)
    dep.emit(dep.completed(i, "Failure", "Failed", {"code": "RemoteFailure", "subcode": "Canceled", "message": "gone"}))
    dep.end(c, deleted_only=True)
    dep.drained()
    dep.accept_hook = None
    d, _ = dep.invite("d-4", BOB, embed=False, message=data_uri("Über>>?? ~ +", base64_=True), **{"from": "link"})
    noticed(dep, 3)
    dep.say(d, BOB[0], "Über>>?? ~ +")
    dep.drained()
    events, rows = ends(run, a, b, d)
    by = {}
    for e in events:
        by.setdefault(e.get("conversation"), []).append(e)
    run.equal(sorted(texts(v) for v in by.values() if texts(v)), sorted([["not repeated"], ["again"] * 3, ["never mind"], ["Über>>?? ~ +"]]), "first texts")
    failed = of(events, "invitation.failed")
    run.equal(len(failed), 1, "invitation.failed")
    run.equal(failed and failed[0].get("reason", {}).get("subcode"), "Canceled", "reason of the failure")
    run.equal(len(of(events, "invitation.received")), 4, "all invitations are received")
    run.equal(len(of(events, "invitation.accepted")), 3, "accepted ones")
    run.equal(of(events, "capture.gap"), [], "no gap")
    never = next(v for v in by.values() if texts(v) == ["never mind"])
    run.equal(of(never, "conversation.started", "recording.started"), [], "a failed invitation starts nothing")


def stranger(run):
    """Declined by policy: the fact is an event, the words are not."""
    dep = run.start().dep
    c, i = dep.invite("s-1", MALLORY, text="hidden-words-of-mallory", subject="Hi")
    dep.wait_request("POST", r".*/decline")
    m, _ = dep.invite("s-2", MALLORY, meeting="sip:mallory@evil.example;gruu;opaque=app:conf:focus:id:X")
    dep.wait_request("POST", r".*/decline", 2)
    for rel in ("audioVideoInvitation", "phoneAudioInvitation"):
        v, j = dep.invite("av-" + rel, BOB, rel=rel)
        dep.drained()
        if j["state"] == "Connecting":
            dep.emit(dep.completed(j, "Failure", "Failed", {"code": "RemoteFailure", "subcode": "Missed"}))
            dep.end(v, deleted_only=True)
        dep.drained()
    run.stop()
    run.equal([s.target for s in dep.requests("POST", r".*/accept")], [], "nothing accepted")
    events, rows = run.archive()
    run.equal(len(of(events, "invitation.received")), 4, "invitation.received whatever the policy")
    declined = of(events, "invitation.declined")
    run.check(len(declined) >= 2 and all("reason" in e or "detail" in e for e in declined), f"declined with the reason {declined}")
    run.equal(len(of(events, "invitation.declined", "invitation.failed")), 4, "each ends once")
    run.equal({(e.get("detail") or {}).get("modality") for e in of(events, "invitation.received")} >= {"messaging", "meeting"}, True, "modalities")
    status, out, _ = run.cli("export", "--since", "1970-01-01T00:00:00Z", "--format", "jsonl", "--output", "-")
    shown = out + "".join(run.cli("show", r["id"])[1] + run.cli("show", r["id"], "--json")[1] for r in rows) + run.cli("list", "--json")[1] + run.log()
    run.check("hidden-words" not in shown and "aGlkZGVu" not in shown, "the stranger's words are in no event, transcript or log")
    run.equal(of(events, "message.sent", "conversation.started", "recording.started", "capture.gap"), [], "nothing recorded, no gap")


EXACT = [
    ("plain line\r\n", "plain line"), ("two\r\n\r\n", "two\n"), ("inner\r\nline\r\n", "inner\nline"), ("  leading", "  leading"), ("trailing  \r\n", "trailing  "),
    ("\u200fمرحبا\u200e (abc) \u202b\u202c", "\u200fمرحبا\u200e (abc) \u202b\u202c"), ("1+1=2 & 50%25 %2b,;x", "1+1=2 & 50%25 %2b,;x"), ("👩‍👩‍👧 𝔘", "👩‍👩‍👧 𝔘"), ("\ttab\u00a0", "\ttab\u00a0"),
    ("last\n", "last"), ("x" * 50_000 + "é" * 25_000, "x" * 50_000 + "é" * 25_000),
]


@settings(style="opaque")
def exact(run):
    """Message texts to the character, in every encoding the samples show."""
    dep = run.start().dep
    c, _ = dep.invite("x-1", ALICE)
    noticed(dep)
    wanted = []
    for text, result in EXACT:
        dep.say(c, ALICE[0], text)
        dep.say(c, ALICE[0], plain=data_uri(text, base64_=True))
        wanted += [result, result]
    for uri, result in (("data:text/plain;charset=iso-8859-1,Gr%fc%dfe+%2B+1", "Grüße + 1"), ("data:text/plain;charset=utf8,a%2bb+c%252b", "a+b c%2b"),
                        ("data:text/plain;charset=\"UTF-8\",q", "q"), ("data:,bare+text", "bare text"), ("data:text/plain;charset=utf-8;base64,Pj4%2bPz8/", ">>>???"),
                        ("data:text/plain;charset=utf-8;base64,YWI", "ab"), ("data : text/plain;charset=utf-8,blanks", "blanks"),
                        ("data:TEXT/PLAIN;Charset=Windows-1252;BASE64," + base64.b64encode("€ “q”".encode("cp1252")).decode(), "€ “q”"),
                        ("data:text/plain;charset=utf-8,comma,in+text%2c", "comma,in text,")):
        dep.say(c, ALICE[0], plain=uri)
        wanted.append(result)
    dep.drained()
    dep.say(c, ALICE[0], html="<span style=\"margin:0\"><b>Bold</b> &amp; &lt;plain&gt;<script>alert(1)</script></span>")
    dep.say(c, ALICE[0], "both parts", html="<i onclick=x()>both</i> parts")
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    got = texts(mine)
    run.equal(len(got), len(wanted) + 2, "number of messages")
    for g, w in zip(got, wanted):
        run.check(g == w, f"text {g[:80]!r}, wanted {w[:80]!r}")
    html = of(mine, "message.sent")[-2:]
    run.equal(html[0]["message"]["text"], "Bold & <plain>", "text of an HTML message")
    run.check("Bold" in html[0]["message"].get("html", "") and "script" not in html[0]["message"]["html"], f"html {html[0]['message']}")
    run.equal(html[1]["message"]["text"], "both parts", "text where both were sent")
    run.check("onclick" not in html[1]["message"].get("html", "onclick"), f"html is sanitised {html[1]['message']}")
    run.check(all("html" not in e["message"] for e in of(mine, "message.sent")[:-2]), "no html where none was sent")
    asked = dep.requests("POST", "me/makeMeAvailable")[0].body.decode()
    run.check("Html" in asked and "Plain" in asked, f"asks for Html {asked}")


def ended_forms(run):
    """Deleted without Disconnected; Disconnected without deleted; Disconnected first seen; our own participant deleted."""
    dep = run.start().dep
    made = [dep.invite(f"e-{n}", ALICE if n % 2 else BOB)[0] for n in range(4)]
    noticed(dep, 4)
    dep.end(made[0], deleted_only=True)
    made[1].state = made[1].messaging = "Disconnected"
    dep.emit(dep.conversation_event(made[1], reason={"code": "LocalFailure", "subcode": "Ended"}))
    dep.end(made[2])
    dep.emit(dep.event(made[3], "localParticipant", f"communication/conversations/e-3/participants/{dep.user}", "deleted"))
    dep.end(made[3])
    dep.drained()
    run.stop()
    events, rows = run.archive()
    run.equal(len(of(events, "conversation.ended")), 4, "each conversation ends once")
    run.equal({r["state"] for r in rows}, {"ended"}, "states")
    run.equal(of(events, "capture.gap"), [], "no gap for an ordinary end")
    run.equal({r["coverage"] for r in rows}, {"complete"}, "coverage")


def idle(run):
    """An idle session is dropped; the next message is a new invitation with the same thread: one conversation."""
    dep = run.start().dep
    thread = "Ac7bUftwUcVMzgTzRl+OQchCsUn35Q=="
    a, _ = dep.invite("i-1", ALICE, thread=thread, text="before", subject="Talk")
    noticed(dep)
    dep.end(a)
    dep.drained()
    b, _ = dep.invite("i-2", ALICE, thread=thread, text="after", subject="Talk")
    dep.wait_request("POST", r".*/accept", 2)
    dep.wait("connected", lambda: b.messaging == "Connected")
    dep.say(b, ALICE[0], "after\r\n")
    dep.say(b, ALICE[0], "later")
    dep.drained()
    run.until("the last text", lambda events: "later" in texts(events))
    run.equal(run.list()[0]["state"], "live", "live again")
    events, rows = ends(run, b)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["before", "after", "later"], "texts")
    run.equal(len(of(mine, "conversation.started")), 1, "conversation.started once")
    run.equal(len(of(mine, "notice.sent")), 1, "notice once per conversation")
    run.equal(of(mine, "capture.gap"), [], "no gap")
    run.equal(len(of(mine, "recording.started")), 2, "recording.started again")


def notices(run):
    """Undelivered on failure, with the text; confirmation late; a refused send."""
    dep = run.dep

    def fail(seen, c, operation):
        name = dep.next_message(c)
        if c.cid == "n-1":
            dep.emit(dep.sent_message(c, name, operation, status="Failure", reason={"code": "RemoteFailure", "subcode": "DestinationNotFound"}))
        elif c.cid == "n-2":
            return error(403, "Forbidden")
        else:
            return None
        return Reply(201, headers={"Location": dep.href(name)})

    dep.send_hook = fail
    run.start()
    a, _ = dep.invite("n-1", ALICE)
    noticed(dep, 1)
    b, _ = dep.invite("n-2", BOB)
    noticed(dep, 2)
    dep.drained()
    dep.send_hook = lambda *_: Reply(503, body=b"", headers={"Content-Type": "text/html"}, spoil="reset" if len(noticed(dep)) == 3 else None)
    e, _ = dep.invite("n-4", BOB)
    noticed(dep, 3)
    dep.drained()
    dep.send_hook = None
    c, _ = dep.invite("n-3", BOB)
    noticed(dep, 4)
    dep.say(c, BOB[0], "fine")
    dep.drained()
    noticed(dep, 5, 40)  # the one of unknown fate again
    dep.drained()
    bodies = [s.target for s in noticed(dep) if "/n-4/" in s.target]
    run.equal((len(bodies), len(set(bodies))), (2, 1), "sent again under the same operationId")
    events, rows = ends(run, a, b, c, e)
    failed = of(events, "message.undelivered")
    run.check(len(failed) >= 1 and failed[0]["message"]["text"] == NOTICE, f"message.undelivered with the text {failed}")
    run.equal(len({e["conversation"] for e in failed}), 2, "both failures are undelivered")
    run.equal(len(of(events, "notice.sent")), 2, "notice.sent only when confirmed")
    run.equal(texts(events), ["fine"], "the notice is no message.sent")


@settings(notice="")
def no_notice(run):
    dep = run.start().dep
    c, _ = dep.invite("q-1", ALICE, text="quiet")
    dep.wait("connected", lambda: c.messaging == "Connected")
    dep.say(c, ALICE[0], "please")
    dep.drained()
    events, rows = ends(run, c)
    run.equal(dep.requests("POST", r".*/messaging/messages"), [], "says nothing")
    run.equal((texts(events), of(events, "notice.sent")), (["quiet", "please"], []), "records all the same")


@settings(style="absolute")
def auto_accepted(run):
    """The server accepts by itself; a conversation becomes Connected without an accept of ours."""
    dep = run.start().dep
    dep.accept_hook = lambda i: error(409, "Conflict", "AnotherOperationPending")
    c, i = dep.invite("au-1", ALICE, text="auto")
    dep.enter(i)
    noticed(dep)
    dep.say(c, ALICE[0], "auto\r\n")
    dep.say(c, ALICE[0], "more")
    dep.drained()
    events, rows = ends(run, c)
    mine = one(run, events, rows)
    run.equal(texts(mine), ["auto", "more"], "texts")
    run.equal((len(of(mine, "invitation.accepted")), len(of(mine, "invitation.failed", "invitation.declined"))), (1, 0), "accepted")


def many(run):
    """Thirty talks at once, messages interleaved."""
    dep = run.start().dep
    people = [(f"user{n}@contoso.example", f"User {n}") for n in range(30)]
    made = [dep.invite(f"m-{n}", people[n], text=f"first {n}")[0] for n in range(30)]
    noticed(dep, 30)
    for k in range(5):
        for n, c in enumerate(made):
            dep.say(c, people[n][0], f"{n}.{k}")
    dep.drained()
    events, rows = ends(run, *made)
    run.equal(len(rows), 30, "conversations")
    by = {}
    for e in events:
        by.setdefault(e.get("conversation"), []).append(e)
    run.equal(sorted(texts(v) for v in by.values() if texts(v)), sorted([f"first {n}"] + [f"{n}.{k}" for k in range(5)] for n in range(30)), "texts of each")
    run.equal(of(events, "capture.gap"), [], "no gap")


@settings(keys={"leave_after_seconds": 2})
def leaves_when_alone(run):
    dep = run.start().dep
    c, _ = dep.invite("l-1", ALICE, meeting="sip:alice@contoso.example;gruu;opaque=app:conf:focus:id:L1")
    noticed(dep)
    dep.emit(dep.left(c, ALICE[0]))
    begun = time.monotonic()
    dep.wait_request("DELETE", r"communication/conversations/l-1", seconds=15)
    run.check(time.monotonic() - begun > 1.5, "not before the time")
    dep.drained()
    run.stop()
    events, rows = run.archive()
    run.equal((rows[0]["state"], len(of(events, "conversation.ended")), len(of(events, "capture.gap"))), ("ended", 1, 0), "ended, no gap")
    run.equal(len(of(events, "participant.left")), 1, "left")


SCENARIOS = (chat, first_text, stranger, exact, ended_forms, idle, notices, no_notice, auto_accepted, many, leaves_when_alone)
