#!/usr/bin/env python3
"""Checks an export of Greffier without Greffier, from docs/FORMATS.md alone. Python standard library only.

    verify_export.py PATH [--key VKEY]      the export PATH: a file with its companions beside it, a folder, or a .zip
    verify_export.py --vectors DIR          the pinned examples

Exit status: 0 good, 1 cannot be read, 2 usage, 4 something does not fit (every finding is told).
"""
import base64
import datetime
import hashlib
import json
import os
import re
import sys
import zipfile

HEX = re.compile(r"[0-9a-f]{64}\Z")
NOT_CONTENT = {"v", "seq", "conversation", "connector", "platform", "kind", "source_time", "recorded_at", "leaf_hash"}


class Bad(Exception):
    """Something does not fit."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# ---- Ed25519, RFC 8032 section 5.1

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
I = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * I % P
    if (x * x - x2) % P:
        return None
    return P - x if x & 1 != sign else x


BY = 4 * pow(5, P - 2, P) % P
BX = recover_x(BY, 0)
BASE = (BX, BY, 1, BX * BY % P)


def add(a, b):
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(n, point):
    sum_ = (0, 1, 1, 0)
    while n:
        if n & 1:
            sum_ = add(sum_, point)
        point = add(point, point)
        n >>= 1
    return sum_


def unpack(bytes_):
    y = int.from_bytes(bytes_, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def ed25519_verify(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = unpack(public), unpack(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(h, a))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# ---- canonical content, leaf, tree, checkpoint: FORMATS sections 1 to 5


def no_float(text):
    raise Bad("a number that is not an integer")


def no_twice(pairs):
    names = [name for name, _ in pairs]
    if len(names) != len(set(names)):
        raise Bad("a member name occurs twice")
    return dict(pairs)


def read_json(text):
    try:
        value = json.loads(text, parse_float=no_float, parse_constant=no_float, object_pairs_hook=no_twice)
    except (ValueError, RecursionError) as error:
        raise Bad("not JSON: %s" % type(error).__name__)
    if not isinstance(value, dict):
        raise Bad("not a JSON object")
    return value


def canonical(content):
    # json.dumps writes the escapes of section 1, and sorts names by code point.
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def header(origin, seq, connector, conversation, kind, source_time, recorded_at, envelope, content):
    lines = ["greffier/leaf/v1", origin, str(seq), connector, conversation, kind,
             "" if source_time is None else str(source_time), str(recorded_at), envelope or "", content]
    for line in lines:
        if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in line):
            raise Bad("a control character in the header")
    return "".join(line + "\n" for line in lines).encode("utf-8")


def leads_to(leaf, index, size, path, root):
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = sha256(b"\1", p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\1", r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def tree_root(leaves):
    if not leaves:
        return sha256()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\1", tree_root(leaves[:k]), tree_root(leaves[k:]))


def open_note(note, vkey):
    """Origin, size and root of a checkpoint, if the key signed it."""
    name, key_id, key = vkey.strip().split("+", 2)
    key = base64.b64decode(key, validate=True)
    if len(key) != 33 or key[0] != 1 or sha256(name.encode(), b"\n", key)[:4].hex() != key_id:
        raise Bad("the public key is malformed")
    text, signatures = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2:]
    signed = False
    for line in signatures.split("\n")[:-1]:
        dash, signer, value = line.split(" ")
        value = base64.b64decode(value, validate=True)
        if dash != "\u2014":
            raise Bad("a line of the checkpoint is not a signature")
        if signer == name and value[:4].hex() == key_id:
            if not ed25519_verify(key[1:], text.encode("utf-8"), value[4:]):
                raise Bad("the signature of the checkpoint does not fit")
            signed = True
    if not signed:
        raise Bad("the checkpoint is not signed by %s" % vkey)
    lines = text.split("\n")
    root = base64.b64decode(lines[2], validate=True)
    if str(int(lines[1])) != lines[1] or len(root) != 32:
        raise Bad("the checkpoint is malformed")
    return lines[0], int(lines[1]), root


# ---- an export: FORMATS section 7


def micros(text):
    t = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    return (t - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)


def hash32(text):
    if not isinstance(text, str) or not HEX.match(text):
        raise Bad("a hash that is not 64 hex digits")
    return bytes.fromhex(text)


def same_time(shown, stored, what):
    if (shown is None) != (stored is None):
        raise Bad("%s is there on one side only" % what)
    if shown is not None and micros(shown) != stored // 1000 * 1000:
        raise Bad("%s is not the one that was hashed" % what)


class Package:
    """The files of an export: beside a file, in a folder, or in a ZIP archive."""

    def __init__(self, path):
        self.path, self.zip = path, None
        self.single = not os.path.isdir(path)
        if self.single and zipfile.is_zipfile(path) and not os.path.exists(path + ".manifest.json"):
            self.zip, self.single = zipfile.ZipFile(path), False

    def companion(self, name):
        return "%s.%s" % (os.path.basename(self.path), name) if self.single else name

    def open(self, name):
        if self.zip:
            return self.zip.open(name)
        if not name or any(part in ("", ".", "..") for part in name.split("/")):
            raise FileNotFoundError(2, "no such file", name)
        return open(os.path.join(os.path.dirname(self.path) if self.single else self.path, name), "rb")

    def names(self):
        if self.zip:
            return [entry.filename for entry in self.zip.infolist()]
        return [os.path.relpath(os.path.join(place, name), self.path) for place, _, names in os.walk(self.path) for name in names]


def check_event(event, proof, origin, checkpoint):
    if event.get("v") != 1:
        raise Bad("not an event of version 1")
    same_time(event["recorded_at"], proof["recorded_at"], "recorded_at")
    same_time(event.get("source_time"), proof.get("source_time"), "source_time")
    content = {name: value for name, value in event.items() if name not in NOT_CONTENT}
    if "salt" in proof:
        commitment = sha256(hash32(proof["salt"]), canonical(content))
    else:
        if content:
            raise Bad("content without a salt")
        commitment = hash32(proof["content"])
    if event["leaf_hash"] != proof["leaf"]:
        raise Bad("the leaf hash does not fit: the event was changed")
    check_leaf(event, proof, origin, checkpoint, commitment)


def check_leaf(told, proof, origin, checkpoint, commitment):
    seq = told["seq"]
    if proof["seq"] != seq or proof["origin"] != origin:
        raise Bad("the proof is of another event")
    for member in (proof["recorded_at"], proof.get("source_time", 0), seq):
        if type(member) is not int:
            raise Bad("a number is something else")
    if "envelope" in proof:
        hash32(proof["envelope"])
    leaf = sha256(b"\0", header(origin, seq, told["connector"], told.get("conversation", ""), told["kind"],
                                proof.get("source_time"), proof["recorded_at"], proof.get("envelope"), commitment.hex()))
    if leaf.hex() != proof["leaf"]:
        raise Bad("the leaf hash does not fit: the event was changed")
    if checkpoint and seq <= checkpoint[1]:
        if "path" not in proof:
            raise Bad("no path to the checkpoint")
        if not leads_to(leaf, seq - 1, checkpoint[1], [hash32(p) for p in proof["path"]], checkpoint[2]):
            raise Bad("the path does not lead to the signed root")


def verify(path, key):
    findings, notes = [], []
    package = Package(path)
    with package.open(package.companion("manifest.json")) as f:
        manifest = read_json(f.read().decode("utf-8"))
    if manifest.get("greffier_export") != 1:
        raise Bad("the manifest is not of version 1")
    origin = manifest["origin"]
    for entry in manifest["files"]:
        hash_, size = hashlib.sha256(), 0
        try:
            with package.open(entry["name"]) as f:
                for piece in iter(lambda: f.read(1 << 20), b""):
                    hash_.update(piece)
                    size += len(piece)
        except (FileNotFoundError, KeyError):
            findings.append("%s: not there" % entry["name"])
            continue
        except zipfile.BadZipFile:
            pass
        if (hash_.hexdigest(), size) != (entry["sha256"], entry["bytes"]):
            findings.append("%s: not the file that the manifest describes" % entry["name"])
    checkpoint = None
    if "checkpoint" in manifest:
        vkey = key or manifest.get("public_key")
        if vkey is None:
            findings.append("checkpoint: no key to check it with")
        else:
            try:
                checkpoint = open_note(manifest["checkpoint"], vkey)
                if checkpoint[:2] != (origin, manifest["checkpoint_size"]):
                    findings.append("checkpoint: it is of another log or size")
            except (Bad, ValueError, IndexError) as error:
                findings.append("checkpoint: %s" % (error if isinstance(error, Bad) else "malformed"))
        if not key:
            notes.append("the key was taken from the manifest; compare it with the one you trust: %s" % vkey)
    elif key:
        findings.append("checkpoint: there is none, nothing is signed by the key that was given")
    else:
        notes.append("no checkpoint: nothing is signed")
    listed = [entry["name"] for entry in manifest["files"]]
    proofs, readme = package.companion("proofs.jsonl"), package.companion("README.txt")
    folder = package.companion("attachments") + "/"
    for entry in manifest["files"]:
        if entry["name"].startswith(folder) and entry["name"][len(folder):] != entry["sha256"]:
            findings.append("%s: not called by its hash" % entry["name"])
    content = [name for name in listed if name not in (proofs, readme) and not name.startswith(folder)]
    lines = content[0] if manifest["format"] == "jsonl" and content else None
    if len(set(listed)) != len(listed) or (package.single and content != [os.path.basename(path)]) or \
            (manifest["format"] == "jsonl" and len(content) != 1):
        findings.append("manifest: it lists other files")
    if not package.single and sorted(package.names()) != sorted(listed + ["manifest.json"]):
        findings.append("manifest: it does not list the files that are there")
    if proofs not in listed:
        (findings if lines else notes).append("there are no proofs: only the hashes of files can be checked")
        return findings, notes
    seqs = check_lines(package, lines, proofs, origin, checkpoint, manifest, findings, notes)
    if lines and manifest["selection"] in ({}, {"since": "1970-01-01T00:00:00.000Z"}) and seqs != manifest["log_size"]:
        findings.append("manifest: the whole log was asked for, %d events are there, the log had %d" % (seqs, manifest["log_size"]))
    if not lines:
        notes.append("time, kind, conversation and place of each event were proven; the words only by the manifest's hashes")
    return findings, notes


def check_lines(package, shown, proofs, origin, checkpoint, manifest, findings, notes):
    """`shown` = the file whose lines are events as they are; None = the proofs tell what the leaves are made of."""
    kinds, gaps, gap_events, conversations, named = {}, [], {}, set(), set()
    count, last, first, newer, erased = 0, 0, None, 0, 0
    try:
        proof_lines = package.open(proofs)
        lines = package.open(shown) if shown else None
    except (FileNotFoundError, KeyError):
        return 0
    while True:
        proof_line = proof_lines.readline()
        line = lines.readline() if lines else proof_line
        if not line and not proof_line:
            break
        count += 1
        where = "line %d" % count
        try:
            if not line or not proof_line:
                raise Bad("%s has no more lines" % ("the proofs" if line else "the export"))
            event, proof = read_json(line.decode("utf-8")), read_json(proof_line.decode("utf-8"))
            if type(event.get("seq")) is int:
                where = "line %d, seq %d" % (count, event["seq"])
                if event["seq"] <= last:
                    findings.append("%s: out of order" % where)
                last = max(last, event["seq"])
                first = event["seq"] if first is None else first
            if lines:
                check_event(event, proof, origin, checkpoint)
            else:
                check_leaf(proof, proof, origin, checkpoint, hash32(proof["content"]))
            kinds[event["kind"]] = kinds.get(event["kind"], 0) + 1
            if lines:
                named |= {file["sha256"] for file in event.get("message", {}).get("attachments", []) if "sha256" in file}
            newer += not checkpoint or event["seq"] > checkpoint[1]
            erased += lines is not None and "salt" not in proof
            if "conversation" in event:
                conversations.add(event["conversation"])
            if event["kind"] == "capture.gap":
                gap_events[event["seq"]] = event.get("conversation")
                if "gap" in event:
                    gap = dict(event["gap"], seq=event["seq"])
                    if "conversation" in event:
                        gap["conversation"] = event["conversation"]
                    gaps.append(gap)
        except Bad as error:
            findings.append("%s: %s" % (where, error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            findings.append("%s: malformed (%s)" % (where, type(error).__name__))
    if (manifest["events"], manifest.get("first_seq"), manifest.get("last_seq")) != (count, first, last or None):
        findings.append("manifest: it tells other numbers of events than the file")
    if not any(finding.startswith("line") for finding in findings):
        if manifest["kinds"] != kinds:
            findings.append("manifest: it tells other kinds of events than the file")
        if lines:
            gaps_fit = manifest["gaps"] == gaps
        else:
            gaps_fit = all(gap["seq"] in gap_events and gap.get("conversation") == gap_events[gap["seq"]] for gap in manifest["gaps"])
        folder = package.companion("attachments") + "/"
        files = {entry["name"][len(folder):] for entry in manifest["files"] if entry["name"].startswith(folder)}
        lost = [told["count"] for told in manifest["left_out"] if told["what"] == "attachment that was lost"]
        if lines and (not files <= named or len(named - files) != (lost or [0])[0]):
            findings.append("manifest: the kept files are not those that the events name")
        if not gaps_fit:
            findings.append("manifest: it tells other gaps than the file")
        if any(entry.get("coverage") != "incomplete" and entry["id"] in gap_events.values() for entry in manifest["conversations"]):
            findings.append("manifest: it calls a record complete in which there is a gap")
        if {entry["id"] for entry in manifest["conversations"]} != conversations:
            findings.append("manifest: it tells other conversations than the file")
    if newer:
        notes.append("%d events are newer than the checkpoint" % newer)
    if erased:
        notes.append("the content of %d events was erased" % erased)
    return count


# ---- the pinned examples


def check_vectors(directory):
    findings = []
    with open(os.path.join(directory, "leaf.json"), encoding="utf-8") as f:
        for vector in json.load(f):
            content = canonical(vector["content"])
            commitment = sha256(bytes.fromhex(vector["salt"]), content)
            bytes_ = header(vector["origin"], vector["seq"], vector["connector"], vector["conversation"], vector["kind"],
                            vector.get("source_time"), vector["recorded_at"], vector.get("envelope"), commitment.hex())
            made = (content.decode(), commitment.hex(), bytes_.decode(), sha256(b"\0", bytes_).hex())
            for name, value in zip(("canonical", "commitment", "header", "leaf"), made):
                if vector[name] != value:
                    findings.append("leaf.json, %s: %s" % (vector["name"], name))
    with open(os.path.join(directory, "tree.json"), encoding="utf-8") as f:
        tree = json.load(f)
    leaves = [bytes.fromhex(leaf) for leaf in tree["leaves"]]
    for size, root in enumerate(tree["roots"]):
        if tree_root(leaves[:size]).hex() != root:
            findings.append("tree.json: root of %d" % size)
    for proof in tree["inclusion"]:
        path = [bytes.fromhex(p) for p in proof["path"]]
        root = bytes.fromhex(tree["roots"][proof["size"]])
        if not leads_to(leaves[proof["index"]], proof["index"], proof["size"], path, root):
            findings.append("tree.json: leaf %d of %d" % (proof["index"], proof["size"]))
    with open(os.path.join(directory, "checkpoint.json"), encoding="utf-8") as f:
        for vector in json.load(f):
            try:
                said = open_note(vector["note"], vector["vkey"])
            except Bad:
                said = None
            if said != ((vector["origin"], vector["size"], bytes.fromhex(vector["root"])) if vector["good"] else None):
                findings.append("checkpoint.json: %s" % vector["name"])
    return findings, ["vectors of leaf, tree and checkpoint"]


def main(arguments):
    try:
        if len(arguments) == 2 and arguments[0] == "--vectors":
            findings, notes = check_vectors(arguments[1])
        elif len(arguments) == 1 or (len(arguments) == 3 and arguments[1] == "--key"):
            findings, notes = verify(arguments[0], arguments[2] if len(arguments) == 3 else None)
        else:
            print(__doc__, file=sys.stderr)
            return 2
    except OSError as error:
        print("cannot read %s: %s" % (error.filename, error.strerror), file=sys.stderr)
        return 1
    except (Bad, KeyError, TypeError, ValueError, AttributeError) as error:
        findings, notes = ["manifest: %s" % (error if isinstance(error, Bad) else "malformed (%s)" % type(error).__name__)], []
    for note in notes:
        print("note: %s" % note)
    for finding in findings:
        print("BAD  %s" % finding)
    print("%d findings" % len(findings) if findings else "good")
    return 4 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
