"""Every stored kind goes through the same life: made, read, found, watched, changed in every way, deleted in both."""

from typing import Any

import pytest

from api import kinds
from api.kinds import Kind

from .conftest import APPLY, JSON_PATCH, MERGE, STRATEGIC, Api, Watch
from .samples import STATUSES, sample

pytestmark = pytest.mark.asyncio(loop_scope="session")

ELSEWHERE = {"CertificateSigningRequest", "CustomResourceDefinition", "APIService"}
"""Kinds whose objects mean more than their words, and which have tests of their own."""
STORED = [k for k in kinds.BUILT_IN if set(k.verbs) >= {"get", "create"} and k.name not in ELSEWHERE]
WITH_STATUS = [k for k in STORED if "status" in k.subresources]
RESET_BY_STATUS = {
    "APIService", "FlowSchema", "PriorityLevelConfiguration", "ResourceClaim", "ServiceCIDR",
    "ValidatingAdmissionPolicy", "VolumeAttachment",
}  # fmt: skip
"""An update of their status leaves all metadata alone."""
VERSIONED = {"PodDisruptionBudget", "ValidatingAdmissionPolicy", "VolumeAttachment"}
"""Their updates must say which revision they replace."""
PROTOBUF = "application/vnd.kubernetes.protobuf"


def title(kind: Kind) -> str:
    return f"{kind.group_resource}.{kind.version}"


def collection(kind: Kind, namespace: str = "") -> str:
    root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
    return f"{root}/namespaces/{namespace}/{kind.plural}" if namespace and kind.namespaced else f"{root}/{kind.plural}"


def named(kind: Kind, namespace: str, number: int) -> dict[str, Any]:
    """One of several objects of a test, told from those of other tests by its label and its name."""
    body = sample(kind, namespace)
    text = namespace.removeprefix("conformance-")
    body["metadata"] = {"name": f"x{text}-{kind.version}-{number}", "labels": {"test": text}}
    if kind.name == "IPAddress":
        body["metadata"]["name"] = f"198.51.100.{int(text, 36) % 50 * 3 + 100 + number}"
    if kind.name == "ServiceCIDR":
        body["spec"] = {"cidrs": [f"198.18.{number}.0/24"]}
    if kind.name == "CSIDriver":
        body["metadata"]["name"] += ".example.com"
    return body


class Life:
    """The test's objects of one kind."""

    def __init__(self, api: Api, kind: Kind, namespace: str) -> None:
        self.api = api
        self.kind = kind
        self.bodies = [named(kind, namespace, n) for n in range(3)]
        self.path = collection(kind, namespace)
        self.everywhere = collection(kind)
        self.selector = f"labelSelector=test%3D{self.bodies[0]['metadata']['labels']['test']}"
        self.first = f"{self.path}/{self.bodies[0]['metadata']['name']}"

    async def listed(self, path: str) -> list[str]:
        found = await self.api.get(f"{path}?{self.selector}")
        return [item["metadata"]["name"] for item in found["items"]]

    async def labels(self) -> dict[str, str]:
        labels: dict[str, str] = (await self.api.get(self.first))["metadata"]["labels"]
        return labels


@pytest.mark.parametrize("kind", STORED, ids=title)
async def test_a_kind_has_the_whole_life(api: Api, namespace: str, kind: Kind) -> None:
    life = Life(api, kind, namespace)
    await _is_discovered(api, kind)
    revision = (await api.get(f"{life.everywhere}?{life.selector}"))["metadata"]["resourceVersion"]
    async with api.watch(f"{life.everywhere}?{life.selector}", revision) as watch:
        await _is_made_and_read(life)
        await _is_changed(life)
        await _is_deleted(life)
        await _was_seen(life, watch)


async def _is_discovered(api: Api, kind: Kind) -> None:
    if kind.group:
        group = await api.get(f"/apis/{kind.group}")
        assert kind.api_version in [v["groupVersion"] for v in group["versions"]]
    resources = {r["name"]: r for r in (await api.get(collection(kind).rpartition("/")[0]))["resources"]}
    assert set(resources[kind.plural]["verbs"]) >= set(kind.verbs)
    for subresource in kind.subresources:
        if (kind.name, subresource) != ("Node", "proxy"):  # kubelets speak no HTTP here
            assert f"{kind.plural}/{subresource}" in resources


