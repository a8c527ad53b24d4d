"""One run of the real binary opposite a counterpart: its folder, its process, its command line, and what every archive must hold.

What is particular to the deployment or the tenant is in `deployment_run.py` and `tenant_run.py`; both judge by the same measure.
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NOTICE = "Achtung & notice: this conversation is recorded + archived – 記録."
PEM = [os.path.join(HERE, "../fixtures/deployment-tls", f) for f in ("server.pem", "server.key.pem", "ca.pem")]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class RecorderRun:
    """`found` are the deviations so far; a scenario goes on after one, so that all of them are told."""

    options = ()  # of the command line, before the subcommand
    connector = platform = None  # what every event names
    patience, pause = 20, 0.15  # seconds that `until` asks for, and those between two questions

    def __init__(self, binary, opposite, notice):
        self.binary, self.opposite, self.found, self.process = binary, opposite, [], None
        self.dir = tempfile.TemporaryDirectory(prefix=f"greffier-{type(opposite).__name__.lower()}-")
        self.port = free_port()
        self.values, self.notice = {}, notice

    def configure(self, **keys):
        """`values` are the lines of the connector's table; `None` removes one."""
        self.values.update(keys)
        lines = ["[archive]", 'directory = "archive"', "[viewer]", f'listen = "127.0.0.1:{self.port}"', "[notice]", f"text = {json.dumps(self.notice)}", "[[connector]]"]
        lines += [f"{k} = {toml(v)}" for k, v in self.values.items() if v is not None]
        self.file("greffier.toml", ("\n".join(lines) + "\n").encode())

    def file(self, name, raw, mode=0o600):
        with open(self.path(name), "wb") as f:
            f.write(raw)
        os.chmod(self.path(name), mode)

    def path(self, *parts):
        return os.path.join(self.dir.name, *parts)

    def close(self):
        self.kill()
        self.opposite.close()
        self.dir.cleanup()

    # ---- the process

    def environment(self):
        env = {k: v for k, v in os.environ.items() if k not in ("GREFFIER_CONFIG", "RUST_LOG") and "proxy" not in k.lower()}
        return dict(env, NO_COLOR="1")

    def serve(self):
        """Starts the process; when it is ready, each `start` finds out in its own way."""
        self.started_at = time.monotonic()
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([self.binary, *self.options, "serve"], cwd=self.dir.name, env=self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

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
        if not os.path.exists(self.path("log")):
            return ""
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def cli(self, *args, timeout=60):
        done = subprocess.run([self.binary, *self.options, *args], cwd=self.dir.name, env=self.environment(), capture_output=True, timeout=timeout)
        return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")

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
            self.check(e["v"] == 1 and e["connector"] == self.connector and e["platform"] == self.platform and len(e["leaf_hash"]) == 64, f"event v1: {e}")
            self.check_event(e)
        for row in rows:
            mine = [e for e in events if e.get("conversation") == row["id"]]
            shown = self.lines("show", row["id"], "--json")
            self.check([e["seq"] for e in shown] == [e["seq"] for e in mine], f"show = export of {row['id']}")
            self.check_row(row, mine)
            gaps = of(mine, "capture.gap")
            for e in gaps:
                self.check(e["gap"]["from"] <= e["gap"]["to"] and e["gap"]["cause"], f"gap has from, to, cause: {e['gap']}")
            if gaps:
                self.check(row["coverage"] == "incomplete", f"a gap makes coverage incomplete {row}")
        status, out, err = self.cli("verify")
        self.check(status == 0, f"verify exits {status}: {out} {err}")
        return events, rows

    def check_event(self, e):
        """What holds for every event of the platform."""
        raise NotImplementedError

    def check_row(self, row, mine):
        """What holds for every row of `list` and the events of its conversation."""
        raise NotImplementedError

    def until(self, what, condition, seconds=None):
        """Asks the archive of the running recorder until it holds what is looked for."""
        end = time.monotonic() + (self.patience if seconds is None else seconds)
        while True:
            events = self.events()
            if condition(events):
                return events
            if time.monotonic() > end:
                raise AssertionError(f"the archive never showed: {what}; it holds {[e['kind'] for e in events][-30:]}")
            time.sleep(self.pause)

    def until_logged(self, text, seconds=30):
        """Waits for a line of the recorder's log, which is a file: there is nothing to await but its growth."""
        end = time.monotonic() + seconds
        while text not in self.log():
            if time.monotonic() > end:
                raise AssertionError(f"the log never said: {text}; it ends: {self.log()[-600:]}")
            time.sleep(0.1)

    def check(self, condition, text):
        if not condition and text not in self.found:
            self.found.append(text)
        return condition

    def equal(self, got, wanted, text):
        return self.check(got == wanted, f"{text}: got {got!r}, wanted {wanted!r}")


def toml(value):
    if isinstance(value, list):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def settings(**values):
    """How the run of a scenario is set up."""
    def put(scenario):
        scenario.settings = values
        return scenario
    return put


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


def texts(events, kind="message.sent"):
    return [e["message"]["text"] for e in of(events, kind)]
