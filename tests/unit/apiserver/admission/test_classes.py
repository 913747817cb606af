"""What admission gives to storage objects, ingresses and nodes."""

from typing import Any

import pytest

from api import meta
from api.errors import Forbidden
from api.types import (
    Ingress,
    IngressClass,
    Node,
    ObjectMeta,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    Taint,
)
from apiserver.admission.default_classes import DefaultIngressClass, DefaultStorageClass
from apiserver.admission.holdings import Holdings, Taken
from apiserver.admission.new_nodes import TaintNodesByCondition
from apiserver.admission.reading import Changes
from apiserver.admission.storage_objects import PersistentVolumeClaimResize, StorageObjectInUseProtection

from .worlds import Memory, asking

STORAGE, INGRESS = "storageclass.kubernetes.io/is-default-class", "ingressclass.kubernetes.io/is-default-class"


def a_class(of: type[Any], mark: str, name: str, second: int, default: str = "true", **more: Any) -> Any:
    made = f"2026-01-01T00:00:0{second}Z"
    return of(metadata=ObjectMeta(name=name, creationTimestamp=made, annotations={mark: default}), **more)


def claim(size: str = "1Gi", **spec: Any) -> PersistentVolumeClaim:
    document = {
        "metadata": {"name": "x", "namespace": "ns"},
        "spec": {"resources": {"requests": {"storage": size}}, **spec},
    }
    return meta.decode(meta.encode(document), PersistentVolumeClaim)


@pytest.mark.parametrize(
    ("classes", "spec", "name"),
    [
        ([("a", 1, "true"), ("b", 2, "true"), ("c", 3, "false")], {}, "b"),
        ([("b", 1, "true"), ("a", 1, "true")], {}, "a"),
        ([("a", 1, "false")], {}, None),
        ([("a", 1, "true")], {"storageClassName": ""}, ""),
        ([("a", 1, "true")], {"storageClassName": "z"}, "z"),
    ],
)
async def test_the_newest_default_is_the_class_of_a_claim_without_one(classes: Any, spec: Any, name: str | None):
    reader = Memory(*(a_class(StorageClass, STORAGE, *c) for c in classes))
    new = claim(**spec)
    await DefaultStorageClass(reader).admit(asking(new), new, None)
    assert new.spec.storageClassName == name


async def test_the_newest_default_is_the_class_of_an_ingress_without_one():
    reader = Memory(a_class(IngressClass, INGRESS, "old", 1), a_class(IngressClass, INGRESS, "new", 2))
    plain, noted = (Ingress(metadata=ObjectMeta(name="x", namespace="ns")) for _ in range(2))
    noted.metadata.annotations = {"kubernetes.io/ingress.class": "nginx"}
    for each in (plain, noted):
        await DefaultIngressClass(reader).admit(asking(each), each, None)
    assert (plain.spec.ingressClassName, noted.spec.ingressClassName) == ("new", "")


async def test_claims_and_volumes_are_made_with_what_protects_them():
    new, volume = claim(), PersistentVolume(metadata=ObjectMeta(name="v"))
    for each in (new, volume):
        await StorageObjectInUseProtection().admit(asking(each), each, None)
        await StorageObjectInUseProtection().admit(asking(each), each, None)
    assert new.metadata.finalizers == ["kubernetes.io/pvc-protection"]
    assert volume.metadata.finalizers == ["kubernetes.io/pv-protection"]


async def test_a_claim_grows_only_if_its_class_lets_it():
    reader = Memory(
        a_class(StorageClass, STORAGE, "elastic", 1, allowVolumeExpansion=True),
        a_class(StorageClass, STORAGE, "stiff", 1),
    )
    resize = PersistentVolumeClaimResize(reader)

    async def grow(name: str, to: str) -> None:
        new = claim(to, storageClassName=name)
        await resize.judge(asking(new, "update"), new, claim("2Gi", storageClassName=name))

    await grow("elastic", "3Gi")
    await grow("stiff", "1Gi")
    with pytest.raises(
        Forbidden, match='persistentvolumeclaims "x" is forbidden: only dynamically provisioned pvc can be'
    ):
        await grow("stiff", "3Gi")


async def test_a_new_node_is_tainted_until_it_is_ready():
    new = Node(metadata=ObjectMeta(name="n"))
    await TaintNodesByCondition().admit(asking(new), new, None)
    await TaintNodesByCondition().admit(asking(new), new, None)
    assert new.spec.taints == [Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")]


def test_holdings_follow_what_changes():
    steps = [
        Changes(1, True, [("a", {1, 2}), ("b", {3})]),
        Changes(2, False, [("a", {2}), ("c", {1})]),
        Changes(3, False, [("b", None)]),
        Changes(4, True, [("c", {1})]),
    ]
    asked: list[int] = []

    class Reader(Memory):
        def changes(self, kind: Any, since: int) -> Changes:
            asked.append(since)
            return steps[len(asked) - 1]

    holdings: Holdings[int] = Holdings(Reader(), None, lambda values: values)  # type: ignore[arg-type]
    seen = [dict(holdings.now()) for _ in steps]
    assert seen == [{1: "a", 2: "a", 3: "b"}, {2: "a", 1: "c", 3: "b"}, {2: "a", 1: "c"}, {1: "c"}]
    assert asked == [-1, 1, 2, 3]
    taken = Taken({1: "x", 2: "y"}, {5: "z"}, own={2})
    assert [n in taken for n in (1, 2, 5, 6)] == [True, False, True, False]
    assert 6 in taken.also([6])
    assert 6 not in taken
