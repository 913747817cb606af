"""A lab that is well, and what is told of it when something is not."""

from dataclasses import replace

import pytest

from tests.chaos.invariants import Container, Scene, violations

READY = {"conditions": [{"type": "Ready", "status": "True"}]}
NODE = {"metadata": {"name": "node1"}, "status": {**READY, "allocatable": {"cpu": "1", "pods": "10"}}}
OWNER = {"kind": "StatefulSet", "metadata": {"name": "store"}, "spec": {"replicas": 1}, "status": {}}
SERVICE = {"metadata": {"name": "store", "namespace": "chaos"}, "spec": {"selector": {"app": "store"}}}


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
    return [{"metadata": {"namespace": "chaos", "labels": labels}, "endpoints": told}]


WELL = Scene([NODE], [pod()], [OWNER], [SERVICE], endpoints("10.244.0.5"), containers(), {"node1": 1})


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
        (replace(WELL, wires={"node1": 2}), "has 2 wires for 1 pods"),
        (replace(WELL, slices=endpoints()), "service store leads to []"),
        (replace(WELL, slices=endpoints("10.244.0.5", "10.244.0.6")), "service store leads to"),
    ],
)
def test_what_is_wrong_is_told(scene, told):
    assert any(told in each for each in violations(scene))
