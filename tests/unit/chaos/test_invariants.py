"""A lab that is well, and what is told of it when something is not."""

import json
from dataclasses import replace

import pytest

from tests.chaos.invariants import Container, Scene, violations
from tests.chaos.remains import Remains, parsed

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
NODE = {"metadata": {"name": "node1"}, "status": {**READY, "allocatable": {"cpu": "1", "pods": "10"}}}
OWNER = {"kind": "StatefulSet", "metadata": {"name": "store"}, "spec": {"replicas": 1}, "status": {}}
PORT = {"port": 80, "protocol": "TCP"}
SERVICE = {
    "metadata": {"name": "store", "namespace": "chaos"},
    "spec": {"selector": {"app": "store"}, "clusterIP": "10.96.0.7", "ports": [PORT]},
}


def pod(uid="u1", name="store-0", cpu="500m", **metadata):
    return {
        "metadata": {
            "name": name, "namespace": "chaos", "uid": uid, "labels": {"app": "store"},
            "ownerReferences": [{"kind": "StatefulSet", "name": "store", "controller": True}], **metadata,
        },
        "spec": {"nodeName": "node1", "containers": [{"name": "main", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {
            **READY, "podIP": "10.244.0.5",
            "containerStatuses": [{"name": "main", "containerID": f"docker://{uid}-main"}],
        },
    }  # fmt: skip


def containers(uid="u1", name="store-0", *, running=True):
    return {
        f"{uid}-main": Container(uid, f"chaos/{name}/main", "node1", running, pause=False),
        f"{uid}-pause": Container(uid, f"chaos/{name}/POD", "node1", running, pause=True),
    }


def endpoints(*addresses):
    labels = {"kubernetes.io/service-name": "store"}
    told = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    ports = [{"port": 8080, "protocol": "TCP"}]
    return [{"metadata": {"namespace": "chaos", "labels": labels}, "ports": ports, "endpoints": told}]


SERVED = "10.96.0.7", "tcp", "80"
OWN = frozenset({"u1"})
ANOTHER = frozenset({"u1", "u2"})
HELD = Remains(1, OWN, OWN, frozenset(), {SERVED: {"10.244.0.5:8080"}})
WELL = Scene([NODE], [pod()], [OWNER], [SERVICE], endpoints("10.244.0.5"), containers(), {"node1": HELD})


def holding(**others):
    return replace(WELL, remains={"node1": replace(HELD, **others)})


def test_nothing_is_wrong_with_a_lab_that_is_well():
    assert [*violations(WELL)] == []


@pytest.mark.parametrize(
    ("scene", "told"),
    [
        (replace(WELL, nodes=[{**NODE, "status": {"allocatable": NODE["status"]["allocatable"]}}]), "is not Ready"),
        (replace(WELL, pods=[pod(deletionTimestamp="2026-01-01T00:00:00Z")]), "is leaving"),
        (replace(WELL, pods=[pod(cpu="2")]), "is promised 2"),
        (replace(WELL, owners=[{**OWNER, "spec": {"replicas": 2}}]), "StatefulSet store has 1 pods, not 2"),
        (replace(WELL, containers=WELL.containers | containers("u2")), "chaos/store-0/main runs 2 times"),
        (replace(WELL, containers=WELL.containers | containers("u2", "store-1")), "has no pod"),
        (replace(WELL, containers=containers(running=False)), "says that main runs as"),
        (holding(wires=2), "has 2 wires for 1 pods"),
        (holding(groups=ANOTHER), "node node1 has a group of pod u2"),
        (holding(directories=ANOTHER), "node node1 has a directory of pod u2"),
        (holding(mounts=ANOTHER), "node node1 has a mount of pod u2"),
        (holding(rules={}), "takes 10.96.0.7:tcp:80 to [], its endpoints are ['10.244.0.5:8080']"),
        (holding(rules={SERVED: {"10.244.0.5:8080", "10.244.0.6:8080"}}), "takes 10.96.0.7:tcp:80 to"),
        (holding(rules=HELD.rules | {("10.96.0.8", "tcp", "80"): {"10.244.0.5:8080"}}), "takes 10.96.0.8:tcp:80 to"),
        (replace(WELL, slices=endpoints()), "service store leads to []"),
        (replace(WELL, slices=endpoints("10.244.0.5", "10.244.0.6")), "service store leads to"),
    ],
)
def test_what_is_wrong_is_told(scene, told):
    assert any(told in each for each in violations(scene))


def test_what_a_node_printed_is_read():
    element = [{"concat": ["10.96.0.7", 6, 80, 0]}, {"concat": ["10.244.0.5", 8080]}]
    rules = {"nftables": [{"rule": {}}, {"map": {"name": "endpoints-tcp", "elem": [element]}}]}
    said = {"wires": 1, "groups": ["podu1"], "directories": ["u1"], "mounts": ["/r/pods/u1/volumes/v"], "rules": rules}
    assert parsed(json.dumps(said).encode()) == replace(HELD, mounts=OWN)


def test_a_table_without_rules_serves_nothing():
    element = [{"concat": ["10.96.0.7", 6, 80, 0]}, {"concat": ["10.244.0.5", 8080]}]
    rules = {"nftables": [{"map": {"name": "endpoints-tcp", "elem": [element]}}]}
    said = {"wires": 0, "groups": [], "directories": [], "mounts": [], "rules": rules}
    assert parsed(json.dumps(said).encode()).rules == {}
