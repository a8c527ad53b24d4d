"""A small pool whose web tickets are had by NTLM only; the acceptor is the PyPI package `pyspnego`.

Usage: NTLM_USER_FILE=<lines of domain:user:password> ntlm_acceptor.py NTLM|Negotiate

Prints `port <number>` once it listens. Paths:
  POST /WebTicket/oauthtoken   needs NTLM on the connection it comes by; gives a ticket
  GET  /account                needs the ticket; without it a challenge that offers the Windows grant alone
  GET  /counts                 needs nothing; what was seen so far
"""
import base64
import http.server
import json
import sys
import threading
import urllib.parse

import spnego

SCHEME = sys.argv[1]
GRANT = "urn:microsoft.rtc:windows"
TICKET = "dGlja2V0"
LOCK = threading.Lock()
# Connections on which NTLM was begun, its messages, and the tickets given.
COUNTS = {"connections": 0, "negotiate": 0, "authenticate": 0, "granted": 0}
USERS = []


def count(what):
    with LOCK:
        COUNTS[what] += 1


class Connection(http.server.BaseHTTPRequestHandler):
    """One object per connection, so what was proved on it lives here."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.begun = False
        self.context = None

    def log_message(self, *_):
        pass

    def answer(self, status, body, fields=()):
        body = body.encode()
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, token=None):
        if token is None:
            # A bare offer, and beside it one that no recorder takes.
            fields = [("WWW-Authenticate", SCHEME), ("WWW-Authenticate", 'Basic realm="pool"')]
        else:
            fields = [("WWW-Authenticate", f"{SCHEME} {base64.b64encode(token).decode()}")]
        self.answer(401, "<html>401</html>" * 100, fields)

    def do_GET(self):
        if self.path == "/counts":
            with LOCK:
                return self.answer(200, json.dumps({**COUNTS, "users": USERS}))
        if self.headers.get("Authorization") == f"Bearer {TICKET}":
            return self.answer(200, '{"welcome": true}', [("Content-Type", "application/json")])
        field = f'MsRtcOAuth href="/WebTicket/oauthtoken",grant_type="{GRANT}"'
        return self.answer(401, "", [("WWW-Authenticate", "NTLM"), ("WWW-Authenticate", field)])

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != SCHEME or not token:
            return self.refuse()
        token = base64.b64decode(token)
        kind = int.from_bytes(token[8:12], "little")
        if kind == 1:
            if not self.begun:
                self.begun = True
                count("connections")
            count("negotiate")
            self.context = spnego.server(protocol=SCHEME.lower())
            return self.refuse(self.context.step(token))
        count("authenticate")
        try:
            # Without the challenge of this very connection there is nothing to step.
            self.context.step(token)
        except Exception:
            self.context = None
            return self.refuse()
        with LOCK:
            USERS.append(self.context.client_principal)
        self.context = None
        if urllib.parse.parse_qs(body) != {"grant_type": [GRANT]}:
            return self.answer(400, '{"error": "unsupported_grant_type"}')
        count("granted")
        ticket = {"access_token": TICKET, "token_type": "Bearer", "expires_in": 28800}
        return self.answer(200, json.dumps(ticket), [("Content-Type", "application/json")])


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Connection)
server.daemon_threads = True
print("port", server.server_address[1], flush=True)
server.serve_forever()
