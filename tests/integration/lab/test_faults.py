"""Components that die, restart or stay away for a while: nobody's containers or packets may notice."""

import subprocess
from contextlib import closing

import docker
import pytest

from wherry import bringing_up
from wherry.composing import Compose
from wherry.kubectl import Kubectl
from wherry.labs import NODES, node_names
from wherry.progress import Progress

from .composing import compose

# Asking goes on from node3's kubelet, so that one is spared.
COMPONENTS = ("etcd", "apiserver", "controller-manager", "scheduler", "node1-kubelet", "node1-kube-proxy",
              "node2-kubelet")  # fmt: skip
KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"


@pytest.fixture
def part(lab, docker_engine):
    return lambda service: docker_engine.containers.get(lab.container(service))


@pytest.fixture
def dies(lab, node, part):
    """Kills the process of a service's container, which the engine does not take for somebody's wish."""

    def kill(service, spared="node3"):
        node(spared).run("python3", "-c", KILL, str(part(service).attrs["State"]["Pid"]))

    return kill


@pytest.fixture
def served(kubectl, manifests, running):
    """The address of a Service with three ready endpoints."""
    kubectl("apply", "-f", f"{manifests}/svc.yaml", "-f", f"{manifests}/deploy.yaml")
    running(3)
    three = lambda slices: sum(len(s.get("endpoints") or []) for s in slices.values()) == 3  # noqa: E731
    kubectl.until(three, "endpointslices", "-l", "kubernetes.io/service-name=test-svc")
    return f"http://{kubectl('get', 'service', 'test-svc', '-o', 'jsonpath={.spec.clusterIP}')}/"


def identities(pods):
    return {s["containerID"]: s["restartCount"] for pod in pods for s in pod["status"]["containerStatuses"]}


@pytest.mark.long
def test_restarted_and_killed_components_are_not_noticed(served, node, part, dies, kubectl, running, everywhere):
    before = identities(running(3))
    with node("node3").asking(served) as load:
        for service in COMPONENTS:
            part(service).restart(timeout=5)
        everywhere.until(lambda nodes: len(nodes) == NODES, "nodes", seconds=30)
        for service in COMPONENTS:
            dies(service)
    assert load.faults == "[]"
    assert load.answers > 200
    everywhere("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=60s")
    kubectl("scale", "deployment/test1", "--replicas=6")
    after = identities(running(6))
    assert before.items() <= after.items()
    assert all(part(service).status == "running" for service in COMPONENTS)


def test_a_pod_whose_sandbox_dies_gets_another_at_the_same_place(served, kubectl, running, of_pod, docker_engine):
    [pod, *_] = running(3)
    [sandbox] = [c for c in of_pod(pod) if c.labels["io.wherry.kind"] == "pause"]
    sandbox.kill()
    name, first = pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["containerID"]

    def rebuilt(pods):
        return any(s["ready"] and s["containerID"] != first for s in pods[name]["status"]["containerStatuses"])

    again = kubectl.until(rebuilt, "pods")[name]
    assert (again["spec"]["nodeName"], again["metadata"]["uid"]) == (pod["spec"]["nodeName"], pod["metadata"]["uid"])
    with pytest.raises(docker.errors.NotFound):
        docker_engine.containers.get(sandbox.id)


def test_a_node_whose_network_is_lost_is_wired_anew(lab, served, node, dies, docker_engine, running, everywhere):
    before = identities(running(3))
    cut_off = {lab.container(service) for service in ("node2-kubelet", "node2-kube-proxy")}
    with closing(docker_engine.events(decode=True, filters={"event": "start", "container": [*cut_off]})) as starts:
        dies("node2")
        while cut_off:
            cut_off.discard(next(starts)["Actor"]["Attributes"]["name"])
    everywhere("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=30s")
    assert identities(running(3)) == before
    for asker in ("node2", "node3"):
        # The pods' end of the wire is new, too.
        assert len(set(node(asker).run("python3", "-c", PATIENTLY, served, "3").splitlines())) == 3


PATIENTLY = """
import sys, urllib.request
seen = set()
for _ in range(2000):
    try:
        seen.add(urllib.request.urlopen(sys.argv[1], timeout=1).read().decode().strip())
    except OSError:
        continue
    if len(seen) == int(sys.argv[2]):
        break
print("\\n".join(seen))
"""


