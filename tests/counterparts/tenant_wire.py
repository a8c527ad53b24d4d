"""The HTTP side of the tenant: requests as they arrived, answers put on the wire, and requests sent to the recorder."""

import gzip
import http.client
import json
import re
import socket
import ssl
import struct
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit


class Reply:
    """An answer. `spoil`: "reset" drops the connection instead; "hang" answers after `seconds`."""

    def __init__(self, status, doc=None, headers=None, body=None, spoil=None, seconds=0):
        self.status, self.headers, self.spoil, self.seconds = status, dict(headers or {}), spoil, seconds
        self.body = body if body is not None else (b"" if doc is None else json.dumps(doc, ensure_ascii=False).encode())
        if doc is not None:
            self.headers.setdefault("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")


class Seen:
    """A request as it arrived. `path` is decoded, `target` is not."""

    def __init__(self, origin, method, target, headers, body):
        self.origin, self.method, self.target, self.headers, self.raw = origin, method, target, headers, body
        parts = urlsplit(target)
        self.path = unquote(parts.path)
        self.query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self.at, self.status, self.answered_at = time.monotonic(), None, None

    @property
    def body(self):
        try:
            return json.loads(self.raw)
        except ValueError:
            return None

    @property
    def bearer(self):
        kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
        return token if kind.lower() == "bearer" else None

    def __repr__(self):
        return f"{self.origin} {self.method} {self.target} -> {self.status}"


def handler_class(tenant, origin):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "Microsoft-IIS/10.0", ""
        disable_nagle_algorithm = True
        timeout = tenant.idle

        def serve(self):
            body = self.body()
            seen = Seen(origin, self.command, self.path, self.headers, body)
            try:
                reply = tenant.handle(seen)
                seen.status = reply.status
                self.put(reply)
                tenant.answered(seen)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                self.close_connection = True

        def body(self):
            if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            whole = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                whole += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return whole

        def handle_one_request(self):
            try:
                super().handle_one_request()
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
                self.close_connection = True

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = serve

        def put(self, reply):
            if reply.spoil == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            body = reply.body
            self.send_response(reply.status)
            for name, value in {"request-id": "7d1f0f0e-0000-4000-8000-000000000000", **reply.headers}.items():
                self.send_header(name, value)
            if body and "gzip" in (self.headers.get("Accept-Encoding") or ""):
                body = gzip.compress(body)
                self.send_header("Content-Encoding", "gzip")
            # Graph sends lists in pieces, and everything compressed to who can read it.
            pieces = len(body) > 2000 and reply.status == 200
            if pieces:
                self.send_header("Transfer-Encoding", "chunked")
            elif reply.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if pieces:
                for at in range(0, len(body), 1000):
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(body[at:at + 1000]), body[at:at + 1000]))
                body = b"0\r\n\r\n"
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


class Answer:
    """What the recorder answered. `seconds` is the time from the first byte sent to the last one read."""

    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.raw, self.seconds = status, headers, body, seconds

    @property
    def doc(self):
        return json.loads(self.raw)

    def __repr__(self):
        return f"{self.status} {self.raw[:120]!r}"


def post(url, body, headers=None, ca=None, method="POST", timeout=20):
    """One request on a connection of its own, as the senders of Microsoft make them."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca)
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    begun = time.monotonic()
    try:
        connection.request(method, target, raw, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        read = answer.read()
        return Answer(answer.status, answer.headers, read, time.monotonic() - begun)
    finally:
        connection.close()


def match(pattern, path):
    return re.fullmatch(pattern, path, re.IGNORECASE)
