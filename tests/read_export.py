#!/usr/bin/env python3
"""Reads exports with the readers of Python's standard library and prints what it found as JSON, for tests that compare
that with the archive.

    read_export.py csv FILE        rows as objects, texts without the guarding apostrophe
    read_export.py html FILE       items of the transcript, elements and addresses of the page
    read_export.py eml FILE        one message
    read_export.py mbox FILE       all messages
    read_export.py zip FILE        names, times and modes of the entries
"""
import csv
import email
import email.policy
import hashlib
import html.parser
import json
import mailbox
import sys
import zipfile


def read_csv(path):
    with open(path, encoding="utf-8-sig", newline="") as f:
        rows = list(csv.DictReader(f, strict=True))
    raw = [cell for row in rows for cell in row.values()]
    return {"cells": raw, "rows": [{name: cell[1:] if cell.startswith("'") else cell for name, cell in row.items()} for row in rows]}


class Page(html.parser.HTMLParser):
    VOID = {"meta", "br", "link", "img", "input", "hr"}

    def __init__(self):
        super().__init__()
        self.items, self.elements, self.addresses, self.stack, self.attributes = [], {}, [], [], []

    def handle_starttag(self, tag, attrs):
        self.elements[tag] = self.elements.get(tag, 0) + 1
        attrs = dict(attrs)
        self.attributes += list(attrs)
        self.addresses += [attrs[name] for name in ("href", "src", "action") if name in attrs]
        if tag not in self.VOID:
            self.stack.append((tag, attrs.get("class") or ""))
        if tag == "li":
            self.items.append({"id": attrs["id"], "class": attrs.get("class", ""), "who": "", "said": None, "time": None, "text": ""})
        if tag == "time" and self.items:
            self.items[-1]["time"] = attrs["datetime"]
        if tag == "p" and attrs.get("class") == "said":
            self.items[-1]["said"] = ""

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1][0] == tag, "unbalanced %s in %s" % (tag, self.stack[-3:])
        self.stack.pop()

    def handle_data(self, data):
        if any(tag == "li" for tag, _ in self.stack):
            item = self.items[-1]
            item["text"] += data
            if self.stack[-1] == ("p", "said"):
                item["said"] += data
            if self.stack[-1] == ("bdi", "who"):
                item["who"] += data


def read_html(path):
    page = Page()
    with open(path, encoding="utf-8", newline="") as f:
        page.feed(f.read())
    page.close()
    assert not page.stack, page.stack
    return {"items": page.items, "elements": page.elements, "addresses": page.addresses, "attributes": sorted(set(page.attributes))}


def message(parsed):
    leaves = [part for part in parsed.walk() if not part.is_multipart()]
    bodies = {part.get_content_type(): part.get_content() for part in leaves if not part.is_attachment()}
    files = [part for part in leaves if part.is_attachment()]
    return {
        "defects": [type(defect).__name__ for part in parsed.walk() for defect in part.defects],
        "headers": {name.lower(): str(value) for name, value in parsed.items()},
        "names": [name.lower() for name in parsed.keys()],
        "from": [(a.display_name, a.addr_spec) for a in parsed["from"].addresses],
        "to": [(a.display_name, a.addr_spec) for a in parsed["to"].addresses],
        "date": parsed["date"].datetime.timestamp(),
        "text": bodies.get("text/plain"),
        "html": bodies.get("text/html"),
        "types": sorted(bodies),
        "attachments": [
            [part.get_filename(), part.get_content_type(), hashlib.sha256(part.get_payload(decode=True)).hexdigest()]
            for part in files
        ],
    }


def read_eml(path):
    with open(path, "rb") as f:
        return message(email.message_from_binary_file(f, policy=email.policy.default))


def read_mbox(path):
    box = mailbox.mbox(path, factory=lambda f: email.message_from_binary_file(f, policy=email.policy.default), create=False)
    return [message(one) for one in box]


def read_zip(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return [[one.filename, list(one.date_time), one.external_attr >> 16] for one in archive.infolist()]


if __name__ == "__main__":
    reader = {"csv": read_csv, "html": read_html, "eml": read_eml, "mbox": read_mbox, "zip": read_zip}[sys.argv[1]]
    json.dump(reader(sys.argv[2]), sys.stdout, ensure_ascii=True)