def test_without_etcd_writes_fail_and_with_it_all_goes_on(lab, served, kubectl, running, part, everywhere):
    before = identities(running(3))
    compose(lab, "stop", "etcd")
    try:
        refused = kubectl.run("create", "configmap", "too-early", "--request-timeout=5s")
        assert refused.returncode
        assert "too-early" not in refused.stdout
    finally:
        compose(lab, "start", "etcd")
    everywhere.until(lambda nodes: len(nodes) == NODES, "nodes", seconds=60)
    kubectl("scale", "deployment/test1", "--replicas=4")
    assert before.items() <= identities(running(4)).items()
    assert part("apiserver").status == "running"


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
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers: [{name: main, image: "hewon16/image1:1"}]
"""


@pytest.mark.long
def test_the_pods_of_a_lost_node_are_evicted_and_replaced(lab, kubectl, running, everywhere, containers):
    kubectl("apply", "-f", "-", stdin=HASTY)
    lost = next(pod for pod in running(3, "app=hasty") if pod["spec"]["nodeName"] == "node3")
    name, uid = lost["metadata"]["name"], lost["metadata"]["uid"]
    compose(lab, "stop", "node3-kubelet", "node3-kube-proxy", "node3")
    try:
        everywhere("wait", "node/node3", "--for=condition=Ready=Unknown", "--timeout=50s")

        def replaced(pods):
            ready = [p for p in pods.values() if p["spec"].get("nodeName") in ("node1", "node2") and is_up(p)]
            return len(ready) == 3 and "deletionTimestamp" in pods[name]["metadata"]

        # Nobody confirms that its containers have ended, so the object waits for its node.
        kubectl.until(replaced, "pods")
    finally:
        compose(lab, "up", "--detach", "--pull", "never", "node3", "node3-kubelet", "node3-kube-proxy")
    everywhere("wait", "node/node3", "--for=condition=Ready", "--timeout=60s")
    kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=60s")
    assert containers(io__kubernetes__pod__uid=uid) == []


def is_up(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


@pytest.mark.long
def test_a_lab_with_fewer_nodes_forgets_the_others(lab, docker_engine, kubectl, running, manifests, everywhere):
    kubectl("apply", "-f", f"{manifests}/deploy.yaml")
    running(3)
    change = Compose(lab)
    try:
        change.choose(2)
        with Progress() as progress:
            bringing_up.start(lab, node_names(2), docker_engine, progress)
        assert everywhere("get", "nodes", "-o", "name").split() == ["node/node1", "node/node2"]
        assert {pod["spec"]["nodeName"] for pod in running(3)} == {"node1", "node2"}
    finally:
        change.choose(NODES)
        with Progress() as progress:
            bringing_up.start(lab, node_names(NODES), docker_engine, progress)


ASK_NAMES = """
import socket, sys, threading, time
end, faults, answers = threading.Event(), [], 0
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
print("asking", flush=True)
while not end.is_set():
    asked = time.monotonic()
    try:
        socket.getaddrinfo("kubernetes.default", 443, socket.AF_INET)
        answers += 1
    except OSError as e:
        faults.append(asked)  # a resolver that heard nothing asks once more after 5 s
print(answers, faults[-1] - faults[0] if faults else 0)
"""


@pytest.mark.parametrize("killed", ["cluster-dns", "cluster-dns1"])
def test_a_dns_server_that_is_killed_is_missed_for_less_than_a_second(killed, kubectl, everywhere, dies):
    system = Kubectl(everywhere.lab, "kube-system")
    which = ("endpointslices", "-l", "k8s-app=kube-dns")

    def both_ready(slices):
        return sum(e["conditions"]["ready"] for s in slices.values() for e in s["endpoints"]) == 2

    system.until(both_ready, *which, seconds=20)
    image = "wherry/component:dev"
    kubectl("run", "asker", f"--image={image}", "--image-pull-policy=Never", "--command", "--", "sleep", "infinity")
    kubectl("wait", "pod/asker", "--for=condition=Ready", "--timeout=30s")
    command = kubectl.command("exec", "-i", "asker", "--", "python3", "-c", ASK_NAMES)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=kubectl.environment(), stdin=pipe, stdout=pipe, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "asking\n"
        slices = system.watch(*which, seconds=20)
        next(slices)
        dies(killed)
        assert any(not e["conditions"]["ready"] for event in slices for e in event["object"]["endpoints"])
        system.until(both_ready, *which, seconds=20)
        told, _ = running.communicate(timeout=30)
    answers, missed = told.split()
    assert float(missed) < 1
    assert int(answers) > 10
