"""Ports of a node that its pods ask for, as upstream's conformance test of HostPort asks for them."""

import json
import time

import pytest

from tests.integration.lab.answering import ASK_DATAGRAM, ASK_FROM, ask, pod, unreachable

PORT = 54323


@pytest.fixture
def run(kubectl):
    def make(name, host_ip="", protocol="TCP", port=PORT):
        given = {"hostIP": host_ip} if host_ip else {}
        kubectl("apply", "-f", "-", stdin=pod(name, "node1", hostPort=port, protocol=protocol, **given))
        kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")

    return make


def test_pods_with_one_host_port_on_different_addresses_and_protocols_each_answer(run, kubectl, node, lab):
    address = f"{lab.network}.101"
    run("pod1", "127.0.0.1")
    run("pod2", address)
    run("pod3", address, "UDP")
    on_the_host = json.loads(pod("host", "node1"))
    on_the_host["spec"] |= {"hostNetwork": True}
    on_the_host["spec"]["containers"][0] |= {"command": ["sleep", "3600"], "ports": [], "readinessProbe": None}
    kubectl("apply", "-f", "-", stdin=json.dumps(on_the_host))
    kubectl("wait", "pod/host", "--for=condition=Ready", "--timeout=60s")

    def inside(script, *arguments):
        return kubectl("exec", "host", "--", "python3", "-c", script, *map(str, arguments)).split()[0]

    assert inside(ASK_FROM, "127.0.0.1", PORT, address) == "pod1"
    assert inside(ASK_FROM, "127.0.0.1", PORT, "127.0.0.1") == "pod1"
    assert inside(ASK_FROM, address, PORT, address) == "pod2"
    assert inside(ASK_DATAGRAM, address, PORT) == "pod3"
    assert ask(address, PORT) == ("pod2", f"{lab.network}.1")
    assert node("node2").ask(f"http://{address}:{PORT}/")[0].startswith("pod2 ")


def test_a_host_port_outlives_the_proxy_and_the_kubelet_and_goes_with_the_pod(run, kubectl, docker_engine, lab):
    address = f"{lab.network}.101"
    run("pod1", port=8099)
    assert ask(address, 8099)[0] == "pod1"
    for part in ("node1-kube-proxy", "node1-kubelet"):
        docker_engine.containers.get(lab.container(part)).restart(timeout=5)
        assert ask(address, 8099)[0] == "pod1"
    kubectl("delete", "pod", "pod1", "--wait")
    end = time.monotonic() + 10
    while not unreachable(address, 8099):
        assert time.monotonic() < end


def test_a_node_port_answers_on_the_nodes_loopback_address(kubectl, node):
    kubectl("apply", "-f", "-", stdin=pod("there", "node3"))
    kubectl("wait", "pod/there", "--for=condition=Ready", "--timeout=60s")
    kubectl("expose", "pod", "there", "--type=NodePort", "--port=8080")
    port = kubectl("get", "service", "there", "-o", "jsonpath={.spec.ports[0].nodePort}")
    end = time.monotonic() + 10
    while f" . {port} " not in node("node1").rules():
        assert time.monotonic() < end
    assert node("node1").ask(f"http://127.0.0.1:{port}/")[0].startswith("there ")
