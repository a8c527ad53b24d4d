#!/usr/bin/env python3
"""Checks natives and their load files without Greffier: loadfile.py edrm|dat FOLDER TRUTH.jsonl ZONE"""
import collections
import email
import email.policy
import hashlib
import pathlib
import struct
import sys
import xml.etree.ElementTree as ElementTree

import truth
from truth import check


def rows_of_dat(folder):
    text = pathlib.Path(folder, "loadfile.dat").read_bytes().decode("utf-8")
    check(text.startswith("\ufeff"), "no BOM")
    check(text.endswith("\r\n") and "\n" not in text.replace("\r\n", ""), "line ends")
    rows = []
    for line in text[1:].split("\r\n")[:-1]:
        fields = line.split("\x14")
        check(all(len(f) >= 2 and f[0] == f[-1] == "\u00fe" and "\u00fe" not in f[1:-1] for f in fields), "quotes", line[:80])
        rows.append([field[1:-1].replace("\u00ae", "\n") for field in fields])
    check(len({len(row) for row in rows}) == 1, "rows differ in their number of fields")
    table = [dict(zip(rows[0], row)) for row in rows[1:]]
    pages = pathlib.Path(folder, "loadfile.opt").read_bytes().decode("ascii").split("\r\n")[:-1]
    check([page.split(",")[0] for page in pages] == [row["BEGDOC"] for row in table], "OPT and DAT differ")
    for page in pages:
        key, volume, path, first, _, _, count = page.split(",")
        check((volume, first, count) == ("VOL001", "Y", "1"), "page", page)
        tiff = pathlib.Path(folder, *path.removeprefix(".\\").split("\\")).read_bytes()
        check(pixels(tiff) > 1000, "empty page", key)
    for row in table:
        yield {
            "id": row["BEGDOC"], "native": row["NATIVELINK"], "text": row["TEXTLINK"], "size": row["FILESIZE"],
            "md5": row["MD5HASH"], "sha256": row["SHA256HASH"], "room": row["CONVERSATIONID"], "events": row["EVENTCOUNT"],
            "zone": row["TIMEZONE"], "name": row["CONVERSATIONNAME"], "people": row["PARTICIPANTS"],
            "day": "{2}-{0}-{1}".format(*row["DATESENT"].split("/")),
        }


def pixels(tiff):
    """Black pixels of a one-strip PackBits TIFF; fails where it is not one."""
    check(tiff[:4] == b"II*\0", "not a TIFF")
    (at,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, at)
    tags = {}
    for n in range(count):
        tag, kind, number, value = struct.unpack_from("<HHII", tiff, at + 2 + 12 * n)
        check(number == 1, "TIFF tag", tag)
        tags[tag] = value & 0xFFFF if kind == 3 else value
    strip = tiff[tags[273] : tags[273] + tags[279]]
    out = bytearray()
    n = 0
    while n < len(strip):
        head = strip[n]
        if head < 128:
            out += strip[n + 1 : n + 2 + head]
            n += 2 + head
        else:
            out += strip[n + 1 : n + 2] * (257 - head)
            n += 2
    check(len(out) == (tags[256] + 7) // 8 * tags[257], "TIFF strip length")
    return sum(bin(byte).count("1") for byte in out)


def rows_of_edrm(folder):
    root = ElementTree.parse(pathlib.Path(folder, "edrm.xml")).getroot()
    keys = {field.get("Key") for field in root.iter("Field")}
    documents = [d for d in root.iter("Document") if d.get("DocID")]
    filed = [d.get("DocId") for d in root.iter("Document") if d.get("DocId")]
    check([d.get("DocID") for d in documents] == filed, "documents and folders differ")
    for document in documents:
        value = {field.tag: field.text or "" for field in document.find("FieldValues")}
        check(set(value) <= keys, "field without definition")
        native, text = (
            next(f.find("ExternalFile") for f in document.iter("File") if f.get("FileType") == kind) for kind in ("Native", "Text")
        )
        path = lambda file: f"{file.get('FilePath')}\\{file.get('FileName')}"
        written = pathlib.Path(folder, text.get("FilePath"), text.get("FileName")).read_bytes()
        check(hashlib.md5(written).hexdigest() == text.get("Hash"), "MD5 of a text")
        check(hashlib.sha256(written).hexdigest() == value["TextSha256"], "SHA-256 of a text")
        yield {
            "id": document.get("DocID"), "native": path(native), "text": path(text), "size": native.get("FileSize"),
            "md5": native.get("Hash"), "sha256": value["Sha256"], "room": value["ConversationId"], "events": value["EventCount"],
            "zone": value["TimeZone"], "name": value["ConversationName"], "people": value["Participants"], "day": value["Day"],
        }


def main(kind, folder, expected, zone):
    events = collections.Counter((e.get("conversation") or "no-conversation", truth.day(e, zone)) for e in expected)
    found = collections.Counter()
    ids = set()
    texts = collections.defaultdict(str)
    for row in {"dat": rows_of_dat, "edrm": rows_of_edrm}[kind](folder):
        local = lambda link: pathlib.Path(folder, *link.removeprefix(".\\").split("\\"))
        native = local(row["native"]).read_bytes()
        check(str(len(native)) == row["size"], row["id"], "size")
        check(hashlib.md5(native).hexdigest() == row["md5"], row["id"], "MD5")
        check(hashlib.sha256(native).hexdigest() == row["sha256"], row["id"], "SHA-256")
        message = email.message_from_bytes(native, policy=email.policy.default)
        check(message["X-RSMF-EventCollectionID"] == row["room"], row["id"], "native of another conversation")
        check(message["X-RSMF-Day"] == row["day"] and row["zone"] == zone, row["id"], "native of another day")
        text = local(row["text"]).read_bytes().decode("utf-8")
        check(message.get_body().get_content().replace("\r\n", "\n").rstrip() == text.rstrip(), row["id"], "text")
        found[(row["room"], row["day"])] += int(row["events"])
        check(row["id"] not in ids, row["id"], "twice")
        ids.add(row["id"])
        texts[(row["room"], row["day"])] += text
    check(found == events, "events", found - events, events - found)
    for n, e in enumerate(expected):
        if e["kind"] == "message.sent" and (n < 300 or n % 100 == 0):
            line = truth.one_line(e["message"]["text"].split("\n")[0])
            check(line in texts[(e["conversation"], truth.day(e, zone))], "text of", e["seq"])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], truth.events(sys.argv[3]), sys.argv[4])
    truth.done()
