"""Checks the description of the JSON interface, and every answer against it.

usage: check.py HOST:PORT CONVERSATION...
Every operation of the description must be asked at least once with status 200, so that none can be forgotten here.
"""

import hashlib
import http.client
import json
import sys
import urllib.parse

import jsonschema
from openapi_spec_validator import validate

address, conversations = sys.argv[1], sys.argv[2:]
connection = http.client.HTTPConnection(address, timeout=60)


def fetch(path, headers={}):
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


status, headers, body = fetch("/api/v1/openapi.json")
assert status == 200, status
document = json.loads(body)
validate(document)
assert document["openapi"].startswith("3.1"), document["openapi"]
asked = {}


def schema_of(template, status):
    response = document["paths"][template]["get"]["responses"][str(status)]
    return response.get("content", {}).get("application/json", {}).get("schema")


def strict(schema):
    """The same schema, in which an object may have described members only: what is not described is found."""
    return {"components": document["components"], **schema}


def members(value, schema, where):
    """Every member that an answer has must be described."""
    if "$ref" in schema:
        return members(value, resolve(schema["$ref"]), where)
    if isinstance(value, list):
        for item in value:
            members(item, schema.get("items", {}), where + "[]")
    if not isinstance(value, dict) or free(schema):
        return
    known = properties(schema)
    for name, member in value.items():
        assert name in known, f"{where}.{name} is not described"
        for described in known[name]:
            members(member, described, f"{where}.{name}")


def resolve(reference):
    node = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def free(schema):
    """Whether a schema leaves open what an object holds."""
    if "$ref" in schema:
        return free(resolve(schema["$ref"]))
    if "additionalProperties" in schema or "propertyNames" in schema:
        return True
    parts = schema.get("allOf", []) + schema.get("oneOf", []) + schema.get("anyOf", [])
    return not properties(schema) if not parts else any(free(part) for part in parts if part.get("type") != "null")


def properties(schema):
    if "$ref" in schema:
        return properties(resolve(schema["$ref"]))
    found = {name: [member] for name, member in schema.get("properties", {}).items()}
    for part in schema.get("allOf", []) + schema.get("oneOf", []) + schema.get("anyOf", []):
        for name, described in properties(part).items():
            found.setdefault(name, []).extend(described)
    return found


