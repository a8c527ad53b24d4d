"""What is done with the record afterwards: found, shown, exported in every format, copied, verified."""

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import time
import urllib.request

from recorder_run import of, settings, texts
from tenant import seconds_of
from tenant_answer import accepted
from tenant_calls import MEETING
from tenant_send import ALICE, BOB, person, pid
from tenant_subscriptions import said, subscribed

HOSTILE = "=cmd|' /C calc'!A0 <b>\u202e日本語</b> 😀 \u0001"


def meeting(run):
    """A meeting with its chat: everything the formats have to carry."""
    run.service.tenant.chats.add(MEETING, "meeting", topic="Zebra review", members=[ALICE, BOB])
    chat = run.tenant.chats.all[MEETING]
    run.start()
    call = accepted(run, thread=MEETING, source=("8a34a46b-3d17-4adc-8dce-dc4e7d572698", HOSTILE))
    subscribed(run)
    call.roster(person("p1", ALICE), person("p2", BOB, lobby=True))
    call.roster(person("p1", ALICE, muted=True), person("p2", BOB))
    call.share("created", "S1")
    first = said(run, chat, "The giraffe is quoted")
    said(run, chat, HOSTILE, BOB)
    run.tenant.chats.edit(chat, first["id"], "The giraffe was edited")
    run.service.tell(chat, chat.messages[first["id"]], "updated")
    run.tenant.chats.react(chat, first["id"], BOB, "like")
    run.service.tell(chat, chat.messages[first["id"]], "updated")
    gone = said(run, chat, "soon deleted", BOB)
    run.until("three messages", lambda e: len(texts(e)) == 3)
    run.tenant.chats.delete(chat, gone["id"])
    run.service.tell(chat, chat.messages[gone["id"]], "deleted")
    call.share("deleted", "S1")
    call.roster()
    run.until("the deletion", lambda e: of(e, "message.deleted") and of(e, "sharing.ended") and len(of(e, "participant.left")) == 2)
    call.end()
    return run.until("the end", lambda e: of(e, "conversation.ended"))


def found_by_every_word_of_the_language(run):
    meeting(run)
    run.until("the index", lambda _: run.lines("search", "giraffe", "--json"))
    hits = lambda query: [e["seq"] for e in run.lines("search", query, "--json")]
    for query in ("giraffe", '"giraffe was edited"', "giraf*", "from:alice giraffe", f"from:{pid(ALICE)} giraffe", "platform:teams giraffe", "connector:teams giraffe", "with:bob giraffe", "kind:message giraffe",
                  "is:edited giraffe", "is:deleted", "日本語", "giraffe OR nothing", "(giraffe)"):
        run.check(hits(query), f"{query} finds something")
    for query in ("platform:ucwa giraffe", "connector:sfb giraffe", "giraffe -edited -quoted", "from:carol giraffe"):
        run.equal(hits(query), [], f"{query} finds nothing")
    run.stop()
    run.archive()


def shown_and_exported_in_every_format(run):
    events = meeting(run)
    run.stop()
    events, rows = run.archive()
    conversation = rows[0]["id"]
    status, out, _ = run.cli("show", conversation)
    run.check(status == 0 and "The giraffe was edited" in out, "the transcript")
    run.check("\u0001" not in out, "no control characters reach the terminal")
    known = re.search(r"possible values: ([^\]]+)\]", run.cli("export", "--help")[1] + run.cli("export", conversation, "--format", "?", "--output", "x")[2])
    formats = [f.strip() for f in known.group(1).split(",")] if known else []
    run.check(len(formats) >= 10, f"formats: {formats}")
    for name in formats:
        status, out, err = run.cli("export", conversation, "--format", name, "--output", f"{name}.zip")
        run.equal(status, 0, f"{name}: {err[-300:]}")
        if status == 0:
            run.check(os.path.getsize(run.path(f"{name}.zip")) > 500, f"{name} is not empty")
            status, out, err = run.cli("verify", "--export", f"{name}.zip")
            run.equal(status, 0, f"{name} verifies: {out}{err}"[-300:])


