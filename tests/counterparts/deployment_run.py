"""One run of the real binary opposite one deployment, and the questions that are put to the archive afterwards."""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time

import urllib.request

from deployment import PASSWORD, Deployment

NOTICE = "Achtung & notice: this conversation is recorded + archived – 記録."


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Run:
    """`keys` are further lines of the connector's table in the configuration."""

    def __init__(self, binary, style="classic", keys=None, notice=NOTICE, expires=28289, trusted=("127.0.0.2",), tls=False, pool="127.0.0.2"):
        self.binary, self.found, self.process = binary, [], None
        pem = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures/deployment-tls", f) for f in ("server.pem", "server.key.pem", "ca.pem")]
        self.dep = Deployment(style, expires, tls=pem[:2] if tls else None, pool=pool)
        self.dir = tempfile.TemporaryDirectory(prefix="greffier-deployment-")
        self.port = free_port()
        with open(self.path("secret"), "w", encoding="utf-8") as f:
            f.write(PASSWORD + "\n")
        os.chmod(self.path("secret"), 0o600)
        values = {"name": "sfb", "kind": "ucwa", "sign_in": "sip:recorder@contoso.example", "username": "contoso\\recorder",
                  "password_file": "secret", "autodiscover": self.dep.url["discovery"] + "/", "trusted_hosts": list(trusted)}
        if tls:
            values["ca_file"] = pem[2]
        values.update(keys or {})
        lines = ["[archive]", 'directory = "archive"', "[viewer]", f'listen = "127.0.0.1:{self.port}"', "[notice]", f"text = {json.dumps(notice)}",
                 "[[connector]]"] + [f"{k} = {json.dumps(v)}" for k, v in values.items()]
        text = "\n".join(lines) + "\n"
        with open(self.path("greffier.toml"), "w", encoding="utf-8") as f:
            f.write(text)

    def path(self, *parts):
        return os.path.join(self.dir.name, *parts)

    def close(self):
        self.kill()
        self.dep.close()
        self.dir.cleanup()

    # ---- the process

    def environment(self):
        env = {k: v for k, v in os.environ.items() if k not in ("GREFFIER_CONFIG", "RUST_LOG") and "proxy" not in k.lower()}
        return dict(env, NO_COLOR="1")

    def start(self, ready=True):
        polls = self.dep.polls
        self.started_at = time.monotonic()
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([self.binary, "serve"], cwd=self.dir.name, env=self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if ready:
            self.dep.wait("the first poll", lambda: self.dep.polls > polls)
            self.dep.drained()
        return self

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)

    def stop(self):
        """SIGTERM; exit 0 within 10 s is part of the contract."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            status = "not at all"
        took = time.monotonic() - begun
        self.check(status == 0, f"SIGTERM: exits 0, not {status}")
        self.check(took < 10, f"SIGTERM: within 10 s, not {took:.1f}")

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def cli(self, *args, timeout=60):
        done = subprocess.run([self.binary, *args], cwd=self.dir.name, env=self.environment(), capture_output=True, timeout=timeout)
        return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")

    def healthy(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
            return answer.status == 200

    # ---- the archive

    def lines(self, *args):
        status, out, err = self.cli(*args)
        self.check(status in (0, 3), f"{args} exits {status}: {err.strip()}")
        return [json.loads(line) for line in out.splitlines()]

    def events(self, conversation=None):
        events = self.lines("export", "--since", "1970-01-01T00:00:00Z", "--format", "jsonl", "--output", "-")
        return [e for e in events if conversation is None or e.get("conversation") == conversation]

    def list(self):
        return self.lines("list", "--json")

    def archive(self):
        """Stops nothing; reads what the archive holds, checks what holds for every archive."""
        events, rows = self.events(), self.list()
        self.check([e["seq"] for e in events] == sorted({e["seq"] for e in events}), "seq ascends without repetition")
        for e in events:
            self.check(e["v"] == 1 and e["connector"] == "sfb" and e["platform"] == "ucwa" and len(e["leaf_hash"]) == 64, f"event v1: {e}")
            self.check(not any(v is None for v in walk(e.get("message", {}))), f"no null: {e}")
            ours = e["kind"].startswith("participant.") and e["participant"]["id"] == "sip:recorder@contoso.example"
            self.check(not ours, f"the recorder is no participant: {e}")
            for at in ("source_time", "recorded_at"):
                if at in e:
                    self.check(len(e[at]) == 24 and e[at].endswith("Z"), f"{at} is RFC 3339 with ms: {e[at]}")
            for person in (e.get("actor"), e.get("participant")):
                if person and "id" in person:
                    self.check(person["id"] == person["id"].lower(), f"ids are lower case: {person}")
        for row in rows:
            mine = [e for e in events if e.get("conversation") == row["id"]]
            shown = self.lines("show", row["id"], "--json")
            self.check([e["seq"] for e in shown] == [e["seq"] for e in mine], f"show = export of {row['id']}")
            said = {e["message"]["id"] for e in mine if e["kind"] == "message.sent"}
            self.check(row["messages"] >= len(said), f"list counts messages: {row} {len(said)}")
            self.check(len([e for e in mine if e["kind"] == "conversation.started"]) <= 1, "started at most once")
            spoke = any(e.get("actor", {}).get("id") == "sip:recorder@contoso.example" for e in mine if e["kind"] == "message.sent")
            self.check(spoke or not any(p["id"] == "sip:recorder@contoso.example" for p in row["participants"]), f"list: the recorder is no participant {row}")
            gap = [e for e in mine if e["kind"] == "capture.gap"]
            for e in gap:
                self.check(e["gap"]["from"] <= e["gap"]["to"] and e["gap"]["cause"], f"gap has from, to, cause: {e['gap']}")
            if gap:
                self.check(row["coverage"] == "incomplete", f"a gap makes coverage incomplete {row}")
        status, out, err = self.cli("verify")
        self.check(status == 0, f"verify exits {status}: {out} {err}")
        return events, rows

    def until(self, what, condition, seconds=15):
        """Asks the archive of the running recorder until it holds what is looked for."""
        end = time.monotonic() + seconds
        while True:
            events = self.events()
            if condition(events):
                return events
            if time.monotonic() > end:
                raise AssertionError(f"the archive never showed: {what}")

    def check(self, condition, text):
        if not condition and text not in self.found:
            self.found.append(text)
        return condition

    def equal(self, got, wanted, text):
        return self.check(got == wanted, f"{text}: got {got!r}, wanted {wanted!r}")


def walk(value):
    if isinstance(value, dict):
        for v in value.values():
            yield from walk(v)
    elif isinstance(value, list):
        for v in value:
            yield from walk(v)
    else:
        yield value


def of(events, *kinds):
    return [e for e in events if e["kind"] in kinds]


def texts(events):
    return [e["message"]["text"] for e in of(events, "message.sent")]
