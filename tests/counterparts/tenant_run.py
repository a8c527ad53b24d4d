"""One run of the real binary opposite one tenant, and the questions that are put to the archive afterwards."""

import datetime
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request

from recorder_run import HERE, NOTICE, PEM, RecorderRun, free_port, of, walk
from tenant import CLIENT, SECRET, TENANT, Tenant
from tenant_keys import client_certificate
from tenant_send import Service

KINDS = set("""invitation.received invitation.accepted invitation.declined invitation.failed conversation.started conversation.changed conversation.ended
    recording.started recording.stopped recording.failed notice.sent participant.joined participant.left participant.changed message.sent message.edited
    message.deleted message.undelivered reaction.added reaction.removed modality.changed sharing.started sharing.ended capture.gap platform.event""".split())


def fixture(name):
    with open(os.path.join(HERE, "../fixtures/graph", name + ".json"), encoding="utf-8") as f:
        return json.load(f)


class Run(RecorderRun):
    """`keys` are further lines of the connector's table; `None` removes one. `certificate`: client assertion instead of the secret."""

    connector = platform = "teams"
    options = ("--config", "greffier.toml")
    legs = 1  # calls that a scenario joins into one conversation

    def __init__(self, binary, keys=None, notice=NOTICE, prefix="", tls=False, certificate=False, **tenant):
        super().__init__(binary, Tenant(tls=PEM if tls else None, **tenant), notice)
        self.tenant, self.webhook_port = self.opposite, free_port()
        self.callback_url = f"{'https' if tls else 'http'}://127.0.0.1:{self.webhook_port}{prefix}"
        self.service = Service(self.tenant, self.callback_url, PEM[2] if tls else None)
        self.file("secret", (SECRET + "\n").encode())
        self.file("client.pem", client_certificate()[0])
        self.file("client.key", client_certificate()[1])
        url = self.tenant.url
        metadata = lambda name: f"{url['keys']}/{name}/.well-known/openid-configuration"
        self.values = {"name": "teams", "kind": "teams", "tenant_id": TENANT, "client_id": CLIENT, "callback_url": self.callback_url, "listen": f"127.0.0.1:{self.webhook_port}",
                       "login_url": url["login"], "graph_url": url["graph"], "calls_openid_url": metadata("calls"), "notifications_openid_url": metadata("notifications"),
                       "bot_openid_url": metadata("bot"), "bot_service_urls": [url["connector"] + "/"]}
        self.values.update({"certificate_file": "client.pem", "private_key_file": "client.key"} if certificate else {"client_secret_file": "secret"})
        if tls:
            self.values.update(ca_file=PEM[2], tls_certificate_file=PEM[0], tls_private_key_file="server.key")
            with open(PEM[1], "rb") as f:
                self.file("server.key", f.read())
        self.configure(**(keys or {}))

    def start(self, ready=True):
        self.serve()
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

    def check_event(self, e):
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

    def check_row(self, row, mine):
        self.check(row["connector"] == "teams" and row["platform"] == "teams", f"the row names the connector: {row}")
        self.check(len(of(mine, "conversation.started")) <= 1 or self.legs > 1, "started at most once")

    def archive(self):
        """And the tenant had nothing to refuse, and neither the log nor an event tells what is secret."""
        events, rows = super().archive()
        self.check(not self.tenant.ledger, f"the tenant had to refuse: {self.tenant.ledger}")
        log, told = self.log(), json.dumps(events)
        secrets = [SECRET, "join token", *self.tenant.tokens, *(s.body["clientState"] for s in self.tenant.subscriptions.values() if len(s.body.get("clientState") or "") > 15)]
        self.check(not any(s in log for s in secrets), "no secret in the log")
        self.check(not any(s in told for s in secrets), "no secret in an event")
        for e in of(events, "message.sent", "message.edited"):
            self.check(len(e["message"].get("text", "")) < 12 or e["message"]["text"] not in log, f"nobody's words in the log: {e['message']['text'][:40]}")
        return events, rows


def ago(seconds):
    """Milliseconds since 1970, some time back."""
    return int((datetime.datetime.now(datetime.timezone.utc).timestamp() - seconds) * 1000)
