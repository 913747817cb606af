"""Packets outlive the proxy."""

import pytest

from tests.integration.lab.answering import pod

# Connects, and asks over the connection that it has had all the time when it is told to.
HOLD = """
import socket, sys
s = socket.create_connection((sys.argv[1], 8080), 5)
print("connected", flush=True)
sys.stdin.readline()
s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
print(b"200 OK" in s.recv(100), flush=True)
"""


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.long)])
def test_a_proxy_that_is_killed_again_and_again_drops_no_connection(kubectl, node, docker_engine, lab, times):
    kubectl("apply", "-f", "-", stdin=pod("there", "node1"))
    kubectl("wait", "pod/there", "--for=condition=Ready", "--timeout=60s")
    kubectl("expose", "pod", "there", "--port=8080")
    address = kubectl("get", "service", "there", "-o", "jsonpath={.spec.clusterIP}")
    client = node("node2")
    assert client.ask(f"http://{address}:8080/")[0].startswith("there ")
    proxy = docker_engine.containers.get(lab.container("node2-kube-proxy"))
    with client.talking(HOLD, address) as holding:
        assert holding.stdout.readline() == "connected\n"
        with client.asking(f"http://{address}:8080/") as load:
            for _ in range(times):
                proxy.kill()
                proxy.start()
        told, _ = holding.communicate("now\n", timeout=30)
    assert told == "True\n"
    assert load.faults == "[]"
    assert load.answers > times
