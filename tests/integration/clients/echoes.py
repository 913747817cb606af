"""Something that listens: simulated pods share this machine's loopback, so what listens here listens in them."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(b"echo " + line)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@contextmanager
def echo() -> Iterator[int]:
    """The port of a server that answers every line with itself."""
    with _Server(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
