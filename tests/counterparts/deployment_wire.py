"""The HTTP side of the deployment: requests as they arrived, answers put on the wire, spoilt where a scenario says so."""

import socket
import ssl
import struct
import time
from http.server import BaseHTTPRequestHandler


class Seen:
    """A request as it arrived."""

    def __init__(self, origin, method, target, headers, body):
        self.origin, self.method, self.target, self.headers, self.body = origin, method, target, headers, body
        self.name, self.at = None, time.monotonic()

    def __repr__(self):
        return f"{self.origin} {self.method} {self.target} [{self.name}]"


def handler_class(deployment, origin):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "Microsoft-IIS/7.5", ""
        disable_nagle_algorithm = True

        def serve(self):
            length = int(self.headers.get("Content-Length") or 0)
            seen = Seen(origin, self.command, self.path, self.headers, self.rfile.read(length))
            try:
                self.put(deployment.handle(seen))
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                self.close_connection = True

        def handle_one_request(self):
            try:
                super().handle_one_request()
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
                self.close_connection = True

        do_GET = do_POST = do_DELETE = do_PUT = serve

        def put(self, reply):
            if reply.spoil == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            body = reply.body
            if reply.spoil == "close":
                self.close_connection = True
            if reply.spoil == "bom":
                body = b"\xef\xbb\xbf" + body
            self.send_response(reply.status)
            headers = dict(reply.headers)
            for name, value in headers.pop("X-Many", []):
                self.send_header(name, value)
            if "Content-Type" in headers and headers["Content-Type"] is None:
                deployment.content_turn += 1
                headers["Content-Type"] = ("application/json", "application/json; charset=utf-8", "application/vnd.microsoft.com.ucwa+json",
                                           'application/json;charset="UTF-8"')[deployment.content_turn % 4]
            for name, value in headers.items():
                self.send_header(name, value)
            if reply.spoil == "chunked":
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for at in range(0, len(body), 700):
                    piece = body[at:at + 700]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.write(b"0\r\n\r\n")
                return
            if reply.spoil == "close":
                self.send_header("Connection", "close")
            elif reply.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if reply.spoil == "short":
                self.wfile.write(body[:len(body) // 2])
                self.wfile.flush()
                self.close_connection = True
                return
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler
