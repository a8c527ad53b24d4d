"""What the archive holds, read from a JSON Lines export of the same selection, and small things that the checks share."""
import datetime
import json
import sys
import zoneinfo

PROBLEMS = []


def check(good, *what):
    """Notes a problem; goes on."""
    if not good:
        PROBLEMS.append(" ".join(str(part) for part in what))


def done():
    """Ends the check: `good` and status 0, or every problem and status 1."""
    for problem in PROBLEMS[:50]:
        print(problem)
    if PROBLEMS:
        print(len(PROBLEMS), "problems")
        sys.exit(1)
    print("good")


def events(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines.read().split("\n") if line]


# Kept when the archive was made (tests/export/review.rs); the third that has a hash was not.
KEPT = 2


def files_of(events):
    """The attachments of all messages."""
    return [a for e in events if e["kind"].startswith("message.") for a in e["message"].get("attachments", [])]


def shown_at(event):
    return event.get("source_time") or event["recorded_at"]


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def millis(text):
    return round(instant(text).timestamp() * 1000)


def day(event, zone):
    return instant(shown_at(event)).astimezone(zoneinfo.ZoneInfo(zone)).date().isoformat()


def is_lost(c):
    return ord(c) < 32 and c not in "\t\n" or c in "\ufffe\uffff"


def xml_text(text):
    """As XML can hold it: what it cannot hold is told by number."""
    return "".join(f"<U+{ord(c):04X}>" if is_lost(c) else c for c in text)


def is_harmful(c):
    n = ord(c)
    return (
        n < 32 or 0x7F <= n < 0xA0 or n in (0x2028, 0x2029) or 0x202A <= n <= 0x202E or 0x2066 <= n <= 0x2069
        or 0xFFF9 <= n <= 0xFFFB or 0xE0000 <= n <= 0xE007F
    )


def one_line(text):
    """As a transcript shows text of strangers."""
    return "".join(" " if c == "\t" else f"<U+{ord(c):04X}>" if is_harmful(c) else c for c in text)
