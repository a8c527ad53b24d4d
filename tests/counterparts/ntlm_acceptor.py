"""A small pool whose web tickets are had by NTLM only; the acceptor is the PyPI package `pyspnego`.

Usage: NTLM_USER_FILE=<lines of domain:user:password> ntlm_acceptor.py NTLM|Negotiate [CA_FILE]

With a file name it speaks TLS and writes the certificate of its authority into the file; then the token address chooses
HTTP/2, which it cannot speak, if the client offers that.

Prints `port <number>` once it listens. Paths:
  POST /WebTicket/oauthtoken   needs NTLM on the connection it comes by; gives a ticket
  GET  /account                needs the ticket; without it a challenge that offers the Windows grant alone
  GET  /counts                 needs nothing; what was seen so far
"""
import base64
import datetime
import http.server
import ipaddress
import json
import ssl
import sys
import tempfile
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
        field = f'MsRtcOAuth href="{TOKENS}/WebTicket/oauthtoken",grant_type="{GRANT}"'
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


def tls(ca_file):
    """Two contexts with a fresh certificate for 127.0.0.1 from a fresh authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def certificate(name, key, issuer, issuer_key, extension):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(
            issuer.subject if issuer else name, name, key.public_key(), x509.random_serial_number(),
            now - datetime.timedelta(days=1), now + datetime.timedelta(days=1),
        )
        return builder.add_extension(extension, critical=True).sign(issuer_key, hashes.SHA256())

    def pem(thing):
        return thing.public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = certificate("authority", ca_key, None, ca_key, x509.BasicConstraints(True, None))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = certificate("pool", key, ca, ca_key, names)
    with open(ca_file, "wb") as file:
        file.write(pem(ca))
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem(leaf))
        file.write(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))
        file.flush()

        def context(*protocols):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_alpn_protocols(protocols)
            context.load_cert_chain(file.name)
            return context

        return context("http/1.1"), context("h2", "http/1.1")


def listen(context):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Connection)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()
    return server.server_address[1]


if len(sys.argv) > 2:
    plain, choosy = tls(sys.argv[2])
    TOKENS = f"https://127.0.0.1:{listen(choosy)}"
    print("port", listen(plain), flush=True)
else:
    TOKENS = ""
    print("port", listen(None), flush=True)
