"""NetworkPolicies between pods of real containers, on one node and on two, with the names and probes of a real cluster."""

import json

import pytest

from tests.integration.lab.answering import pod

TRY = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode().split()[0])
except OSError:
    print("nothing")
"""


@pytest.fixture
def run(kubectl):
    """Pods with a role, by name and node; returns when all are Ready, their addresses."""

    def make(**nodes):
        for name, node in nodes.items():
            manifest = json.loads(pod(name, node))
            manifest["spec"]["containers"][0]["ports"][0]["name"] = "http"
            manifest["metadata"]["labels"]["role"] = name.rstrip("0123456789")
            kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s")
        return {name: kubectl("get", "pod", name, "-o", "jsonpath={.status.podIP}") for name in nodes}

    return make


@pytest.fixture
def policy(kubectl):
    def make(name, **spec):
        document = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}}
        kubectl("apply", "-f", "-", stdin=json.dumps(document | {"spec": spec}))

    return make


@pytest.fixture
def tries(kubectl):
    """Who answers the pod; again until it is `expected`, since nobody tells when a proxy has programmed a policy."""

    def ask(who, url, expected):
        for _ in range(20):
            found = kubectl(
                "exec", who, "--", "python3", "-c", TRY, url, "5" if expected != "nothing" else "0.7"
            ).strip()
            if found == expected:
                return found
        return found

    return ask


@pytest.fixture
def steady(lab, docker_engine):
    """No proxy ends by itself meanwhile: the engine would start it again, and what it enforces would be as before."""

    def ends():
        everyone = docker_engine.containers.list(all=True, filters={"name": f"{lab.name}-node"})
        return {c.name: c.attrs["RestartCount"] for c in everyone if "kube-proxy" in c.name}

    before = ends()
    assert before
    yield
    assert ends() == before


def role(name):
    return {"podSelector": {"matchLabels": {"role": name}}}


@pytest.mark.usefixtures("steady")
def test_only_whom_a_policy_names_reaches_a_pod_directly_and_by_its_service(run, policy, tries, kubectl, node):
    addresses = run(server="node1", friend1="node1", friend2="node2", stranger1="node1", stranger2="node2")
    kubectl("expose", "pod", "server", "--port=80", "--target-port=8080")
    for who in ("friend1", "friend2", "stranger1", "stranger2"):
        assert tries(who, "http://server/", "server") == "server"
    policy("server", **role("server"), ingress=[{"from": [role("friend")], "ports": [{"port": "http"}]}])
    for url in ("http://server/", f"http://{addresses['server']}:8080/"):
        assert tries("stranger1", url, "nothing") == tries("stranger2", url, "nothing") == "nothing"
        assert tries("friend1", url, "server") == tries("friend2", url, "server") == "server"
    address = kubectl("get", "service", "server", "-o", "jsonpath={.spec.clusterIP}")
    assert tries("server", f"http://{address}/", "server") == "server", "a pod reaches itself"
    assert node("node1").ask(f"http://{addresses['server']}:8080/")[0].startswith("server "), "its node reaches it"
    kubectl("label", "pod", "stranger2", "role=friend", "--overwrite")
    assert tries("stranger2", "http://server/", "server") == "server"
    ready = kubectl("get", "pod", "server", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}")
    assert ready == "True", "probes come from the node"


@pytest.mark.usefixtures("steady")
def test_what_may_leave_is_told_by_egress_and_a_new_pod_is_isolated_from_its_start(run, policy, tries, kubectl):
    run(server="node1", other="node2")
    for name in ("server", "other"):
        kubectl("expose", "pod", name, "--port=80", "--target-port=8080")
    dns = {"ports": [{"port": 53, "protocol": "UDP"}]}
    policy("all", podSelector={}, policyTypes=["Ingress", "Egress"])
    policy("server", **role("server"), ingress=[{}])
    policy("client", **role("client"), egress=[dns, {"to": [role("server")]}], policyTypes=["Egress"])
    run(client="node2")
    assert tries("client", "http://server/", "server") == "server"
    assert tries("client", "http://other/", "nothing") == "nothing"
    kubectl("delete", "networkpolicies", "--all")
    assert tries("client", "http://other/", "other") == "other"


def test_policies_hold_while_their_proxy_is_away(run, policy, tries, docker_engine, lab):
    addresses = run(server="node1", friend="node2", stranger="node2")
    url = f"http://{addresses['server']}:8080/"
    policy("server", **role("server"), ingress=[{"from": [role("friend")]}])
    assert tries("stranger", url, "nothing") == "nothing"
    proxy = docker_engine.containers.get(lab.container("node1-kube-proxy"))
    proxy.kill()
    try:
        assert tries("stranger", url, "nothing") == "nothing"
        assert tries("friend", url, "server") == "server"
    finally:
        proxy.start()
