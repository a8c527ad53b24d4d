"""The archive's disk is full: nothing is acknowledged, the people in the call are told, and what was missed is read afterwards. And
what was owed to the archive when the process died."""

import contextlib
import json
import os
import sqlite3
import subprocess
import time

from recorder_run import of, settings, texts
from tenant_answer import accepted, finish
from tenant_send import ALICE, BOB, CAROL, bot_data, person, pid
from tenant_subscriptions import ALL, group, said, subscribed

THREAD = "19:meeting_disk@thread.v2"


class SmallDisk:
    """A file system of a few megabytes under the archive; where mounting is not permitted, the scenario is skipped."""

    def __init__(self, run, megabytes=24):
        self.at = run.path("archive")
        os.makedirs(self.at, mode=0o700, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", self.at], capture_output=True)
        self.mounted = done.returncode == 0
        if not self.mounted:
            print("skipped: this account may not mount a file system, so no disk could be filled", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.mounted:
            subprocess.run(["umount", "-l", self.at], capture_output=True)

    def fill(self):
        size = 1 << 16
        with open(os.path.join(self.at, "ballast"), "wb", buffering=0) as f:
            while size:
                try:
                    if f.write(bytes(size)) < size:
                        size //= 2
                except OSError:
                    size //= 2

    def make_room(self):
        os.remove(os.path.join(self.at, "ballast"))


def refused(run, what, send, seconds=20):
    """Sends until it is refused: a page that was free may take one more body."""
    end = time.monotonic() + seconds
    while (answer := send()).status != 503:
        if time.monotonic() > end:
            raise AssertionError(f"{what} is still taken on a full disk: {answer.status}")
        time.sleep(0.02)
    return answer


@settings(keys=ALL)
def a_full_disk_in_mid_call(run):
    with SmallDisk(run) as disk:
        if not disk.mounted:
            return
        chat = run.tenant.chats.add(THREAD, "meeting", members=[ALICE, BOB])
        run.start()
        call = accepted(run, policy=bot_data(), thread=THREAD)
        call.roster(person("p1", ALICE))
        subscribed(run)
        said(run, chat, "before")
        run.until("recording and the message", lambda e: of(e, "recording.started") and "before" in texts(e) and of(e, "participant.joined"))
        disk.fill()
        muted = [False]

        def roster():
            muted[0] = not muted[0]
            return call.roster(person("p1", ALICE, muted=muted[0]))

        answer = refused(run, "a roster", roster)
        run.check(answer.headers.get("Retry-After"), "the refusal says when to come again")
        run.tenant.wait("the news that recording failed", lambda: "failed" in call.statuses())
        run.equal(run.ready(), 503, "not ready")
        # Neither comes again: what was refused has to be asked for.
        call.roster(person("p1", ALICE, muted=muted[0]), person("p2", CAROL))
        doc = run.tenant.chats.say(chat, ALICE, "while it was full")
        refused(run, "a message", lambda: run.service.tell(chat, doc)[0])
        run.equal(call.statuses().count("recording"), 1, "nobody is told that we record while we cannot")
        disk.make_room()
        run.tenant.wait("the news that recording goes on", lambda: call.statuses()[-1] == "recording", 30)
        run.until_ready()
        run.until("everything", lambda e: "while it was full" in texts(e) and len(of(e, "recording.started")) == 2
                  and any(x["participant"]["id"] == pid(CAROL) for x in of(e, "participant.joined")))
        events, rows = finish(run, call)
        run.equal(call.statuses(), ["recording", "failed", "recording"], "what the people were told")
        order = [e["kind"] for e in of(events, "recording.started", "recording.failed")]
        run.equal(order, ["recording.started", "recording.failed", "recording.started"], "the archive says the same")
        run.check("stored" in of(events, "recording.failed")[0]["reason"]["message"], "the reason in words")
        gaps = [e for e in of(events, "capture.gap") if "call" in e["gap"]["cause"]]
        run.check(gaps, f"a gap for what was refused about the call: {of(events, 'capture.gap')}")
        run.equal(len(rows), 1, "one conversation")
        run.equal(sorted(texts(events)), ["before", "while it was full"], "each message once")


def a_call_that_rings_while_the_disk_is_full(run):
    """It is answered, for five seconds are short; nothing of it can be stored, and nothing comes again. It is not forgotten."""
    with SmallDisk(run) as disk:
        if not disk.mounted:
            return
        run.start()
        first = accepted(run)
        disk.fill()
        muted = [False]

        def roster():
            muted[0] = not muted[0]
            return first.roster(person("p1", ALICE, muted=muted[0]))

        refused(run, "a roster", roster)
        call = run.service.call(source=BOB, policy=bot_data())
        run.equal(call.incoming().status, 503, "not acknowledged")
        call.until_answered()
        call.update("establishing")
        call.update("established")
        run.check("recording" not in call.statuses(), "nobody is told that we record while we cannot")
        disk.make_room()
        run.tenant.wait("that recording is told", lambda: "recording" in call.statuses(), 30)
        run.until("both calls", lambda e: len(of(e, "conversation.started")) == 2)
        call.end()
        run.until("its end", lambda e: of(e, "conversation.ended"))
        events, rows = finish(run, first)
        run.equal(len(rows), 2, "two conversations")


@settings(keys=ALL)
def stopping_while_the_disk_is_full(run):
    """It ends all the same, in a moment; status 1 says that the end could not be signed. The next start goes on."""
    with SmallDisk(run) as disk:
        if not disk.mounted:
            return
        chat = group(run)
        run.start()
        subscribed(run)
        said(run, chat, "before")
        run.until("the message", lambda e: "before" in texts(e))
        disk.fill()
        doc = run.tenant.chats.say(chat, ALICE, "while it was full")
        refused(run, "a message", lambda: run.service.tell(chat, doc)[0])
        begun = time.monotonic()
        run.process.terminate()
        run.equal(run.process.wait(15), 1, "the exit status")
        took = time.monotonic() - begun
        run.check(took < 5, f"within 5 s, not {took:.1f}")
        run.check("abandoned" not in run.log() and "cannot sign the log at the end" in run.log(), "an orderly end that says what is wrong")
        disk.make_room()
        run.start()
        run.until("what was refused", lambda e: "while it was full" in texts(e))
        run.stop()
        events, _ = run.archive()
        run.equal(sorted(texts(events)), ["before", "while it was full"], "each message once")


@settings(keys=ALL)
def a_gap_that_was_owed_when_the_process_died(run):
    """That a subscription had lapsed was remembered, and the process died before the conversations heard of it."""
    chat, other = group(run), run.tenant.chats.add("19:0f0f0f0f4a8a4f0f9f0f0f0f0f0f0f0f@thread.v2", members=[ALICE, BOB])
    run.start()
    subscribed(run)
    said(run, chat, "in one")
    said(run, other, "in the other")
    run.until("both", lambda e: len(texts(e)) == 2)
    run.kill()
    owed = {"of": "Scope", "gap": {"cause": "the subscription expired", "from": "2026-11-27T10:00:00.000Z", "to": "2026-11-27T11:00:00.000Z"}}
    with contextlib.closing(sqlite3.connect(run.path("archive", "archive.db"))) as db:
        connector = db.execute("SELECT id FROM connector WHERE name = 'teams'").fetchone()[0]
        db.execute("INSERT INTO cursor (connector, key, value) VALUES (?, 'gap/1795773600000000/1795777200000000/', ?)", (connector, json.dumps(owed).encode()))
        db.commit()
    run.start()
    run.until("the gap in both", lambda e: len([g for g in of(e, "capture.gap") if g["gap"]["cause"] == "the subscription expired"]) == 2)
    run.kill()
    run.start()
    said(run, chat, "goes on")
    run.until("the next", lambda e: "goes on" in texts(e))
    run.stop()
    events, _ = run.archive()
    gaps = [g for g in of(events, "capture.gap") if g["gap"]["cause"] == "the subscription expired"]
    run.equal(sorted(g["gap"]["from"] for g in gaps), ["2026-11-27T10:00:00.000Z"] * 2, "once in each, also after another start")
    with contextlib.closing(sqlite3.connect(run.path("archive", "archive.db"))) as db:
        run.equal(db.execute("SELECT count(*) FROM cursor WHERE key LIKE 'gap/%'").fetchone()[0], 0, "and owed no longer")


SCENARIOS = (a_gap_that_was_owed_when_the_process_died, a_full_disk_in_mid_call, a_call_that_rings_while_the_disk_is_full, stopping_while_the_disk_is_full)
