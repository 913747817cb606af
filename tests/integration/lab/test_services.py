"""Rows 6 to 9 of the walk: a Deployment behind a Service."""

from collections import Counter
from itertools import islice

import pytest


@pytest.fixture
def served(kubectl, manifests, running):
    """The walk's Service and Deployment, with three Ready pods that are in the Service's endpoints."""
    told = kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml")
    assert told == "service/test-svc created\ndeployment.apps/test1 created\n"
    pods = running(3)
    kubectl.until(
        lambda all_: len(ready_addresses(all_)) == 3, "endpointslices", "-l", "kubernetes.io/service-name=test-svc"
    )
    return pods


def ready_addresses(slices):
    endpoints = [e for s in slices.values() for e in s.get("endpoints") or [] if e["conditions"].get("ready")]
    return {address for e in endpoints for address in e["addresses"]}


def cluster_ip(kubectl, name="test-svc"):
    return kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")


def shares(answers):
    assert len(answers) == 300
    return sorted(count / 300 for count in Counter(answers).values())


def tables(told):
    """The tables of `kubectl get`, blank lines between them, as lists of rows of fields; headers keep their spaces."""
    return [block.splitlines() for block in told.strip().split("\n\n")]


HEADERS = {
    "pod/": "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
    "service/": "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE SELECTOR",
    "deployment.apps/": "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
    "replicaset.apps/": "NAME DESIRED CURRENT READY AGE CONTAINERS IMAGES SELECTOR",
}


def test_get_all_prints_kubernetes_columns_and_the_pods_are_spread(served, kubectl):
    kubectl("wait", "deployment/test1", "--for=condition=Available", "--timeout=30s")
    found = tables(kubectl("get", "all", "-o", "wide"))
    assert {block[1].split("/")[0] + "/": " ".join(block[0].split()) for block in found} == HEADERS
    pods, services, deployments, replica_sets = [[row.split() for row in block[1:]] for block in found]
    assert len(pods) == 3
    assert {row[6] for row in pods} == {"node1", "node2", "node3"}
    assert {row[5].rsplit(".", 1)[0] for row in pods} == {p["status"]["podIP"].rsplit(".", 1)[0] for p in served}
    assert services[0][:2] == ["service/test-svc", "ClusterIP"]
    assert services[0][3:5] == ["<none>", "80/TCP"]
    assert services[0][-1] == "app=test1"
    assert deployments[0][:4] == ["deployment.apps/test1", "3/3", "3", "3"]
    assert deployments[0][-3:] == ["test1", "hewon16/image1:1", "app=test1"]
    assert replica_sets[0][1:4] == ["3", "3", "3"]
    hash_ = replica_sets[0][0].rsplit("-", 1)[1]
    assert replica_sets[0][-1] == f"app=test1,pod-template-hash={hash_}"
    assert all(row[0].startswith(f"pod/test1-{hash_}-") for row in pods)


def test_the_api_server_is_a_service_of_the_default_namespace(everywhere):
    row = everywhere("get", "all", "-o", "wide").splitlines()
    [kubernetes] = [line.split() for line in row if line.startswith("service/kubernetes")]
    assert kubernetes[1:5] == ["ClusterIP", "10.96.0.1", "<none>", "443/TCP"]


def test_endpoints_name_the_pods_and_the_api_servers(served, kubectl, everywhere, lab):
    header, row = kubectl("get", "endpoints").splitlines()
    assert header.split() == ["NAME", "ENDPOINTS", "AGE"]
    name, addresses, _ = row.split()
    assert name == "test-svc"
    assert set(addresses.split(",")) == {f"{pod['status']['podIP']}:8080" for pod in served}
    assert f"{lab.network}.20:6443" in everywhere("get", "endpoints", "kubernetes")


def test_every_pod_gets_its_share_of_a_nodes_requests(served, kubectl, node):
    parts = shares(node("node2").ask(f"http://{cluster_ip(kubectl)}/", 300))
    assert len(parts) == 3
    assert parts[0] >= 0.20
    assert parts[-1] <= 0.47


def test_every_pod_gets_its_share_of_a_pods_requests(served, kubectl):
    kubectl("run", "asking", "--image=busybox:1.35", "--", "sleep", "3600")
    kubectl("wait", "--for=condition=Ready", "pod/asking", "--timeout=30s")
    loop = f"for i in $(seq 300); do wget -qO- http://{cluster_ip(kubectl)}/; done"
    parts = shares(kubectl("exec", "asking", "--", "sh", "-c", loop).splitlines())
    assert len(parts) == 3
    assert parts[0] >= 0.20
    assert parts[-1] <= 0.47


def test_a_pod_reaches_itself_through_its_service(served, kubectl):
    one = served[0]["metadata"]["name"]
    loop = f"for i in $(seq 60); do timeout 5 wget -qO- http://{cluster_ip(kubectl)}/ || exit 1; done"
    assert f"test name: {one}" in kubectl("exec", one, "--", "sh", "-c", loop)


def test_a_node_port_answers_on_every_node(served, kubectl, node, lab):
    kubectl("expose", "deployment", "test1", "--name=outside", "--type=NodePort", "--port=80", "--target-port=8080")
    kubectl.until(
        lambda all_: len(ready_addresses(all_)) == 3, "endpointslices", "-l", "kubernetes.io/service-name=outside"
    )
    port = kubectl("get", "service", "outside", "-o", "jsonpath={.spec.ports[0].nodePort}")
    assert 30000 <= int(port) <= 32767
    for number in (1, 2, 3):
        assert len(set(node("node1").ask(f"http://{lab.network}.{100 + number}:{port}/", 60))) == 3


REFUSED = """
import socket, sys, time
started = time.monotonic()
try:
    socket.create_connection((sys.argv[1], 80), 5)
except OSError as e:
    print(type(e).__name__, time.monotonic() - started < 1)
"""


def test_a_service_without_endpoints_refuses_at_once(kubectl, manifests, node):
    kubectl("apply", "-f", f"{manifests}/svc.yaml")
    where = node("node1")
    address = cluster_ip(kubectl)
    # The proxy has the rule when the address is no longer unreachable.
    ask = lambda: where.run("python3", "-c", REFUSED, address)  # noqa: E731
    assert "ConnectionRefusedError True\n" in islice(iter(ask, ""), 50)


def test_an_address_that_no_service_owns_is_unreachable(node, lab):
    assert node("node1").run("python3", "-c", REFUSED, "10.96.255.250").split()[1] == "True"


def test_nothing_is_left_of_what_is_deleted(served, kubectl, manifests, containers, node):
    address = cluster_ip(kubectl)
    nodes = [node(f"node{n}") for n in (1, 2, 3)]
    assert all(address in one.rules() for one in nodes)
    kubectl("delete", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml", "--timeout=60s")
    kubectl("wait", "pods", "--all", "--for=delete", "--timeout=60s")
    assert containers(io__kubernetes__pod__namespace=kubectl.namespace) == []
    for one in nodes:
        assert address not in one.rules()
        routes, told = one.run("ip", "route"), one.run("find", f"{one.lab.data}/kubelet/{one.name}")
        for pod in served:
            assert f"{pod['status']['podIP']} " not in routes
            assert pod["metadata"]["uid"] not in told
