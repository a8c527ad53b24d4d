"""One run of the real binary opposite one deployment, and the questions that are put to the archive afterwards."""

import urllib.request

from deployment import PASSWORD, Deployment
from recorder_run import NOTICE, PEM, RecorderRun, of, walk


class Run(RecorderRun):
    """`keys` are further lines of the connector's table in the configuration."""

    connector, platform = "sfb", "ucwa"
    patience, pause = 15, 0  # without a pause: what a scenario does next comes as early as it can

    def __init__(self, binary, style="classic", keys=None, notice=NOTICE, expires=28289, trusted=("127.0.0.2",), tls=False, pool="127.0.0.2"):
        super().__init__(binary, Deployment(style, expires, tls=PEM if tls else None, pool=pool), notice)
        self.dep = self.opposite
        self.file("secret", (PASSWORD + "\n").encode())
        self.values = {"name": "sfb", "kind": "ucwa", "sign_in": "sip:recorder@contoso.example", "username": "contoso\\recorder",
                       "password_file": "secret", "autodiscover": self.dep.url["discovery"] + "/", "trusted_hosts": list(trusted)}
        if tls:
            self.values["ca_file"] = PEM[2]
        self.configure(**(keys or {}))

    def start(self, ready=True):
        polls = self.dep.polls
        self.serve()
        if ready:
            self.dep.wait("the first poll", lambda: self.dep.polls > polls)
            self.dep.drained()
        return self

    def healthy(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
            return answer.status == 200

    def check_event(self, e):
        self.check(not any(v is None for v in walk(e.get("message", {}))), f"no null: {e}")
        ours = e["kind"].startswith("participant.") and e["participant"]["id"] == "sip:recorder@contoso.example"
        self.check(not ours, f"the recorder is no participant: {e}")
        for at in ("source_time", "recorded_at"):
            if at in e:
                self.check(len(e[at]) == 24 and e[at].endswith("Z"), f"{at} is RFC 3339 with ms: {e[at]}")
        for person in (e.get("actor"), e.get("participant")):
            if person and "id" in person:
                self.check(person["id"] == person["id"].lower(), f"ids are lower case: {person}")

    def check_row(self, row, mine):
        sent = of(mine, "message.sent")
        said = {e["message"]["id"] for e in sent}
        self.check(row["messages"] >= len(said), f"list counts messages: {row} {len(said)}")
        self.check(len(of(mine, "conversation.started")) <= 1, "started at most once")
        spoke = any(e.get("actor", {}).get("id") == "sip:recorder@contoso.example" for e in sent)
        self.check(spoke or not any(p["id"] == "sip:recorder@contoso.example" for p in row["participants"]), f"list: the recorder is no participant {row}")
