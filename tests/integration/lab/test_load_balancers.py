"""Services of type LoadBalancer answer this machine, at an address of the lab's network."""

import json
import time
import urllib.error
import urllib.request

import pytest

from tests.integration.lab.answering import ask, pod, unreachable

NODES = ("node1", "node2", "node3")
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


def balancer(name="web", **spec):
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"type": "LoadBalancer", "selector": {"app": "answering"}, "ports": ports, **spec}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})


@pytest.fixture
def serve(kubectl):
    """Makes the service and a Ready pod on each of the nodes; returns the address."""

    def make(*nodes, **spec):
        kubectl("apply", "-f", "-", stdin=balancer(**spec))
        for name in nodes:
            kubectl("apply", "-f", "-", stdin=pod(f"on-{name}", name))
        kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s")
        kubectl("wait", "service/web", "--for=jsonpath={.status.loadBalancer.ingress}", "--timeout=30s")
        [ingress] = kubectl.json("get", "service", "web")["status"]["loadBalancer"]["ingress"]
        assert ingress["ipMode"] == "VIP"
        eventually(lambda: not unreachable(ingress["ip"]))
        return ingress["ip"]

    return make


@pytest.fixture
def holders(node):
    """The nodes that have an address on their interface."""
    return lambda address: [n for n in NODES if f" {address}/32 " in node(n).run("ip", "-o", "address")]


def eventually(holds, seconds=15.0):
    """Packets have no watch: what the kernel does is looked at until it is so."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_the_address_answers_this_machine_the_nodes_and_pods(serve, kubectl, node, holders, lab):
    address = serve("node1", "node2")
    row = kubectl("get", "service", "web", "--no-headers").split()
    assert (row[1], row[3]) == ("LoadBalancer", address)
    assert address.startswith(f"{lab.network}.2")
    assert {ask(address)[0] for _ in range(40)} == {"on-node1", "on-node2"}
    assert len(holders(address)) == 1
    for name in NODES:
        assert node(name).ask(f"http://{address}/")[0].startswith("on-node")
    script = f"import urllib.request as u; print(u.urlopen('http://{address}/', timeout=5).read())"
    assert "on-node" in kubectl("exec", "on-node1", "--", "python3", "-c", script)
    told = kubectl("get", "events", "--field-selector=involvedObject.name=web", "-o", "jsonpath={..reason}")
    assert {"EnsuringLoadBalancer", "EnsuredLoadBalancer"} <= set(told.split())


def test_another_node_takes_over_and_the_address_goes_with_the_service(serve, kubectl, everywhere, holders):
    address = serve("node1")
    [before] = holders(address)
    everywhere("label", "node", before, f"{EXCLUDED}=")
    try:
        eventually(lambda: before not in holders(address) and len(holders(address)) == 1)
        assert ask(address)[0] == "on-node1", "the neighbours were told"
    finally:
        everywhere("label", "node", before, f"{EXCLUDED}-")
    eventually(lambda: holders(address) == [before])
    assert ask(address)[0] == "on-node1"
    kubectl("patch", "service", "web", "-p", '{"spec": {"type": "ClusterIP"}}')
    eventually(lambda: holders(address) == [])
    assert kubectl("get", "service", "web", "--no-headers").split()[3] == "<none>"


def test_an_address_that_went_while_the_proxy_was_away_is_removed(serve, kubectl, holders, docker_engine, lab):
    address = serve("node1")
    [owner] = holders(address)
    proxy = docker_engine.containers.get(lab.container(f"{owner}-kube-proxy"))
    proxy.stop(timeout=5)
    try:
        assert ask(address)[0] == "on-node1", "packets outlive the proxy"
        kubectl("delete", "service", "web")
        assert holders(address) == [owner]
    finally:
        proxy.start()
    eventually(lambda: holders(address) == [])


def test_policy_local_keeps_the_clients_address_and_nodes_tell_whether_they_serve(serve, kubectl, holders, lab):
    address = serve("node2", externalTrafficPolicy="Local")
    eventually(lambda: holders(address) == ["node2"])
    assert ask(address) == ("on-node2", f"{lab.network}.1")
    port = kubectl.json("get", "service", "web")["spec"]["healthCheckNodePort"]

    def health(number):
        try:
            with urllib.request.urlopen(f"http://{lab.network}.{100 + number}:{port}/", timeout=5) as answer:
                return answer.status, json.loads(answer.read())["localEndpoints"]
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())["localEndpoints"]

    assert [health(number) for number in (1, 2, 3)] == [(503, 0), (200, 1), (503, 0)]


def test_only_sources_in_the_ranges_come_through(serve, kubectl, lab):
    address = serve("node1", loadBalancerSourceRanges=[f"{lab.network}.1/32"])
    assert ask(address)[0] == "on-node1"
    kubectl("patch", "service", "web", "-p", '{"spec": {"loadBalancerSourceRanges": ["192.0.2.0/24"]}}')
    eventually(lambda: unreachable(address))
