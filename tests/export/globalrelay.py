#!/usr/bin/env python3
"""Checks a Global Relay export without Greffier: globalrelay.py FOLDER TRUTH.jsonl ZONE"""
import collections
import email
import email.policy
import hashlib
import html.parser
import pathlib
import re
import sys

import truth
from truth import check


class Page(html.parser.HTMLParser):
    """Cells of the table and lines of the list, as a reader sees them."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.items, self.into, self.tags = [], [], None, set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        check(not attrs or attrs == [("charset", "utf-8")], "attributes in HTML:", attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.into = self.rows[-1]
        if tag == "li":
            self.items.append("")
            self.into = self.items
        if tag == "br" and self.into:
            self.into[-1] += "\n"

    def handle_endtag(self, tag):
        if tag in ("td", "th", "li"):
            self.into = None

    def handle_data(self, data):
        if self.into:
            self.into[-1] += data


TAGS = {"html", "head", "meta", "title", "body", "h1", "h2", "ul", "li", "table", "tr", "th", "td", "br", "p"}


HEAD = re.compile(r"(.*?) \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


class Day:
    """All parts of a day of a room."""

    def __init__(self):
        self.items, self.plain, self.rows, self.last, self.files = collections.defaultdict(list), [], [], [], 0
        self.hashes = []


def read(path, days):
    data = path.read_bytes()
    check(max(map(len, data.split(b"\r\n"))) <= 998, path.name, "line too long")
    message = email.message_from_bytes(data, policy=email.policy.default)
    check(not message.defects and not any(part.defects for part in message.walk()), path.name, "defects")
    check(message.get_content_type() == "multipart/mixed", path.name, "type")
    for name in ("From", "To", "Subject", "Date", "Message-ID", "X-GlobalRelay-MsgType", "X-Greffier-ChannelID"):
        check(message[name], path.name, "no", name)
    check(message["Auto-Submitted"] == "auto-generated" and message["Precedence"] == "bulk", path.name, "headers")
    check(message["Bcc"] is None and message["X-Injected"] is None, path.name, "a header got in")
    room = message["X-Greffier-ChannelID"]
    day = days[(room, re.search(r"\d{4}-\d\d-\d\d", path.name.removeprefix(room)).group())]
    rich = Page(message.get_body(("html",)).get_content())
    check(rich.tags <= TAGS, path.name, "tags", rich.tags - TAGS)
    for item in rich.items:
        head = HEAD.match(item)
        if head:
            day.items[head[1]].append(item)
    day.plain.append(message.get_body(("plain",)).get_content().replace("\r\n", "\n"))
    day.rows += rich.rows[1:]
    day.last.append(message["Date"].datetime.timestamp())
    day.files += len(list(message.iter_attachments()))
    day.hashes += [hashlib.sha256(part.get_payload(decode=True)).hexdigest() for part in message.iter_attachments()]


def main(folder, expected, zone):
    days = collections.defaultdict(Day)
    for path in sorted(pathlib.Path(folder).rglob("*.eml")):
        read(path, days)
    wanted = collections.defaultdict(list)
    for e in expected:
        wanted[(e.get("conversation") or "no-conversation", truth.day(e, zone))].append(e)
    check(set(days) == set(wanted), "days", set(days) ^ set(wanted))
    for key, here in wanted.items():
        day, plain = days[key], "\n".join(days[key].plain)
        check(max(day.last) == truth.millis(max(map(truth.shown_at, here))) // 1000, key, "date")
        people = {row[0] for row in day.rows}
        for n, e in enumerate(here):
            kind, seq = e["kind"], e["seq"]
            if kind in ("message.sent", "message.edited", "message.deleted"):
                message_id = truth.one_line(e["message"]["id"])
                old = [items for known, items in day.items.items() if known.startswith(message_id + ".")] if len(here) < 200 else []
                items = day.items[message_id] + day.items[f"{message_id}.{seq}"] + sum(old, [])
            else:
                items = day.items[f"event-{seq}"]
            check(items, key, "not told:", seq, kind)
            if kind in ("message.sent", "message.edited"):
                shown = "\n".join(map(truth.one_line, e["message"]["text"].split("\n")))
                check(any(f": {shown}" in item for item in items), key, "text of", seq)
                if len(here) < 200 or n % 100 == 0:
                    check(shown.replace("\n", "\n    | ") in plain, key, "plain text of", seq)
            if kind == "message.sent":
                check(truth.one_line(e["actor"]["id"]) in people, key, "not in the table:", seq)
            if kind == "message.edited":
                check(any("EditedNewMsg" in i or "EditedOriginalMsg" in i for i in items), key, "edit", seq)
            if kind == "message.deleted":
                check(any(f"[Deleted {truth.shown_at(e)}]" in i for i in items), key, "deletion", seq)
            if kind == "participant.joined" and not e["participant"].get("in_lobby"):
                joined = [row[4] for row in day.rows if row[0] == truth.one_line(e["participant"]["id"])]
                check(truth.shown_at(e) in joined, key, "join", seq, joined)
        sent = collections.Counter(truth.one_line(e["actor"]["id"]) for e in here if e["kind"] == "message.sent")
        told = collections.Counter()
        for row in day.rows:
            told[row[0]] += int(row[7])
        check(+told == sent, key, "messages of people", told - sent, sent - told)
    files = truth.files_of(expected)
    hashes = [one for day in days.values() for one in day.hashes]
    check(sum(file.get("sha256") in hashes for file in files) == truth.KEPT, "bytes of kept files", hashes)
    check(sum(day.files for day in days.values()) == len(files), "attachments", len(files))


if __name__ == "__main__":
    main(sys.argv[1], truth.events(sys.argv[2]), sys.argv[3])
    truth.done()
