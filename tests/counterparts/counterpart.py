"""What every server opposite the recorder stands on: origins of its own, the requests as they arrived, the waiting for them.

No protocol is in here; the deployment and the tenant have nothing else in common. Python's standard library only.
"""

import ssl
import threading
import time
from http.server import ThreadingHTTPServer


class Counterpart:
    """Whoever changes what a scenario may wait for holds `cv` and notifies."""

    def __init__(self):
        self.cv = threading.Condition(threading.RLock())
        self.seen, self.servers, self.url = [], {}, {}

    def listen(self, addresses, handler_class, tls=None):
        """Last, as requests may come from now on: one server for each origin. `tls`: the files of chain and key, and what else."""
        for origin, address in addresses.items():
            server = ThreadingHTTPServer((address, 0), handler_class(self, origin))
            server.daemon_threads = True
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*tls[:2])
                server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            self.servers[origin] = server
            self.url[origin] = f"{'https' if tls else 'http'}://{address}:{server.server_address[1]}"
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        for server in self.servers.values():
            server.shutdown()
            server.server_close()

    # ---- waiting: always by events, always bounded

    def wait(self, what, condition, seconds=20):
        end = time.monotonic() + seconds
        with self.cv:
            while True:
                found = condition()
                if found:
                    return found
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"waited {seconds} s in vain for: {what}; last requests: {self.seen[-8:]}")
                self.cv.wait(min(left, 0.2))

    def is_at(self, seen, place):
        """Whether a request went to what the pattern `place` describes; each protocol names its places in its own way."""
        raise NotImplementedError

    def requests(self, method=None, place=None, origin=None):
        with self.cv:
            return [s for s in self.seen if (method is None or s.method == method) and (place is None or self.is_at(s, place)) and (origin is None or s.origin == origin)]

    def wait_requests(self, method, place, count=1, seconds=20, origin=None):
        """All of them, once there are `count`."""
        return self.wait(f"{count} x {method} {place}", lambda: (found := self.requests(method, place, origin)) and len(found) >= count and found, seconds)

    def wait_request(self, method, place, count=1, seconds=20, origin=None):
        """The one that makes it `count`."""
        return self.wait_requests(method, place, count, seconds, origin)[count - 1]
