"""One run of the real binary opposite one tenant, and the questions that are put to the archive afterwards."""

import datetime
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from deployment_run import of, walk
from tenant import CLIENT, SECRET, TENANT, Tenant
from tenant_keys import client_certificate
from tenant_send import Service

HERE = os.path.dirname(os.path.abspath(__file__))
NOTICE = "Achtung & notice: this conversation is recorded + archived – 記録."
KINDS = set("""invitation.received invitation.accepted invitation.declined invitation.failed conversation.started conversation.changed conversation.ended
    recording.started recording.stopped recording.failed notice.sent participant.joined participant.left participant.changed message.sent message.edited
    message.deleted message.undelivered reaction.added reaction.removed modality.changed sharing.started sharing.ended capture.gap platform.event""".split())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fixture(name):
    with open(os.path.join(HERE, "../fixtures/graph", name + ".json"), encoding="utf-8") as f:
        return json.load(f)


class Run:
    """`keys` are further lines of the connector's table; `None` removes one. `certificate`: client assertion instead of the secret."""

    def __init__(self, binary, keys=None, notice=NOTICE, prefix="", tls=False, certificate=False, **tenant):
        self.binary, self.found, self.process = binary, [], None
        pem = [os.path.join(HERE, "../fixtures/deployment-tls", f) for f in ("server.pem", "server.key.pem", "ca.pem")]
        self.tenant = Tenant(tls=pem if tls else None, **tenant)
        self.dir = tempfile.TemporaryDirectory(prefix="greffier-tenant-")
        self.port, self.webhook_port = free_port(), free_port()
        self.callback_url = f"{'https' if tls else 'http'}://127.0.0.1:{self.webhook_port}{prefix}"
        self.service = Service(self.tenant, self.callback_url, pem[2] if tls else None)
        self.file("secret", (SECRET + "\n").encode())
        self.file("client.pem", client_certificate()[0])
        self.file("client.key", client_certificate()[1])
        url = self.tenant.url
        metadata = lambda name: f"{url['keys']}/{name}/.well-known/openid-configuration"
        values = {"name": "teams", "kind": "teams", "tenant_id": TENANT, "client_id": CLIENT, "callback_url": self.callback_url, "listen": f"127.0.0.1:{self.webhook_port}",
                  "login_url": url["login"], "graph_url": url["graph"], "calls_openid_url": metadata("calls"), "notifications_openid_url": metadata("notifications"),
                  "bot_openid_url": metadata("bot"), "bot_service_urls": [url["connector"] + "/"]}
        values.update({"certificate_file": "client.pem", "private_key_file": "client.key"} if certificate else {"client_secret_file": "secret"})
        if tls:
            values.update(ca_file=pem[2], tls_certificate_file=pem[0], tls_private_key_file="server.key")
            with open(pem[1], "rb") as f:
                self.file("server.key", f.read())
        values.update(keys or {})
        self.values, self.notice = values, notice
        self.configure()

    def configure(self, **keys):
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
        self.tenant.close()
        self.dir.cleanup()

    # ---- the process

    def environment(self):
        env = {k: v for k, v in os.environ.items() if k not in ("GREFFIER_CONFIG", "RUST_LOG") and "proxy" not in k.lower()}
        return dict(env, NO_COLOR="1")

    def start(self, ready=True):
        self.started_at = time.monotonic()
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([self.binary, "--config", "greffier.toml", "serve"], cwd=self.dir.name, env=self.environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if ready:
            self.until_ready()
        return self

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return None

    def until_ready(self, seconds=30):
        end = time.monotonic() + seconds
        while self.ready() != 200:
            if self.process.poll() is not None:
                raise AssertionError(f"serve exits {self.process.returncode}: {self.log()[-1500:]}")
            if time.monotonic() > end:
                raise AssertionError(f"/readyz is {self.ready()} after {seconds} s: {self.log()[-1500:]}")
            time.sleep(0.02)

    def until_listening(self, seconds=30):
        """The webhook's port is open; nothing else is promised."""
        end = time.monotonic() + seconds
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.webhook_port)) == 0:
                    return
            if time.monotonic() > end:
                raise AssertionError(f"the webhooks never listened: {self.log()[-1500:]}")
            time.sleep(0.01)

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
        done = subprocess.run([self.binary, "--config", "greffier.toml", *args], cwd=self.dir.name, env=self.environment(), capture_output=True, timeout=timeout)
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
        """Reads what the archive holds and checks what holds for every archive."""
        events, rows = self.events(), self.list()
        self.check([e["seq"] for e in events] == sorted({e["seq"] for e in events}), "seq ascends without repetition")
        for e in events:
            self.check(e["v"] == 1 and e["connector"] == "teams" and e["platform"] == "teams" and len(e["leaf_hash"]) == 64, f"event v1: {e}")
            self.check(e["kind"] in KINDS, f"a kind of the contract: {e['kind']}")
            self.check(all(v is not None for k in e if k != "detail" for v in walk(e[k])), f"no null: {e}")
            for at in ("source_time", "recorded_at"):
                if at in e:
                    self.check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e[at]), f"{at} is RFC 3339 with ms: {e[at]}")
            for one in (e.get("actor"), e.get("participant")):
                if one and "@" in one.get("id", ""):
                    self.check(one["id"] == one["id"].lower(), f"ids are lower case: {one}")
            if e["kind"].startswith("message."):
                self.check(isinstance(e.get("message", {}).get("text"), str) or e["kind"] == "message.deleted", f"text is always present: {e}")
                self.check("id" in e["message"], f"message.id: {e}")
        for row in rows:
            mine = [e for e in events if e.get("conversation") == row["id"]]
            shown = self.lines("show", row["id"], "--json")
            self.check([e["seq"] for e in shown] == [e["seq"] for e in mine], f"show = export of {row['id']}")
            self.check(row["connector"] == "teams" and row["platform"] == "teams", f"the row names the connector: {row}")
            self.check(len(of(mine, "conversation.started")) <= 1 or self.legs > 1, "started at most once")
            gaps = of(mine, "capture.gap")
            for e in gaps:
                self.check(e["gap"]["from"] <= e["gap"]["to"] and e["gap"]["cause"], f"gap has from, to, cause: {e['gap']}")
            if gaps:
                self.check(row["coverage"] == "incomplete", f"a gap makes coverage incomplete {row}")
        status, out, err = self.cli("verify")
        self.check(status == 0, f"verify exits {status}: {out} {err}")
        self.check(not self.tenant.ledger, f"the tenant had to refuse: {self.tenant.ledger}")
        log, told = self.log(), json.dumps(events)
        secrets = [SECRET, "join token", *self.tenant.tokens, *(s.body["clientState"] for s in self.tenant.subscriptions.values() if len(s.body.get("clientState") or "") > 15)]
        self.check(not any(s in log for s in secrets), "no secret in the log")
        self.check(not any(s in told for s in secrets), "no secret in an event")
        for e in of(events, "message.sent", "message.edited"):
            self.check(len(e["message"].get("text", "")) < 12 or e["message"]["text"] not in log, f"nobody's words in the log: {e['message']['text'][:40]}")
        return events, rows

    legs = 1  # calls that a scenario joins into one conversation

    def until(self, what, condition, seconds=20):
        """Asks the archive of the running recorder until it holds what is looked for."""
        end = time.monotonic() + seconds
        while True:
            events = self.events()
            found = condition(events)
            if found:
                return events
            if time.monotonic() > end:
                raise AssertionError(f"the archive never showed: {what}; it holds {[e['kind'] for e in events][-30:]}")
            time.sleep(0.15)

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


def texts(events, kind="message.sent"):
    return [e["message"]["text"] for e in of(events, kind)]


def ago(seconds):
    """Milliseconds since 1970, some time back."""
    return int((datetime.datetime.now(datetime.timezone.utc).timestamp() - seconds) * 1000)
