"""`wherry node …`: a node without power, and one without a way to the control plane."""

import contextlib

import docker
import pytest

from wherry import cutting, powering
from wherry.kubectl import Kubectl
from wherry.troubles import Trouble

HASTY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: hasty}
spec:
  replicas: 3
  selector: {matchLabels: {app: hasty}}
  template:
    metadata: {labels: {app: hasty}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway,
         labelSelector: {matchLabels: {app: hasty}}}
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers: [{name: main, image: "hewon16/image1:1"}]
"""
PINNED = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: pinned}}}}
spec:
  nodeName: node3
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: "hewon16/image1:1"}}]
"""


@pytest.fixture
def engine(lab, docker_engine):
    """The engine; whatever a test has done to node3 is undone."""
    yield docker_engine
    for undo in (powering.start, cutting.mend):
        with contextlib.suppress(Trouble):
            undo(docker_engine, lab, "node3")
    Kubectl(lab)("wait", "node/node3", "--for=condition=Ready", "--timeout=60s")


def alive(containers):
    return [c for c in containers if c.status == "running"]


def test_a_node_that_is_cut_off_keeps_its_pods_until_it_is_back(
    lab, engine, kubectl, running, everywhere, node, of_pod
):  # fmt: skip
    kubectl("apply", "-f", "-", stdin=HASTY + "---" + PINNED.format(name="neighbour"))
    kubectl("wait", "pod/neighbour", "--for=condition=Ready", "--timeout=60s")
    lost = next(pod for pod in running(3, "app=hasty") if pod["spec"]["nodeName"] == "node3")
    neighbour = kubectl.json("get", "pod", "neighbour")
    name = lost["metadata"]["name"]
    cutting.cut(engine, lab, "node3")
    everywhere("wait", "node/node3", "--for=condition=Ready=Unknown", "--timeout=60s")

    def replaced(pods):
        ready = [p for p in pods.values() if p["spec"].get("nodeName") in ("node1", "node2") and is_up(p)]
        return len(ready) == 3 and "deletionTimestamp" in pods[name]["metadata"]

    kubectl.until(replaced, "pods", "--selector=app=hasty")
    assert len(alive(of_pod(lost))) == 2  # its sandbox, too
    assert node("node3").ask(f"http://{lost['status']['podIP']}:8080/")
    assert node("node3").ask(f"http://{neighbour['status']['podIP']}:8080/")
    cutting.mend(engine, lab, "node3")
    everywhere("wait", "node/node3", "--for=condition=Ready", "--timeout=30s")
    kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=30s")
    assert of_pod(lost) == []
    survivors = running(3, "app=hasty")
    assert {len(alive(of_pod(pod))) for pod in survivors} == {2}


def test_a_node_may_be_cut_off_one_way(lab, engine, node):
    ask = "import socket; socket.create_connection((__import__('sys').argv[1], 6443), 0.5)"
    tried = f"try:\n {ask}\n print('there')\nexcept TimeoutError:\n print('lost')"
    reaches = lambda: node("node3").run("python3", "-c", tried, f"{lab.network}.20").strip()  # noqa: E731
    assert reaches() == "there"
    for way in cutting.Way:
        cutting.cut(engine, lab, "node3", way)
        assert reaches() == "lost"
        cutting.mend(engine, lab, "node3")
    assert reaches() == "there"


def test_a_node_without_power_loses_its_containers_and_comes_back_with_nothing_stale(
    lab, engine, kubectl, everywhere, containers, of_pod
):  # fmt: skip
    kubectl("apply", "-f", "-", stdin=PINNED.format(name="stays") + "---" + PINNED.format(name="goes"))
    kubectl("wait", "pod/stays", "pod/goes", "--for=condition=Ready", "--timeout=60s")
    stays, goes = kubectl.json("get", "pods", "stays", "goes")["items"]
    powering.stop(engine, lab, "node3")
    assert alive(containers(io__wherry__node="node3")) == []
    assert of_pod(goes)
    kubectl("delete", "pod", "goes", "--force", "--grace-period=0")
    powering.start(engine, lab, "node3")

    def restarted(pods):
        return any(s["ready"] and s["restartCount"] for s in pods["stays"]["status"]["containerStatuses"])

    again = kubectl.until(restarted, "pod", "stays")["stays"]
    everywhere("wait", "node/node3", "--for=condition=Ready", "--timeout=30s")
    assert again["metadata"]["uid"] == stays["metadata"]["uid"]
    assert len(alive(of_pod(again))) == 2
    for container in of_pod(goes):
        with contextlib.suppress(docker.errors.NotFound):
            container.wait(condition="removed", timeout=30)
    assert of_pod(goes) == []


def is_up(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
