"""Losing nothing: what was said before, meanwhile, and unheard is read by paging while the list shifts."""

import threading
import time

from recorder_run import of, settings, texts
from tenant import error
from tenant_answer import accepted
from tenant_calls import MEETING
from tenant_messages import OTHER, done, listening
from tenant_run import ago
from tenant_send import ALICE, BOB
from tenant_subscriptions import ALL, GROUP, group, said, subscribed
from tenant_wire import Reply, match

ONE = {"chat_scopes": [f"/chats/{GROUP}/messages"]}
TWO = {"chat_scopes": [f"/chats/{GROUP}/messages", f"/chats/{OTHER}/messages"], "reconcile_seconds": 3}
LISTS = ".*/messages"


def history(run, count, seconds=86400):
    """A chat with things said over the last day."""
    chat = group(run)
    for n in range(count):
        run.tenant.chats.say(chat, ALICE if n % 2 else BOB, f"text {n}", at=ago(seconds - n * seconds // (count + 1)))
    return chat


@settings(keys=ONE)
def a_chat_is_read_from_its_beginning(run):
    history(run, 173)
    run.tenant.chats.page = 20
    run.start()
    run.until("all of it", lambda e: len(texts(e)) == 173)
    events, rows = done(run)
    run.equal(sorted(texts(events)), sorted(f"text {n}" for n in range(173)), "every message once")
    for s in run.tenant.requests("GET", f"/v1.0/chats/{GROUP}/messages"):
        run.check("include-unknown-enum-members" in (s.headers.get("Prefer") or ""), "Prefer on every GET")
        run.check(":" not in s.target.split("?")[0] and "@" not in s.target.split("?")[0], f"ids are percent-encoded: {s.target[:80]}")
    run.equal(rows[0]["messages"], 173, "the row")


@settings(keys=ONE)
def one_chat_is_not_asked_too_often(run):
    """4 requests a second for one chat."""
    history(run, 200)
    run.tenant.chats.page = 10
    run.start()
    run.until("all of it", lambda e: len(texts(e)) == 200, 60)
    run.stop()
    asked = [s.at for s in run.tenant.requests("GET", f"/v1.0/chats/{GROUP}.*")]
    busiest = max(len([b for b in asked if a <= b < a + 1]) for a in asked)
    run.check(len(asked) >= 20 and busiest <= 5, f"{busiest} requests within one second")
    run.archive()


@settings(keys=ONE)
def an_empty_page_with_a_next_link(run):
    history(run, 5)
    run.tenant.chats.blank_first = True
    run.start()
    run.until("all", lambda e: len(texts(e)) == 5)
    done(run)


@settings(keys=ONE)
def the_list_shifts_while_it_is_paged(run):
    """New messages push others to a further page; an edit pulls one forward, past the reader."""
    chat = history(run, 60)
    run.tenant.chats.page = 10
    done_already = []

    def on_page(_, number):
        if len(done_already) < 3 and number % 2 == 0:
            done_already.append(number)
            run.tenant.chats.say(chat, BOB, f"shift {number}")
            keys = sorted(chat.messages)
            run.tenant.chats.edit(chat, keys[len(done_already)], f"edited {number}")

    run.tenant.chats.on_page = on_page
    run.start()
    wanted = lambda: {d["body"]["content"] for d in chat.messages.values()}
    seen = lambda e: set(texts(e)) | set(texts(e, "message.edited"))
    run.until("everything as it is now", lambda e: len(done_already) == 3 and wanted() <= seen(e), 40)
    events, _ = done(run)
    run.equal(len(of(events, "message.sent")), len({e["message"]["id"] for e in of(events, "message.sent")}), "each message was sent once")
    run.equal({e["message"]["id"] for e in of(events, "message.sent")}, set(chat.messages), "every message")


@settings(keys=ONE)
def after_a_restart_only_from_the_checkpoint(run):
    """From the checkpoint minus the overlap, not from the beginning."""
    chat = history(run, 100)
    run.tenant.chats.page = 10
    run.start()
    run.until("all", lambda e: len(texts(e)) == 100)
    subscribed(run)
    said(run, chat, "live")
    run.until("live", lambda e: len(texts(e)) == 101)
    run.tenant.wait("the end of reading", lambda: time.monotonic() - run.tenant.seen[-1].at > 2)
    run.stop()
    before = len(run.tenant.requests("GET", f"/v1.0/chats/{GROUP}/messages"))
    run.tenant.chats.say(chat, BOB, "while down")
    run.tenant.chats.edit(chat, sorted(chat.messages)[0], "edited while down")
    run.tenant.chats.delete(chat, sorted(chat.messages)[1])
    run.start()
    run.until("what happened meanwhile", lambda e: "while down" in texts(e) and texts(e, "message.edited") == ["edited while down"] and of(e, "message.deleted"))
    events, _ = done(run)
    pages = len(run.tenant.requests("GET", f"/v1.0/chats/{GROUP}/messages")) - before
    run.check(pages <= 5, f"read from the checkpoint: {pages} pages")
    run.check(any("lastModifiedDateTime" in s.query.get("$filter", "") and "lastModifiedDateTime desc" in s.query.get("$orderby", "") for s in run.tenant.requests("GET", f"/v1.0/chats/{GROUP}/messages")[before:]),
              "filtered and ordered by the same property")
    run.equal(len(of(events, "message.sent")), 102, "no message twice")


@settings(keys=ONE)
def killed_during_the_backfill(run):
    chat = history(run, 120)
    run.tenant.chats.page = 10
    killed = threading.Event()

    def on_page(_, number):
        if number == 6 and not killed.is_set():
            killed.set()
            run.kill()

    run.tenant.chats.on_page = on_page
    run.start(ready=False)
    run.tenant.wait("the kill", lambda: killed.is_set() and run.process.poll() is not None)
    run.start()
    run.until("all of it", lambda e: len(texts(e)) == 120)
    events, _ = done(run)
    run.equal({e["message"]["id"] for e in of(events, "message.sent")}, set(chat.messages), "every message once")


@settings(keys=dict(ONE, reconcile_seconds=3, reconcile_window_seconds=7200))
def reconciliation_finds_what_was_never_told(run):
    """Notifications stop without any error; only comparing finds it."""
    chat = listening(run)
    said(run, chat, "told")
    run.until("told", lambda e: texts(e) == ["told"])
    run.tenant.chats.say(chat, BOB, "never told")
    late = run.tenant.chats.say(chat, BOB, "back-dated", at=ago(3600))
    run.until("what was never told", lambda e: sorted(texts(e)) == ["back-dated", "never told", "told"], 30)
    run.tenant.chats.edit(chat, late["id"], "edited in silence")
    run.until("the edit", lambda e: texts(e, "message.edited") == ["edited in silence"], 30)
    done(run)


@settings(keys=dict(ALL, reconcile_seconds=3))
def reconciliation_of_a_chat_known_from_a_notification(run):
    chat = listening(run)
    said(run, chat, "told")
    run.until("told", lambda e: texts(e) == ["told"])
    run.tenant.chats.say(chat, BOB, "never told")
    run.until("what was never told", lambda e: sorted(texts(e)) == ["never told", "told"], 30)
    done(run)


@settings(keys={"chat_polls_after_call": [1, 3]})
def polled_after_the_call(run):
    chat = run.tenant.chats.add(MEETING, "meeting", members=[ALICE, BOB])
    run.start()
    call = accepted(run, thread=MEETING)
    subscribed(run)
    call.end()
    run.until("the end", lambda e: of(e, "conversation.ended"))
    run.tenant.chats.say(chat, BOB, "a word after the end")
    run.until("the word", lambda e: "a word after the end" in texts(e), 15)
    time.sleep(2.5)
    run.tenant.chats.say(chat, BOB, "too late for the polls")
    events, rows = done(run)
    run.equal(len(rows), 1, "in the call's conversation")


@settings(keys=ONE)
def throttled_while_reading(run):
    """429 with a fraction, without Retry-After, 503, 500, a broken connection: the page is asked for again, after the time."""
    history(run, 30)
    run.tenant.chats.page = 10
    run.tenant.fault("GET", LISTS, error(429, "TooManyRequests", {"Retry-After": "2.128"}), error(503, "ServiceUnavailable"), Reply(200, spoil="reset"), error(429, "TooManyRequests"))
    run.start()
    first, second = run.tenant.wait_request("GET", LISTS), run.tenant.wait_request("GET", LISTS, 2, 30)
    run.check(2.1 <= second.at - first.at < 6, f"Retry-After 2.128 is honoured: {second.at - first.at:.2f}")
    run.until("all", lambda e: len(texts(e)) == 30, 60)
    events, _ = done(run)
    run.equal(of(events, "capture.gap"), [], "no gap")


@settings(keys=ONE)
def calls_come_before_backfill(run):
    """A throttled or slow backfill does not delay an answer."""
    history(run, 30)
    run.tenant.fault("GET", LISTS, error(429, "TooManyRequests", {"Retry-After": "5"}))
    run.start()
    run.tenant.wait_request("GET", LISTS)
    call = run.service.call()
    call.incoming()
    took = call.until_answered(5)
    run.check(took < 1.5, f"answered at once: {took:.2f}")
    call.establish()
    call.end()
    run.until("all", lambda e: len(texts(e)) == 30 and of(e, "conversation.ended"), 40)
    done(run)


@settings(keys=ONE)
def a_foreign_next_link_is_not_followed(run):
    """The token goes to the configured Graph host and to no other."""
    chat = history(run, 30)
    run.tenant.chats.page = 10
    run.tenant.chats.foreign = run.tenant.url["stranger"]
    run.start()
    run.tenant.wait_request("GET", LISTS)
    time.sleep(2)
    asked = run.tenant.requests(origin="stranger")
    run.check(all(s.bearer is None for s in asked), f"no token for a stranger: {asked}")
    run.tenant.chats.foreign = None
    subscribed(run)
    said(run, chat, "goes on")
    run.until("the next message", lambda e: "goes on" in texts(e))
    run.until("a gap, for what could not be read, or all of it", lambda e: of(e, "capture.gap") or len(texts(e)) == 31, 30)
    done(run)


@settings(keys=ONE)
def tokens_end_in_mid_backfill(run):
    """401 in the middle: a new token, the same page."""
    history(run, 50)
    run.tenant.chats.page = 10
    run.tenant.chats.on_page = lambda _, number: run.tenant.revoke() if number == 2 else None
    run.start()
    run.until("all", lambda e: len(texts(e)) == 50)
    done(run)


@settings(keys=ONE)
def redirects_carry_no_token(run):
    history(run, 3)
    run.tenant.fault("GET", LISTS, Reply(302, headers={"Location": run.tenant.url["stranger"] + "/v1.0/x"}), Reply(307, headers={"Location": run.tenant.url["stranger"] + "/v1.0/x"}))
    run.start()
    run.tenant.wait_request("GET", LISTS)
    time.sleep(2)
    run.check(all(s.bearer is None for s in run.tenant.requests(origin="stranger")), "no token for a stranger")
    run.stop()
    run.archive()


@settings(keys={"chat_scopes": [], "chat_polls_after_call": [1]})
def federated_during_the_call_only(run):
    """A chat that begins to refuse us later becomes a gap, and what was read stays."""
    chat = run.tenant.chats.add(MEETING, "meeting", members=[ALICE, BOB])
    run.tenant.chats.say(chat, BOB, "readable")
    run.start()
    call = accepted(run, thread=MEETING)
    run.until("the backfill", lambda e: texts(e) == ["readable"])
    chat.refuse = 403
    call.end()
    run.until("the gap", lambda e: of(e, "capture.gap"), 15)
    events, _ = done(run)
    run.equal(texts(events), ["readable"], "what was read stays")


@settings(keys=TWO)
def a_licence_is_missing(run):
    """402 whenever one known chat is read: one gap from the last good reading on; what is told is taken, the other chat is read, and when the licence is there so is the rest."""
    chat, other = history(run, 3), group(run, OTHER)
    run.start()
    subscribed(run, 2)
    run.until("the history", lambda e: len(texts(e)) == 3)
    said(run, chat, "told")
    said(run, other, "told elsewhere")
    run.until("both", lambda e: len(texts(e)) == 5)
    unheard = run.tenant.chats.say(chat, BOB, "unheard")
    run.tenant.before = lambda seen: error(402, "PaymentRequired") if seen.method == "GET" and match(f"/v1.0/chats/{GROUP}/messages", seen.path) else None
    run.tenant.chats.say(other, BOB, "unheard elsewhere")
    run.until("the gap", lambda e: of(e, "capture.gap"), 30)
    run.tenant.wait("more refusals", lambda: len([s for s in run.tenant.requests("GET", f"/v1.0/chats/{GROUP}/messages") if s.status == 402]) >= 3, 40)
    said(run, chat, "told all the same")
    run.until("the others", lambda e: {"unheard elsewhere", "told all the same"} <= set(texts(e)), 30)
    run.tenant.before = None
    run.until("what was unheard", lambda e: "unheard" in texts(e), 30)
    events, rows = done(run)
    where = {e["message"]["text"]: e["conversation"] for e in of(events, "message.sent")}
    gaps = of(events, "capture.gap")
    run.equal([(e.get("conversation"), "402" in e["gap"]["cause"]) for e in gaps], [(where["told"], True)], "one gap, in the conversation concerned, that says 402")
    run.check(gaps[0]["gap"]["from"] <= unheard["createdDateTime"] <= gaps[0]["gap"]["to"], f"it covers what was unheard: {gaps[0]['gap']}")
    run.equal({r["id"]: r["coverage"] for r in rows}, {where["told"]: "incomplete", where["told elsewhere"]: "complete"}, "the list says so")
    run.equal(len(texts(events)), 8, "each message once")


@settings(keys=TWO)
def a_licence_to_subscribe_is_missing(run):
    """402 to POST /subscriptions: on record by resource, a gap where a conversation is concerned; it is read all the same, and nobody hammers."""
    chat, other = group(run), group(run, OTHER)
    run.tenant.chats.say(chat, BOB, "said before")
    refused = lambda s: s.method == "POST" and s.path == "/v1.0/subscriptions" and GROUP in s.body["resource"]
    run.tenant.before = lambda seen: error(402, "PaymentRequired") if refused(seen) else None
    run.start()
    subscribed(run)
    said(run, other, "told elsewhere")
    run.until("what can be had", lambda e: {"said before", "told elsewhere"} <= set(texts(e)))
    run.tenant.chats.say(chat, ALICE, "told to nobody")
    run.until("what nobody told", lambda e: "told to nobody" in texts(e), 30)
    events, rows = done(run)
    where = {e["message"]["text"]: e["conversation"] for e in of(events, "message.sent")}
    on_record = [e["detail"] for e in of(events, "platform.event") if e.get("detail", {}).get("what") == "refused"]
    run.equal([d["resource"] for d in on_record], [f"/chats/{GROUP}/messages"], "the refusal is on record, once")
    run.check(all("402" in d["recorder"] for d in on_record), f"and why: {on_record}")
    run.equal([(e.get("conversation"), "402" in e["gap"]["cause"]) for e in of(events, "capture.gap")], [(where["said before"], True)], "one gap, in the conversation concerned, that says 402")
    run.equal({r["id"]: r["coverage"] for r in rows}, {where["said before"]: "incomplete", where["told elsewhere"]: "complete"}, "the list says so")
    run.equal(len([s for s in run.tenant.requests("POST") if refused(s)]), 1, "asked once")


SCENARIOS = (a_chat_is_read_from_its_beginning, one_chat_is_not_asked_too_often, an_empty_page_with_a_next_link, the_list_shifts_while_it_is_paged, after_a_restart_only_from_the_checkpoint, killed_during_the_backfill,
             reconciliation_finds_what_was_never_told, reconciliation_of_a_chat_known_from_a_notification, polled_after_the_call, throttled_while_reading, calls_come_before_backfill,
             a_foreign_next_link_is_not_followed, tokens_end_in_mid_backfill, redirects_carry_no_token, federated_during_the_call_only, a_licence_is_missing,
             a_licence_to_subscribe_is_missing)