def copied_and_verified_while_serving(run):
    meeting(run)
    status, _, err = run.cli("backup", "copy")
    run.equal(status, 0, f"backup: {err}")
    status, out, err = run.cli("verify", "--archive", "copy")
    run.equal(status, 0, f"verify of the copy: {out}{err}")
    run.stop()
    before = run.archive()[0]
    run.equal(run.cli("reindex")[0], 0, "reindex")
    run.equal([e["leaf_hash"] for e in run.events()], [e["leaf_hash"] for e in before], "the record is the same")


def pages_of_the_viewer(run):
    """Every page about the meeting answers, and nothing hostile is alive in it."""
    events = meeting(run)
    conversation = events[0]["conversation"]
    get = lambda path: urllib.request.urlopen(f"http://127.0.0.1:{run.port}{path}", timeout=20).read().decode()
    for path in ("/", f"/conversations/{conversation}", "/search?q=giraffe", "/people", f"/people/{pid(ALICE)}", "/integrity", "/healthz", "/metrics", "/api/v1/openapi.json"):
        page = get(path)
        run.check(page, path)
        run.check(path.startswith("/api") or path == "/metrics" or "<b>\u202e" not in page, f"{path}: nothing hostile is alive")
    run.check("The giraffe was edited" in get(f"/conversations/{conversation}"), "the transcript")
    run.stop()
    run.archive()


@settings(notice="")
def listed_by_connector_and_person(run):
    run.start()
    call = accepted(run)
    call.end()
    run.until("the end", lambda e: of(e, "conversation.ended"))
    run.equal(len(run.lines("list", "--json", "--connector", "teams")), 1, "by connector")
    run.equal(len(run.lines("list", "--json", "--participant", "alice")), 1, "by participant")
    run.equal(run.lines("list", "--json", "--connector", "other"), [], "of no other")
    run.stop()
    run.archive()


def what_arrived_is_there_as_it_came(run):
    """Byte for byte, with the headers that say more than the body, and when; a refused one left nothing."""
    run.start()
    call = run.service.call()
    begun = time.time()
    note = call.note(call.resource(), "created", resource=f"/app/calls/{call.id}")
    body = json.dumps({"@odata.type": "#microsoft.graph.commsNotifications", "value": [note], "unknown": "日本  \u202e"}, indent=3).encode()
    headers = {"X-Microsoft-Skype-Chain-ID": "05f2f70f-3a9c", "X-Microsoft-Skype-Message-ID": "a b", "Ms-Teams-Region": "emea", "X-Other": "not kept"}
    call.begun = time.monotonic()
    run.equal(run.service.calls(body, token="refused", headers=headers).status, 401, "a bad token is refused")
    run.equal(run.service.calls(body, token=run.service.call_token(), headers=headers).status, 202, "a good one is taken")
    call.until_answered()
    call.establish()
    run.until("the start", lambda e: of(e, "conversation.started"))
    call.end()
    run.until("the end", lambda e: of(e, "conversation.ended"))
    run.stop()
    events, _ = run.archive()
    seq = str(of(events, "invitation.received")[0]["seq"])
    raw = run.lines("raw", seq, "--json")[0]
    run.equal((raw["body"].encode(), raw["sha256"]), (body, hashlib.sha256(body).hexdigest()), "the body")
    run.equal(raw["request"].split(" ")[:2], ["POST", "/api/calls"], "the path")
    for kept in ("x-microsoft-skype-chain-id=05f2f70f-3a9c", "x-microsoft-skype-message-id=a_b", "ms-teams-region=emea"):
        run.check(kept in raw["request"], f"{kept} in {raw['request']}")
    run.check("not kept" not in raw["request"] and "Bearer" not in json.dumps(raw), "and no more of them, above all no token")
    run.check(begun - 1 < seconds_of(raw["received_at"]) < time.time() + 1, f"when it came: {raw['received_at']}")
    with contextlib.closing(sqlite3.connect(run.path("archive", "archive.db"))) as db:
        taken = db.execute("SELECT count(*) FROM envelope WHERE request LIKE 'POST /api/calls%chain-id%'").fetchone()[0]
    run.equal(taken, 1, "what was refused is not stored")


SCENARIOS = (what_arrived_is_there_as_it_came, found_by_every_word_of_the_language, shown_and_exported_in_every_format, copied_and_verified_while_serving, pages_of_the_viewer, listed_by_connector_and_person)
