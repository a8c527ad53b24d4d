#!/usr/bin/env python3
"""Checks RSMF files without Greffier.

    rsmf.py SCHEMA FOLDER TRUTH.jsonl ZONE     an export, compared with the events of the archive
    rsmf.py SCHEMA --samples FOLDER            the samples: the bad ones must be refused, the good one must pass
"""
import email
import email.policy
import hashlib
import io
import json
import pathlib
import re
import sys
import zipfile

import jsonschema

import truth
from truth import check

KNOWN = {
    "manifest": {"version", "participants", "conversations", "events", "eventcollectionid"},
    "participants": {"id", "display", "email", "avatar", "account_id", "custom"},
    "conversations": {"id", "display", "platform", "type", "participants", "custodian", "icon", "custom"},
    "events": {
        "id", "type", "parent", "body", "participant", "conversation", "timestamp", "deleted", "importance", "direction",
        "reactions", "attachments", "edits", "read_receipts", "custom",
    },
}
# Of every file in every ZIP that was read.
HASHES = set()
ZONED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")


class Refused(Exception):
    """The file is not good RSMF."""


def need(good, what):
    if not good:
        raise Refused(what)


def validator(schema):
    with open(schema, encoding="utf-8") as file:
        return jsonschema.Draft7Validator(json.load(file), format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER)


def manifest_is_good(manifest, names, schema):
    for error in schema.iter_errors(manifest):
        raise Refused(f"schema: {error.json_path}: {error.message[:200]}")
    need(set(manifest) <= KNOWN["manifest"], "unknown member of the manifest")
    for kind in ("participants", "conversations", "events"):
        for entry in manifest[kind]:
            need(set(entry) <= KNOWN[kind], f"unknown member in {kind}: {set(entry) - KNOWN[kind]}")
    people = [who["id"] for who in manifest["participants"]]
    need(len(people) == len(set(people)), "participant id twice")
    rooms = {room["id"]: room for room in manifest["conversations"]}
    need(len(rooms) == len(manifest["conversations"]), "conversation id twice")
    for room in rooms.values():
        need(set(room["participants"]) <= set(people), "participant of a conversation does not resolve")
        need(room.get("custodian") is None or room["custodian"] in room["participants"], "custodian does not resolve")
    ids = [event["id"] for event in manifest["events"] if "id" in event]
    need(len(ids) == len(set(ids)), "event id twice")
    files = {entry["avatar"] for entry in manifest["participants"] if entry.get("avatar")}
    files |= {room["icon"] for room in rooms.values() if room.get("icon")}
    for event in manifest["events"]:
        need(event.get("parent") is None or event["parent"] in ids, f"parent {event.get('parent')} does not resolve")
        need(event.get("conversation") is None or event["conversation"] in rooms, "conversation does not resolve")
        named = [event["participant"]] if "participant" in event else []
        times = [event["timestamp"]] if "timestamp" in event else []
        for entry in event.get("edits", []) + event.get("read_receipts", []):
            named.append(entry["participant"])
            times += [entry["timestamp"]] if "timestamp" in entry else []
        for reaction in event.get("reactions", []):
            named += reaction.get("participants", [])
            need(len(reaction["value"]) <= 30, "reaction longer than 30 characters")
        need(set(named) <= set(people), f"participant {named} of an event does not resolve")
        need(all(ZONED.match(time) for time in times), f"time without zone: {times}")
        files |= {attachment["id"] for attachment in event.get("attachments", [])}
    need(files == names - {"rsmf_manifest.json"}, f"files and references differ: {files ^ (names - {'rsmf_manifest.json'})}")


def zip_is_good(data, schema):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        need(archive.testzip() is None, "damaged zip")
        names = archive.namelist()
        need(len(names) == len(set(names)), "file twice in the zip")
        need("rsmf_manifest.json" in names, "no manifest")
        manifest = json.loads(archive.read("rsmf_manifest.json").decode("utf-8"))
        manifest_is_good(manifest, set(names), schema)
        for event in manifest["events"]:
            for attachment in event.get("attachments", []):
                need(archive.getinfo(attachment["id"]).file_size == attachment["size"], "size of an attachment")
                HASHES.add(hashlib.sha256(archive.read(attachment["id"])).hexdigest())
        return manifest


