"""Pods that answer on 8080, TCP (HTTP) and UDP, with their name and the address of who asks."""

import json
import socket
import urllib.request
from typing import Any

SERVER = """
import http.server, socket, threading
me = socket.gethostname()
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{me} {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
def datagrams():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", 8080))
    while True:
        _, who = s.recvfrom(100)
        s.sendto(f"{me} {who[0]}".encode(), who)
threading.Thread(target=datagrams, daemon=True).start()
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""
ASK_DATAGRAM = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"?")
print(s.recv(100).decode())
"""
ASK_FROM = """
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=5, source_address=(sys.argv[3], 0))
c.request("GET", "/")
print(c.getresponse().read().decode())
"""


def pod(name: str, node: str = "", **port: Any) -> str:
    """The manifest of one; `port` is added to its container port."""
    container = {
        "name": "server",
        "image": "wherry/component:dev",
        "command": ["python3", "-c", SERVER],
        "ports": [{"containerPort": 8080, **port}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "answering"}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, "nodeName": node},
        }
    )


def ask(address: str, port: int = 80, timeout: float = 3) -> tuple[str, str]:
    """Who answers this machine, and whom it saw asking.  Raises OSError."""
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=timeout) as answer:
        name, _, seen = answer.read().decode().partition(" ")
        return name, seen


def unreachable(address: str, port: int = 80) -> bool:
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return True
    return False
