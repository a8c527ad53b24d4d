#!/usr/bin/env python3
"""Checks a Global Relay export without Greffier: globalrelay.py FOLDER TRUTH.jsonl ZONE"""
import collections
import email
import email.policy
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


def main(folder, expected, zone):
    paths = sorted(pathlib.Path(folder).rglob("*.eml"))
    days = {(e.get("conversation") or "no-conversation", truth.day(e, zone)) for e in expected}
    check(len(paths) == len(days), "messages", len(paths), len(days))
    all_items = collections.defaultdict(list)
    attachments = 0
    for path in paths:
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
        day = re.search(r"\d{4}-\d\d-\d\d", path.name.removeprefix(room)).group()
        here = [e for e in expected if (e.get("conversation") or "no-conversation", truth.day(e, zone)) == (room, day)]
        last = max(truth.shown_at(e) for e in here)
        check(message["Date"].datetime.timestamp() == truth.millis(last) // 1000, path.name, "date")
        plain = message.get_body(("plain",)).get_content()
        rich = Page(message.get_body(("html",)).get_content())
        check(rich.tags <= TAGS, path.name, "tags", rich.tags - TAGS)
        people = {row[0]: row for row in rich.rows[1:]}
        for e in here:
            said = e.get("message", {}).get("text")
            head = None
            if e["kind"] == "message.sent":
                head = [i for i in rich.items if i.startswith((truth.one_line(e["message"]["id"]) + " ", truth.one_line(e["message"]["id"]) + "."))]
                check(truth.one_line(e["actor"]["id"]) in people, path.name, "not in the table:", e["seq"])
            elif e["kind"] not in ("message.edited", "message.deleted"):
                head = [i for i in rich.items if i.startswith(f"event-{e['seq']} ")]
            check(head is None or head, path.name, "not told:", e["seq"], e["kind"])
            if e["kind"] in ("message.sent", "message.edited"):
                shown = "\n".join(truth.one_line(line) for line in said.split("\n"))
                check(any(shown in item for item in rich.items), path.name, "text of", e["seq"])
                check(shown.replace("\n", "\n    | ") in plain.replace("\r\n", "\n"), path.name, "plain text of", e["seq"])
            if e["kind"] == "message.edited":
                check(any("EditedNewMsg" in item or "EditedOriginalMsg" in item for item in rich.items), path.name, "edit", e["seq"])
            if e["kind"] == "message.deleted":
                check(any(f"[Deleted {truth.shown_at(e)}]" in item for item in rich.items), path.name, "deletion", e["seq"])
            if e["kind"] == "participant.joined" and not e["participant"].get("in_lobby"):
                row = people.get(truth.one_line(e["participant"]["id"]))
                check(row and truth.instant(row[4]) <= truth.instant(truth.shown_at(e)), path.name, "join", e["seq"])
        for who, row in people.items():
            sent = sum(e["kind"] == "message.sent" and truth.one_line(e["actor"]["id"]) == who for e in here)
            rows = [int(r[7]) for r in rich.rows[1:] if r[0] == who]
            check(sum(rows) == sent, path.name, "messages of", who, rows, sent)
        attachments += len(list(message.iter_attachments()))
        all_items[room] += rich.items
    files = [a for e in expected if e["kind"].startswith("message.") for a in e["message"].get("attachments", [])]
    check(attachments == len(files), "attachments", attachments, len(files))


if __name__ == "__main__":
    main(sys.argv[1], truth.events(sys.argv[2]), sys.argv[3])
    truth.done()