def message_is_good(data, schema):
    need(max(map(len, data.split(b"\r\n"))) <= 998, "line longer than 998 bytes")
    message = email.message_from_bytes(data, policy=email.policy.default)
    need(not message.defects and not any(part.defects for part in message.walk()), "defects of the mail message")
    need(message["X-RSMF-Version"] in ("1.0.0", "2.0.0"), "no version")
    attachments = list(message.iter_attachments())
    need([part.get_filename() for part in attachments] == ["rsmf.zip"], "not exactly one attachment rsmf.zip")
    for name, value in message.items():
        need(not name.startswith("X-RSMF-") or len(value) < 255, f"{name} is too long")
        need(name.lower() not in ("bcc", "x-injected"), f"header {name} got in")
    return message, zip_is_good(attachments[0].get_content(), schema)


def attachment_of(data):
    message = email.message_from_bytes(data, policy=email.policy.default)
    return next(message.iter_attachments()).get_content()


def samples(schema, folder):
    refused = {}
    for path in sorted(pathlib.Path(folder).iterdir()):
        try:
            if path.name.endswith("_manifest.json"):
                manifest_is_good(json.loads(path.read_text(encoding="utf-8")), {"rsmf_manifest.json"}, schema)
            elif path.suffix == ".zip":
                zip_is_good(path.read_bytes(), schema)
            elif path.suffix == ".rsmf":
                data = re.sub(rb"\r?\n", b"\r\n", path.read_bytes())
                message_is_good(data, schema)
            else:
                continue
            refused[path.name] = None
        except Refused as why:
            refused[path.name] = str(why)
    check("schema" in (refused["invalid-missing-participant-id.rsmf_manifest.json"] or ""), "missing id passed")
    check("schema" in (refused["invalid-participant-id-type.rsmf_manifest.json"] or ""), "number as id passed")
    check("attachment" in (refused["sample3.rsmf"] or ""), "two attachments passed", refused["sample3.rsmf"])
    check(refused["sample2-rsmf.zip"], "absent avatar and times without zone passed")
    check(refused["made-here-full.rsmf"] is None, "good sample refused:", refused["made-here-full.rsmf"])
    # The good one, spoilt in one place each.
    data = pathlib.Path(folder, "made-here-full.rsmf").read_bytes()
    good = json.loads(zipfile.ZipFile(io.BytesIO(attachment_of(data))).read("rsmf_manifest.json"))
    names = {"rsmf_manifest.json", "P1.png", "ATT001.txt"}
    spoilt = {
        "references": lambda m: m["participants"][0].update(avatar="absent.png"),
        "unknown": lambda m: m["events"][0].update(colour="red"),
        "parent": lambda m: m["events"][3].update(parent="e99"),
        "participant": lambda m: m["events"][2].update(participant="P99"),
        "date-time": lambda m: m["events"][2].update(timestamp="2026-03-05T09:00:07"),
        "30": lambda m: m["events"][2]["reactions"][0].update(value="x" * 31),
        "twice": lambda m: m["events"][3].update(id="e2", parent="e2"),
    }
    manifest_is_good(good, names, schema)
    for word, spoil in spoilt.items():
        manifest = json.loads(json.dumps(good))
        spoil(manifest)
        try:
            manifest_is_good(manifest, names, schema)
            check(False, "passed:", word)
        except Refused as why:
            check(word in str(why), "refused for another reason:", word, why)


def facts(entry, name):
    return [custom["value"] for custom in entry.get("custom", []) if custom["name"] == name]


def told(event):
    """Places in the log that an event of a manifest tells."""
    if event["type"] == "history":
        return []
    own = [int(value) for value in facts(event, "Log index")]
    folded = [
        int(re.search(r"\(log index (\d+), leaf hash [0-9a-f]{64}\)\Z", custom["value"]).group(1))
        for custom in event["custom"]
        if custom["name"] in ("Edited", "Deleted", "Reaction added", "Reaction removed")
    ]
    return own + folded


