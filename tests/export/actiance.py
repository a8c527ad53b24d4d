#!/usr/bin/env python3
"""Checks an Actiance export without Greffier: actiance.py FOLDER TRUTH.jsonl ZONE"""
import collections
import hashlib
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

import truth
from truth import check


def at(element):
    return int(element.findtext("DateTimeUTC"))


def mail_or_id(person):
    address = person["id"].removeprefix("sip:")
    return address if re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", address, re.ASCII) else truth.one_line(person["id"])


def main(folder, expected, zone):
    root = ElementTree.parse(pathlib.Path(folder, "actiance_export.xml")).getroot()
    shown = [event for event in expected if event["kind"] != "platform.event"]
    days = collections.Counter()
    messages = collections.defaultdict(list)
    notes, transfers, kept_files = [], [], []
    everybody = set()
    for room in root:
        label = room.findtext("RoomID")
        start, end = int(room.findtext("StartTimeUTC")), int(room.findtext("EndTimeUTC"))
        entered = collections.Counter(entry.findtext("LoginName") for entry in room.iter("ParticipantEntered"))
        left = collections.Counter(entry.findtext("LoginName") for entry in room.iter("ParticipantLeft"))
        check(entered == left, label, "entries and leaves do not balance", entered - left, left - entered)
        for element in room:
            if element.find("DateTimeUTC") is not None and element.findtext("UpdatedType") is None:
                check(start <= at(element) <= end, label, element.tag, "outside of the day")
        spans = collections.defaultdict(list)
        for kind, entry in ((kind, entry) for kind in ("ParticipantEntered", "ParticipantLeft") for entry in room.iter(kind)):
            spans[entry.findtext("LoginName")].append((at(entry), kind))
            everybody.add(entry.findtext("LoginName"))
        for message in room.iter("Message"):
            login = message.findtext("LoginName")
            check(login in entered, label, "message of somebody who did not enter:", login)
            where = notes if message.findtext("UserType") == "bot" else messages[label]
            where.append((message, label))
        transfers += list(room.iter("FileTransferStarted"))
        ended = [element for element in room.iter("FileTransferEnded")]
        check(len(ended) == len(list(room.iter("FileTransferStarted"))), label, "file transfers without end")
        kept = [element for element in ended if element.findtext("FileName").startswith("attachments/")]
        for element in kept:
            file = pathlib.Path(folder, element.findtext("FileName"))
            check(hashlib.sha256(file.read_bytes()).hexdigest() == file.name, label, "a file is not called by its hash")
        kept_files += kept
        check(all((element.findtext("Status") == "Completed") == (element in kept) for element in ended), label, "status of files")
        days[label] += 1
    wanted_days = collections.Counter(
        f"conversation - {room}" for room, _ in {(e.get("conversation") or "no-conversation", truth.day(e, zone)) for e in expected}
    )
    check(days == wanted_days, "days of rooms", days - wanted_days, wanted_days - days)
    texts = collections.Counter()
    deleted = 0
    for label, list_of in messages.items():
        ids = {}
        for message, _ in list_of:
            kind = message.findtext("UpdatedType")
            if kind == "Deleted":
                deleted += 1
                check(message.findtext("Content").startswith("delete "), label, "deletion without its word")
                continue
            if kind == "EditedOriginalMsg":
                newer = message.findtext("EditedNewMsgId")
                check(newer and message.findtext("MessageId").startswith(newer + "."), label, "old version leads nowhere")
            texts[(label, message.findtext("LoginName"), message.findtext("Content"))] += 1
            ids.setdefault(message.findtext("MessageId"), []).append(message)
        for message, _ in list_of:
            newer = message.findtext("EditedNewMsgId")
            check(newer is None or newer in ids, label, "newest version is missing:", newer)
    authors = {e["message"]["id"]: e["actor"] for e in expected if e["kind"] == "message.sent"}
    for event in shown:
        if event["kind"] in ("message.sent", "message.edited"):
            label = f"conversation - {event['conversation']}"
            who = authors.get(event["message"]["id"], event.get("actor"))
            key = (label, mail_or_id(who), truth.xml_text(event["message"]["text"]))
            check(texts[key] > 0, "text missing:", event["seq"], key[1])
    check(deleted == sum(event["kind"] == "message.deleted" for event in shown), "deletions", deleted)
    quiet = {"message.sent", "message.edited", "message.deleted", "participant.left"}
    for event in shown:
        joined = event["kind"] == "participant.joined" and not event["participant"].get("in_lobby")
        if event["kind"] not in quiet and not joined:
            found = [note for note, _ in notes if note.findtext("MessageId") == f"event-{event['seq']}"]
            check(len(found) == 1 and at(found[0]) == truth.millis(truth.shown_at(event)), "note of", event["seq"], event["kind"])
            if event["kind"] == "capture.gap":
                check("GAP" in found[0].findtext("Content"), "gap", event["seq"])
        if event["kind"] in ("participant.joined", "participant.left"):
            check(mail_or_id(event["participant"]) in everybody, "nobody entered for", event["seq"])
    files = truth.files_of(expected)
    check(len(transfers) == len(files), "file transfers", len(transfers), len(files))
    warning = pathlib.Path(folder, "warning.txt")
    check(warning.exists(), "no warning.txt")
    check(len(kept_files) == truth.KEPT, "files that were completed", len(kept_files))
    check(f"Files that are not in the archive: {len(files) - truth.KEPT}\n" in warning.read_text(encoding="utf-8"), "files in warning.txt")
    check("record is incomplete" in warning.read_text(encoding="utf-8"), "coverage in warning.txt")


if __name__ == "__main__":
    main(sys.argv[1], truth.events(sys.argv[2]), sys.argv[3])
    truth.done()