async def _is_made_and_read(life: Life) -> None:
    api, names = life.api, [b["metadata"]["name"] for b in life.bodies]
    for body in life.bodies:
        made = await api.create(life.path, body)
        assert made["metadata"]["uid"]
        assert made["kind"] == life.kind.name
    again = await api.send("POST", life.path, life.bodies[0])
    assert (again.code, again.body["reason"]) == (409, "AlreadyExists")
    assert (await api.get(life.first))["metadata"]["name"] == names[0]
    assert await life.listed(life.path) == names
    assert await life.listed(life.everywhere) == names
    assert await life.listed(f"{life.path}?fieldSelector=metadata.name%3D{names[1]}&") == names[1:2]
    assert (await api.read(f"{life.everywhere}?{life.selector}", PROTOBUF)).startswith(b"k8s")
    before = await api.get(life.first)
    same = await api.send("PUT", life.first, await api.read(life.first, PROTOBUF), PROTOBUF)
    assert same.ok() == before, "what is written as it was read changes nothing"
    table = await api.send("GET", life.path, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert (table.code, table.body["kind"]) == (200, "Table")
    partial = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    assert (await api.send("GET", life.first, Accept=partial)).body["kind"] == "PartialObjectMetadata"


async def _is_changed(life: Life) -> None:
    api = life.api
    for media, change in (
        (MERGE, {"metadata": {"labels": {"merged": "yes"}}}),
        (STRATEGIC, {"metadata": {"labels": {"strategic": "yes"}}}),
        (JSON_PATCH, [{"op": "add", "path": "/metadata/labels/json", "value": "yes"}]),
    ):
        await api.patch(life.first, change, media)
    applied = {"apiVersion": life.kind.api_version, "kind": life.kind.name, "metadata": {"labels": {"applied": "yes"}}}
    await api.patch(f"{life.first}?fieldManager=test", applied, APPLY)
    present = await api.get(life.first)
    present["metadata"]["labels"]["updated"] = "yes"
    stale = {**present, "metadata": {**present["metadata"], "resourceVersion": "1"}}
    refused = await api.send("PUT", life.first, stale)
    assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    await api.put(life.first, present)
    assert set(await life.labels()) >= {"merged", "strategic", "json", "applied", "updated"}


async def _is_deleted(life: Life) -> None:
    api = life.api
    dry = await api.delete(f"{life.first}?dryRun=All")
    assert dry
    await api.get(life.first)
    await _delete(life, life.first)
    gone = await api.send("GET", life.first)
    assert (gone.code, gone.body["reason"]) == (404, "NotFound")
    if "deletecollection" in life.kind.verbs:
        await api.delete(f"{life.path}?{life.selector}&propagationPolicy=Background")
    for body in life.bodies[1:]:
        await _delete(life, f"{life.path}/{body['metadata']['name']}")
    assert await life.listed(life.path) == []


async def _delete(life: Life, path: str) -> None:
    """Until it is gone: a namespace is finalized as its controller does, a volume let go as nobody uses it."""
    await life.api.send("DELETE", f"{path}?propagationPolicy=Background")
    present = await life.api.send("GET", path)
    if present.code == 200 and life.kind.name == "Namespace":
        await life.api.put(f"{path}/finalize", present.body | {"spec": {"finalizers": []}})
    elif present.code == 200:
        await life.api.patch(path, {"metadata": {"finalizers": None}})


async def _was_seen(life: Life, watch: Watch) -> None:
    seen: dict[str, list[str]] = {body["metadata"]["name"]: [] for body in life.bodies}
    while not all(types[-1:] == ["DELETED"] for types in seen.values()):
        type_, obj = await watch.next()
        seen[obj["metadata"]["name"]].append(type_)
    changes = seen.pop(life.bodies[0]["metadata"]["name"])
    assert (changes[0], changes[1:6]) == ("ADDED", ["MODIFIED"] * 5)
    assert all(types[0] == "ADDED" for types in seen.values())


@pytest.mark.parametrize("kind", WITH_STATUS, ids=title)
async def test_a_status_is_a_part_of_its_own(api: Api, namespace: str, kind: Kind) -> None:
    life, wanted = Life(api, kind, namespace), STATUSES[kind.name]
    made = await api.create(life.path, life.bodies[0] | {"status": wanted})
    if kind.name != "Node":
        assert not _says(made, wanted), "a creation has no status"
    status = f"{life.first}/status"
    assert (await api.get(status))["kind"] == kind.name
    patched = await api.patch(status, {"metadata": {"annotations": {"patched": "yes"}}, "status": wanted})
    assert _says(patched, wanted)
    noted = patched["metadata"].get("annotations", {})
    assert ("patched" in noted) == (kind.name not in RESET_BY_STATUS)
    assert _says(await api.get(life.first), wanted)

    present = await api.get(status)
    for condition in present["status"].get("conditions", []):
        condition["message"] = "Updated by a test"
    present["metadata"]["resourceVersion"] = await _version(life)  # others may write to it too
    updated = await api.put(status, present)
    told = {name: present["status"][name] for name in wanted}
    assert _says(updated, told)
    assert updated.get("spec") == present.get("spec")

    updated["metadata"]["resourceVersion"] = await _version(life)
    unchanged = await api.put(life.first, {**updated, "status": {}})
    assert _says(unchanged, told), "an update leaves the status alone"
    applied = {"apiVersion": kind.api_version, "kind": kind.name, "status": wanted}
    await api.patch(f"{status}?fieldManager=test&force=true", applied, APPLY)
    assert (await api.get(life.first))["metadata"]["generation" if "generation" in made["metadata"] else "name"]
    await _delete(life, life.first)


async def _version(life: Life) -> str:
    """The revision that an update names."""
    if life.kind.name not in VERSIONED:
        return ""
    return str((await life.api.get(life.first))["metadata"]["resourceVersion"])


def _says(obj: Any, status: dict[str, Any]) -> bool:
    """Of a list one element is enough: the server's own conditions are its own to write again."""
    found = obj.get("status", {})
    return all(
        found.get(key) == value or (isinstance(value, list) and any(v in found.get(key, []) for v in value))
        for key, value in status.items()
    )