def compare(schema, folder, expected, zone):
    wanted = {event["seq"]: event for event in expected}
    seen = {}
    parts = {}
    for path in sorted(pathlib.Path(folder).rglob("*.rsmf")):
        try:
            message, manifest = message_is_good(path.read_bytes(), schema)
        except Refused as why:
            check(False, path.name, why)
            continue
        label = path.name
        date, room = message["X-RSMF-Day"], message["X-RSMF-EventCollectionID"]
        check(message["X-RSMF-Zone"] == zone, label, "zone", message["X-RSMF-Zone"])
        check(manifest["eventcollectionid"] == room == path.parent.name, label, "event collection id")
        check(int(message["X-RSMF-EventCount"]) == len(manifest["events"]) <= 10_500, label, "event count")
        part = re.fullmatch(r"part (\d+) of (\d+)", message["X-RSMF-Part"])
        parts.setdefault((room, date), []).append((int(part[1]), int(part[2])))
        names = {who["id"]: who for who in manifest["participants"]}
        by_id = {event["id"]: event for event in manifest["events"]}
        text = message.get_body().get_content()
        here = []
        for event in manifest["events"]:
            for seq in told(event):
                check(seq not in seen, label, "told twice:", seq)
                seen[seq] = event
                here.append(seq)
                check(seq in wanted, label, "not of the selection:", seq)
        check(int(message["X-RSMF-LogEventCount"]) == len(here), label, "log event count")
        times = [truth.shown_at(wanted[seq]) for seq in here]
        check(message["X-RSMF-BeginDate"] == min(times) and message["X-RSMF-EndDate"] == max(times), label, "span")
        check(message["Date"].datetime.timestamp() == truth.millis(min(times)) // 1000, label, "date")
        for seq in here:
            original = wanted[seq]
            check(f"[{seq}] " in text, label, "not in the body:", seq)
            if original.get("conversation"):
                check(original["conversation"] == room, label, "conversation of", seq)
                check(truth.day(original, zone) == date, label, "day of", seq)
            else:
                check(room == "no-conversation", label, "conversation of", seq)
            event = seen[seq]
            kind = original["kind"]
            if facts(event, "Log index") == [str(seq)]:
                check(event["timestamp"] == truth.shown_at(original), label, "time of", seq)
                check(facts(event, "Leaf hash (SHA-256)") == [original["leaf_hash"]], label, "leaf of", seq)
            if kind in ("message.sent", "message.edited"):
                said = original["message"]["text"]
                texts = [event.get("body")] + [edit.get("previous") for edit in event.get("edits", [])]
                check(said in texts, label, "text of", seq)
                check(truth.one_line(said.split("\n")[0]) in text, label, "text of", seq, "in the body")
            if kind == "message.sent":
                check(event["type"] == "message", label, "type of", seq)
                who = names[event["participant"]]
                check(who["account_id"] == truth.one_line(original["actor"]["id"]), label, "sender of", seq)
                check(len(event.get("attachments", [])) >= len(original["message"].get("attachments", [])), label, "files of", seq)
                answers = original["message"].get("in_reply_to")
                if answers:
                    root = by_id.get(event.get("parent"))
                    sent = [e for e in expected if e["kind"] == "message.sent" and e["message"]["id"] == answers]
                    check(bool(root) == bool(sent), label, "thread of", seq)
                    if root and root["type"] == "history":
                        check(facts(root, "Log index") == [str(sent[-1]["seq"])], label, "root of", seq)
            if kind == "message.edited":
                new = [edit["new"] for edit in event["edits"]]
                check(original["message"]["text"] in new, label, "edit", seq)
                check(truth.shown_at(original) in [edit["timestamp"] for edit in event["edits"]], label, "time of edit", seq)
            if kind == "message.deleted":
                later = [e for e in here if e > seq and wanted[e]["kind"] == "message.edited"]
                check(event.get("deleted") is True or later, label, "deletion", seq)
                check(event.get("body") or "is not in this export" in str(event["custom"]), label, "text of deletion", seq)
            if kind == "participant.joined" and not original["participant"].get("in_lobby"):
                check(event["type"] in ("join", "unknown"), label, "join", seq)
            if kind == "participant.left":
                check(event["type"] == "leave", label, "leave", seq)
            if kind == "notice.sent":
                check(event["type"] == "disclaimer", label, "notice", seq)
            if kind == "capture.gap":
                check("Gap in the record" in event["body"] and facts(event, "Gap cause"), label, "gap", seq)
        # Nobody comes in who is there, nobody leaves who is not, where the opening roster is told.
        for shown in manifest["conversations"]:
            there = set(shown["participants"])
            for event in manifest["events"] if shown["type"] == "channel" else []:
                if event["type"] == "join":
                    check(event["participant"] not in there, label, "joined twice:", event["id"])
                    there.add(event["participant"])
                if event["type"] == "leave":
                    check(event["participant"] in there, label, "left without having been there:", event["id"])
                    there.discard(event["participant"])
    here = [file.get("sha256") in HASHES for file in truth.files_of(expected)]
    check(sum(here) == truth.KEPT, "bytes of kept files", here)
    check(set(seen) == set(wanted), "missing:", sorted(set(wanted) - set(seen))[:20])
    for key, numbers in parts.items():
        check(sorted(numbers) == [(n + 1, len(numbers)) for n in range(len(numbers))], key, "parts", numbers)


if __name__ == "__main__":
    if sys.argv[2] == "--samples":
        samples(validator(sys.argv[1]), sys.argv[3])
    else:
        compare(validator(sys.argv[1]), sys.argv[2], truth.events(sys.argv[3]), sys.argv[4])
    truth.done()
