"""The kinds of CSI, volumes and classes: what is refused of new ones, and what stays as it is."""

from typing import Any

import pytest

from api import kinds, meta
from api.kinds import Kind
from apiserver.rules import decode, default, validate, validate_update

CSI = {"driver": "d.example.com", "volumeHandle": "one"}
GOOD: dict[tuple[str, str], dict[str, Any]] = {
    ("v1", "PersistentVolume"): {
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "csi": CSI}
    },
    ("storage.k8s.io/v1", "CSIDriver"): {},
    ("storage.k8s.io/v1", "CSINode"): {"spec": {"drivers": [{"name": "d.example.com", "nodeID": "n"}]}},
    ("storage.k8s.io/v1", "CSIStorageCapacity"): {"storageClassName": "s", "capacity": "1Gi"},
    ("storage.k8s.io/v1", "VolumeAttachment"): {
        "spec": {"attacher": "d.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    },
    ("storage.k8s.io/v1", "VolumeAttributesClass"): {"driverName": "d.example.com", "parameters": {"a": "b"}},
    ("node.k8s.io/v1", "RuntimeClass"): {"handler": "runc"},
    ("networking.k8s.io/v1", "IngressClass"): {"spec": {"controller": "example.com/one"}},
}


def made(name: str, changes: dict[str, Any] | None = None) -> tuple[Kind, Any]:
    version, found = next((v, body) for (v, n), body in GOOD.items() if n == name)
    kind = kinds.by_name(version, name)
    assert kind is not None
    metadata = {"name": "one"} | ({"namespace": "ns"} if kind.namespaced else {})
    body: dict[str, Any] = {"metadata": metadata, **found}
    for key, value in (changes or {}).items():
        body[key] = {**body.get(key, {}), **value} if isinstance(value, dict) else value
    obj, _ = decode(kind, meta.encode(body))
    default(kind, obj)
    return kind, obj


@pytest.mark.parametrize("name", [name for _, name in GOOD])
def test_good_ones_are_good(name: str) -> None:
    kind, obj = made(name)
    assert validate(kind, obj) == []
    assert validate_update(kind, obj, made(name)[1]) == []


@pytest.mark.parametrize(
    ("name", "changes", "fault"),
    [
        ("PersistentVolume", {"spec": {"accessModes": []}}, "spec.accessModes: Required value"),
        ("PersistentVolume", {"spec": {"csi": None}}, "spec: Required value: must specify a volume type"),
        ("PersistentVolume", {"spec": {"capacity": {}}}, "spec.capacity: Required value"),
        (
            "PersistentVolume", {"spec": {"hostPath": {"path": "/x"}}},
            "spec.hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "PersistentVolume", {"spec": {"csi": None, "local": {"path": "/x"}}},
            "spec.nodeAffinity: Required value: Local volume requires node affinity",
        ),
        (
            "CSIDriver", {"spec": {"volumeLifecycleModes": ["Other"]}},
            'spec.volumeLifecycleModes[0]: Unsupported value: "Other": supported values: "Ephemeral", "Persistent"',
        ),
        ("CSINode", {"spec": {"drivers": [{"name": "d", "nodeID": ""}]}}, "spec.drivers[0].nodeID: Required value"),
        ("VolumeAttachment", {"spec": {"attacher": ""}}, "spec.attacher: Required value"),
        (
            "VolumeAttachment", {"spec": {"source": {}}},
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ),
        (
            "VolumeAttributesClass", {"parameters": None},
            "parameters: Required value: must contain at least one key/value pair",
        ),
        (
            "IngressClass", {"spec": {"controller": "one"}},
            'spec.controller: Invalid value: "one": must be a domain-prefixed path (such as "acme.io/foo")',
        ),
        ("IngressClass", {"spec": {"parameters": {"kind": "K", "name": ""}}}, "spec.parameters.name: Required value"),
    ],
)  # fmt: skip
def test_bad_ones_are_refused(name: str, changes: dict[str, Any], fault: str) -> None:
    kind, obj = made(name, changes)
    assert [str(f) for f in validate(kind, obj)] == [fault]


@pytest.mark.parametrize(
    ("name", "changes", "path"),
    [
        ("PersistentVolume", {"spec": {"csi": {**CSI, "volumeHandle": "two"}}}, "spec.persistentvolumesource"),
        ("PersistentVolume", {"spec": {"volumeMode": "Block"}}, "spec.volumeMode"),
        ("CSIDriver", {"spec": {"attachRequired": False}}, "spec.attachedRequired"),
        ("CSINode", {"spec": {"drivers": [{"name": "d.example.com", "nodeID": "m"}]}}, "spec.drivers[0]"),
        ("CSIStorageCapacity", {"storageClassName": "t"}, "storageClassName"),
        ("VolumeAttachment", {"spec": {"nodeName": "m"}}, "spec"),
        ("VolumeAttributesClass", {"parameters": {"a": "c"}}, "parameters"),
        ("RuntimeClass", {"handler": "other"}, "handler"),
        ("IngressClass", {"spec": {"controller": "example.com/two"}}, "spec.controller"),
    ],
)
def test_what_they_are_stays(name: str, changes: dict[str, Any], path: str) -> None:
    kind, new = made(name, changes)
    assert [f.path for f in validate_update(kind, new, made(name)[1])] == [path]


def test_a_driver_attaches_unless_it_says_otherwise() -> None:
    spec = made("CSIDriver")[1].spec
    assert (spec.attachRequired, spec.podInfoOnMount, spec.storageCapacity) == (True, False, False)
    assert (spec.fsGroupPolicy, spec.volumeLifecycleModes) == ("ReadWriteOnceWithFSType", ["Persistent"])