def check(template, query="", wanted=200, **names):
    path = template
    for name, value in names.items():
        path = path.replace("{" + name + "}", urllib.parse.quote(str(value), safe=""))
    query = urllib.parse.urlencode(query) if isinstance(query, dict) else query
    path += "?" + query if query else ""
    status, headers, body = fetch(path)
    assert status == wanted, (path, status, body[:500])
    kind = headers["content-type"]
    asked.setdefault(template, set()).add(status)
    if kind != "application/json":
        return body
    answer = json.loads(body)
    schema = schema_of(template, status)
    assert schema, (path, status, "is not described")
    jsonschema.Draft202012Validator(
        strict(schema), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(answer)
    members(answer, schema, template)
    return answer


def walk(template, rows, after, **query):
    while True:
        answer = check(template.split("?")[0], query, **names)
        yield from answer[rows]
        if "next" not in answer:
            return
        query[after] = answer["next"]


V1 = "/api/v1"
names = {}
listed = list(walk(f"{V1}/conversations", "conversations", "after", limit=2))
assert sorted(row["id"] for row in listed) == sorted(conversations), listed
check(f"{V1}/conversations", {"state": "live", "coverage": "complete", "participant": "alice"})
check(f"{V1}/conversations", {"limit": 0}, wanted=400)
events = 0
for row in listed:
    check(f"{V1}/conversations/{{id}}", id=row["id"])
    names = {"id": row["id"]}
    found = list(walk(f"{V1}/conversations/{{id}}/events", "events", "after", limit=100))
    assert sum(event["kind"] == "message.sent" for event in found) == row["messages"], row
    events += len(found)
    check(f"{V1}/conversations/{{id}}/events", {"before": "end", "limit": 5}, **names)
names = {}
check(f"{V1}/conversations/{{id}}", wanted=404, id="c_00000000000000000000000000")
check(f"{V1}/conversations/{{id}}/events", {"after": "x"}, wanted=400, id=conversations[0])
check(f"{V1}/conversations/{{id}}/events", wanted=404, id="c_00000000000000000000000000")

log = list(walk(f"{V1}/events", "events", "from", limit=500))
assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
assert len(log) == events
check(f"{V1}/events", {"from": "x"}, wanted=400)
for event in [log[0], log[len(log) // 2], log[-1]]:
    assert check(f"{V1}/events/{{seq}}", seq=event["seq"]) == event
    proof = check(f"{V1}/events/{{seq}}/proof", seq=event["seq"])
    assert proof["proof"]["leaf"] == event["leaf_hash"] and proof["checkpoint"] and proof["public_key"]
check(f"{V1}/events/{{seq}}", wanted=404, seq=0)

# The files of messages: what is kept is sent whole, and what is not is a clear answer.
files = [
    (event["seq"], number, file)
    for event in log
    for number, file in enumerate(event.get("message", {}).get("attachments", []), 1)
]
kept = [file for *_, file in files if "sha256" in file]
assert 0 < len(kept) < len(files), files
for seq, number, file in files:
    sent = check(f"{V1}/events/{{seq}}/attachments/{{number}}", wanted=200 if "sha256" in file else 404, seq=seq, number=number)
    assert "sha256" not in file or hashlib.sha256(sent).hexdigest() == file["sha256"], file
check(f"{V1}/events/{{seq}}/attachments/{{number}}", wanted=400, seq="x", number=1)
check(f"{V1}/events/{{seq}}/attachments/{{number}}", wanted=404, seq=files[0][0], number="x")
check(f"{V1}/events/{{seq}}/proof", wanted=404, seq=len(log) + 1)

for word in ["crane", "harbour", "kind:participant.joined", "from:alice"]:
    hits = list(walk(f"{V1}/search", "hits", "after", q=word, facets="true", limit=200))
    assert hits and all(log[hit["seq"] - 1]["kind"] == hit["kind"] for hit in hits), word
check(f"{V1}/search", {"q": "(open"}, wanted=400)

people = list(walk(f"{V1}/people", "people", "after", limit=2))
for person in people:
    check(f"{V1}/people/{{id}}", id=person["id"])
check(f"{V1}/people/{{id}}", wanted=404, id="nobody")
for name in ["status", "checkpoint", "totals", "gaps", "formats"]:
    check(f"{V1}/{name}")
days = check(f"{V1}/activity", {"since": "2026-01-01", "until": "2027-01-01"})["days"]
assert sum(day["events"] for day in days) == len(log), days
check(f"{V1}/activity", {"since": "x"}, wanted=400)
check(f"{V1}/gaps", {"limit": 0}, wanted=400)

exported = check(f"{V1}/export", {"format": "jsonl", "file": "only", "since": "1970-01-01"})
assert [json.loads(line) for line in exported.splitlines()] == log
check(f"{V1}/export", {"format": "none"}, wanted=400)
check(f"{V1}/export", {"format": "jsonl", "since": "2040-01-01"}, wanted=404)

# The stream has no end: as much of it as there is now.
connection.request("GET", f"{V1}/live?after={len(log) - 3}")
stream = connection.getresponse()
assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
heard = []
while len(heard) < 3:
    line = stream.readline().decode()
    if line.startswith("data:"):
        heard.append(json.loads(line[5:]))
assert heard == log[-3:]
asked[f"{V1}/live"] = {200}
connection.close()

forgotten = [path for path in document["paths"] if 200 not in asked.get(path, ())]
assert not forgotten, forgotten
print(len(document["paths"]), "operations,", len(log), "events,")
print("good")
