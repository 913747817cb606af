"""What is in a Secret is seen by those who may read it and by the pods that it is for, and nowhere else."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from wherry.kubectl import Kubectl
from wherry.labs import CLUSTER_LABEL, Lab

POD = """
apiVersion: v1
kind: Pod
metadata: {name: keeper}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - name: reader
    image: wherry/component:dev
    command: [python3, -c, "print(open('/treasure/gold').read() == __import__('os').environ['GOLD'])"]
    env: &env [{name: GOLD, valueFrom: {secretKeyRef: {name: treasure, key: gold}}}]
    volumeMounts: &mounts [{name: treasure, mountPath: /treasure}, {name: part, mountPath: /part, subPath: gold}]
  containers:
  - name: main
    image: wherry/component:dev
    command: [sleep, "3600"]
    env: *env
    volumeMounts: *mounts
    readinessProbe: {exec: {command: [cat, /treasure/gold]}, periodSeconds: 1}
  - name: broken
    image: wherry/component:dev
    command: [sh, -c, "exit 3"]
    env: *env
  imagePullSecrets: [{name: registry}]
  volumes:
  - {name: treasure, secret: {secretName: treasure}}
  - {name: part, projected: {sources: [{secret: {name: treasure}}]}}
"""


def shows(text: bytes, canary: bytes) -> bool:
    """As it is, or as a Secret's data has it."""
    return canary in text or base64.b64encode(canary).rstrip(b"=") in text


@pytest.fixture(scope="module")
def canary(lab: Lab) -> Iterator[bytes]:
    """In a Secret that a pod uses in every way, one whose container fails, and one that is of no use for pulling."""
    gold = uuid4().hex.encode()
    kubectl = Kubectl(lab, f"leaks-{uuid4().hex[:8]}")
    Kubectl(lab)("create", "namespace", kubectl.namespace)
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    for name, more in (("treasure", {}), ("registry", {"type": "kubernetes.io/dockerconfigjson"})):
        data = (
            {".dockerconfigjson": json.dumps({"auths": {"x": {"auth": gold.decode()}}})}
            if more
            else {"gold": gold.decode()}
        )
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data, **more}
        kubectl("create", "-f", "-", stdin=json.dumps(secret))
    kubectl("create", "-f", "-", stdin=POD)
    kubectl(
        "wait",
        "--for=jsonpath={.status.containerStatuses[?(@.name=='main')].ready}=true",
        "pod/keeper",
        "--timeout=60s",
    )
    kubectl(
        "wait",
        "--for=jsonpath={.status.containerStatuses[?(@.name=='broken')].restartCount}=1",
        "pod/keeper",
        "--timeout=60s",
    )
    assert kubectl("logs", "keeper", "-c", "reader") == "True\n"
    # Things that go wrong tell what they were about.
    wrong = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "Wrong Name"},
        "stringData": {"gold": gold.decode()},
    }
    assert kubectl.run("create", "-f", "-", stdin=json.dumps(wrong)).returncode
    kubectl("patch", "secret", "treasure", "-p", '{"metadata": {"labels": {"a": "b"}}}')
    yield gold
    kubectl("delete", "namespace", kubectl.namespace, "--wait=false")


def run(*command: str) -> bytes:
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True)
    return ran.stdout


def containers(label: str) -> list[str]:
    return run("docker", "ps", "-aq", "--filter", f"label={label}").decode().split()


def test_no_component_writes_it_to_its_log(lab: Lab, canary: bytes) -> None:
    components = containers(f"com.docker.compose.project={lab.name}")
    logs = {name: run("docker", "logs", name) for name in components}
    assert len(b"".join(logs.values())) > 1000
    assert [name for name, log in logs.items() if shows(log, canary)] == []


def test_no_object_but_the_secret_has_it(lab: Lab, canary: bytes) -> None:
    kubectl = Kubectl(lab)
    names = [n for n in kubectl("api-resources", "--verbs=list", "-o", "name").split() if not n.startswith("secrets")]
    assert {"events", "pods", "events.events.k8s.io", "configmaps"} <= set(names)
    said = kubectl("get", ",".join(names), "-A", "-o", "json", "--show-managed-fields")
    assert "keeper" in said
    assert not shows(said.encode(), canary)


def test_the_engine_knows_it_as_the_environment_of_its_pod_only(lab: Lab, canary: bytes) -> None:
    found = containers(f"{CLUSTER_LABEL}={lab.name}") + containers(f"com.docker.compose.project={lab.name}")
    told = json.loads(run("docker", "inspect", *found))
    with_it = {each["Name"].strip("/"): each for each in told if shows(json.dumps(each).encode(), canary)}
    assert with_it
    for each in with_it.values():
        assert "keeper" in each["Name"]
        each["Config"]["Env"] = []
        assert not shows(json.dumps(each).encode(), canary)
        assert not shows(
            Path(f"/proc/{each['State']['Pid']}/cmdline").read_bytes() if each["State"]["Pid"] else b"", canary
        )


def test_no_other_user_of_the_machine_can_read_it(lab: Lab, canary: bytes) -> None:
    holding = [path for top in (lab.data, lab.state) for path in files(top) if shows(path.read_bytes(), canary)]
    assert [path for path in holding if is_open_to_others(path)] == []


def test_no_page_of_a_component_shows_it(lab: Lab, canary: bytes) -> None:
    kubectl = Kubectl(lab)
    node = kubectl(
        "get", "pods", "-A", "--field-selector=metadata.name=keeper", "-o", "jsonpath={.items[0].spec.nodeName}"
    )
    pages = ["/metrics", "/openapi/v3", *(f"/api/v1/nodes/{node}/proxy/{page}" for page in ("pods", "configz", "metrics", "stats/summary", "runningpods/"))]  # fmt: skip
    for page in pages:
        said = kubectl("get", "--raw", page)
        assert len(said) > 100, page
        assert not shows(said.encode(), canary), page


def files(top: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(top):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and path.stat().st_size < 1 << 22:
                yield path


def is_open_to_others(path: Path) -> bool:
    path = path.resolve()
    return bool(path.stat().st_mode & 0o004) and all(parent.stat().st_mode & 0o001 for parent in path.parents)
