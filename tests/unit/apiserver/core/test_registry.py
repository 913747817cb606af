"""The verbs, through the whole pipeline, against a real etcd."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from api import kinds, meta, types
from api.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Timeout,
    TooLarge,
)  # fmt: skip
from api.kinds import Kind
from api.types import (
    ConfigMap,
    Deployment,
    Endpoints,
    Lease,
    Namespace,
    Node,
    Pod,
    ReplicationController,
    RuntimeClass,
    Service,
    ServiceAccount,
)
from apiserver.admission import standard
from apiserver.authorization import Decision, Groups
from apiserver.registry import Registry
from apiserver.registry.bootstrapping import bootstrap, keep
from apiserver.registry.objects import Current
from apiserver.registry.selecting import token
from apiserver.requests import DeleteOptions, Event, ListOptions, Request, User, WatchOptions
from apiserver.storage import tables
from apiserver.storage.etcd import Etcd
from apiserver.storage.members import Members
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from machinery.testing import FakeClock

ADMIN = User("admin", groups=("system:masters",))
admission = partial(standard, service_cluster_ip_range="10.96.0.0/16", service_node_port_range="30000-30003")


@pytest_asyncio.fixture
async def registry(world: World, store: Store, clock: FakeClock) -> AsyncIterator[Registry]:
    found = Registry(world, store, Groups(), admission, clock)
    await bootstrap(found, "10.96.0.1", ["192.0.2.1"], 6443)
    yield found


def about(what: type[Any], verb: str, name: str = "", subresource: str = "", **more: Any) -> Request:
    kind = kinds.of(what)
    namespace = more.pop("namespace", "default" if kind.namespaced else "")
    return Request(ADMIN, verb, kind, namespace, name, subresource, field_manager="test", **more)


def document(kind: Kind, name: str, **parts: Any) -> bytes:
    metadata = {"name": name} | parts.pop("metadata", {})
    return json.dumps({"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata} | parts).encode()


async def create(registry: Registry, what: type[Any], name: str, **parts: Any) -> Any:
    body = document(kinds.of(what), name, **parts)
    return meta.decode(await registry.create(about(what, "create"), body), what)


async def get(registry: Registry, what: type[Any], name: str, subresource: str = "") -> Any:
    return meta.decode(await registry.get(about(what, "get", name, subresource)), what)


async def patch(registry: Registry, what: type[Any], name: str, change: Any, kind: str = "merge", **more: Any) -> Any:
    found, _ = await registry.patch(about(what, "patch", name, **more), json.dumps(change).encode(), kind)
    return meta.decode(found, what)


async def new_pod(registry: Registry, name: str, **parts: Any) -> Pod:
    with suppress(AlreadyExists):
        await create(registry, ServiceAccount, "default")
    spec = {"containers": [{"name": "c", "image": "i"}]} | parts.pop("spec", {})
    found: Pod = await create(registry, Pod, name, spec=spec, **parts)
    return found


async def bind(registry: Registry, pod: str, node: str, **metadata: Any) -> bytes:
    metadata = {"name": pod, **metadata}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": {"kind": "Node", "name": node}}
    return await registry.create(about(Pod, "create", pod, "binding"), json.dumps(body).encode())


async def take(stream: AsyncIterator[list[Event]], count: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(5):
        while len(found) < count:
            found += [(e.type, json.loads(e.document)["metadata"].get("name", "")) for e in await anext(stream)]
    return found


# --- beginning


async def test_a_cluster_begins_with_its_namespaces_and_the_service_of_the_api(registry: Registry) -> None:
    found = await registry.list(about(Namespace, "list"), ListOptions())
    assert [i.name for i in found.items] == ["default", "kube-node-lease", "kube-public", "kube-system"]
    service = await get(registry, Service, "kubernetes")
    assert (service.spec.clusterIP, service.spec.ports[0].port) == ("10.96.0.1", 443)
    await bootstrap(registry, "10.96.0.1", ["192.0.2.2", "192.0.2.1"], 6443)
    (subset,) = (await get(registry, Endpoints, "kubernetes")).subsets
    assert [a.ip for a in subset.addresses] == ["192.0.2.1", "192.0.2.2"]


# --- create


async def test_a_created_object_has_identity_defaults_and_an_owner_of_its_fields(registry: Registry) -> None:
    pod = await new_pod(registry, "a")
    assert pod.metadata.uid
    assert (pod.metadata.creationTimestamp, pod.metadata.namespace) == ("2023-11-14T22:13:20Z", "default")
    assert (pod.spec.restartPolicy, pod.status.phase) == ("Always", "Pending")
    assert [(e.manager, e.operation) for e in pod.metadata.managedFields] == [("test", "Update")]
    assert await get(registry, Pod, "a") == pod


async def test_nobody_owns_what_admission_adds(registry: Registry) -> None:
    pod = await new_pod(registry, "a")
    assert pod.spec.tolerations
    assert pod.spec.priority == 0
    owned = pod.metadata.managedFields[0].fieldsV1["f:spec"]
    assert {"f:containers", "f:dnsPolicy", "f:restartPolicy"} <= owned.keys()
    assert not {"f:tolerations", "f:priority", "f:serviceAccountName", "f:volumes"} & owned.keys()

    service = await create(registry, Service, "s", spec={"ports": [{"port": 80}]})
    assert service.spec.clusterIP
    assert not {"f:clusterIP", "f:clusterIPs"} & service.metadata.managedFields[0].fieldsV1["f:spec"].keys()
    body = json.dumps({"spec": {"type": "NodePort"}}).encode()
    document, _ = await registry.patch(about(Service, "patch", "s"), body, "merge")
    changed = meta.decode(document, Service)
    assert changed.spec.ports[0].nodePort
    (mine,) = changed.metadata.managedFields
    assert "nodePort" not in json.dumps(mine.fieldsV1)


async def test_a_generated_name_has_five_letters_of_upstreams_alphabet(registry: Registry) -> None:
    made = await create(registry, ConfigMap, "", metadata={"generateName": "x-"})
    assert made.metadata.name.startswith("x-")
    assert set(made.metadata.name[2:]) <= set("bcdfghjklmnpqrstvwxz2456789")
    assert len(made.metadata.name) == 7


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ({"metadata": {"name": "x", "namespace": "other"}}, BadRequest,
         "the namespace of the provided object does not match the namespace sent on the request"),
        ({"metadata": {"name": "x", "resourceVersion": "1"}}, BadRequest,
         "resourceVersion should not be set on objects to be created"),
        ({"metadata": {}}, Invalid, "metadata.name: Required value: name or generateName is required"),
        ({"metadata": {"name": "A B"}}, Invalid, 'ConfigMap "A B" is invalid: metadata.name: Invalid value: "A B"'),
    ],
)  # fmt: skip
async def test_what_cannot_be_created_is_refused_in_upstreams_words(
    registry: Registry, body: dict[str, Any], error: type[ApiError], message: str
) -> None:
    with pytest.raises(error) as refused:
        await registry.create(about(ConfigMap, "create"), json.dumps(body).encode())
    assert message in refused.value.message
    assert (await registry.list(about(ConfigMap, "list"), ListOptions())).items == []


async def test_a_name_is_given_once_and_stays_taken_while_its_object_goes(registry: Registry) -> None:
    await create(registry, ConfigMap, "a", metadata={"finalizers": ["example.com/hold"]})
    with pytest.raises(AlreadyExists, match=r'^configmaps "a" already exists'):
        await create(registry, ConfigMap, "a")
    await registry.delete(about(ConfigMap, "delete", "a"), DeleteOptions())
    with pytest.raises(AlreadyExists, match='object is being deleted: configmaps "a" already exists'):
        await create(registry, ConfigMap, "a")


async def test_a_dry_run_answers_and_stores_nothing(registry: Registry) -> None:
    body = document(kinds.of(ConfigMap), "a")
    answer = await registry.create(about(ConfigMap, "create", dry_run=True), body)
    assert meta.decode(answer, ConfigMap).metadata.uid
    with pytest.raises(NotFound):
        await get(registry, ConfigMap, "a")


async def test_no_two_services_get_one_address_and_a_deleted_one_gives_it_back(registry: Registry) -> None:
    ports = {"spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    made = await asyncio.gather(*(create(registry, Service, f"s{n}", **ports) for n in range(4)))
    assert len({s.spec.clusterIP for s in made}) == 4
    assert {s.spec.ports[0].nodePort for s in made} == {30000, 30001, 30002, 30003}
    with pytest.raises(ApiError):
        await create(registry, Service, "s5", **ports)
    await registry.delete(about(Service, "delete", "s0"), DeleteOptions())
    await registry.get(about(Service, "get", "s1"))
    again = await create(registry, Service, "s5", **ports)
    assert again.spec.ports[0].nodePort == made[0].spec.ports[0].nodePort


# --- update and patch


async def test_an_update_of_an_old_revision_is_a_conflict(registry: Registry) -> None:
    old = await create(registry, ConfigMap, "a", data={"k": "1"})
    await patch(registry, ConfigMap, "a", {"data": {"k": "2"}})
    old.data["k"] = "3"
    with pytest.raises(Conflict, match="the object has been modified; please apply your changes to the latest version"):
        await registry.update(about(ConfigMap, "update", "a"), meta.encode(old))
    with pytest.raises(Conflict):
        await patch(registry, ConfigMap, "a", {"metadata": {"resourceVersion": old.metadata.resourceVersion}})
    old.metadata.resourceVersion = ""
    document, created = await registry.update(about(ConfigMap, "update", "a"), meta.encode(old))
    assert (meta.decode(document, ConfigMap).data, created) == ({"k": "3"}, False)


async def test_version_0_means_whatever_is_there(registry: Registry) -> None:
    zero = {"resourceVersion": "0"}
    made = await create(registry, ConfigMap, "a", metadata=zero)
    body = document(kinds.of(ConfigMap), "a", metadata={"name": "a"} | zero, data={"k": "1"})
    await registry.update(about(ConfigMap, "update", "a"), body)
    after = await patch(registry, ConfigMap, "a", {"metadata": zero, "data": {"l": "2"}})
    assert after.data == {"k": "1", "l": "2"}
    assert after.metadata.resourceVersion not in ("0", made.metadata.resourceVersion)
    await create(registry, Lease, "b")
    with pytest.raises(
        Invalid,
        match=r"leases.coordination.k8s.io \"b\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    ):
        await registry.update(
            about(Lease, "update", "b"), document(kinds.of(Lease), "b", metadata={"name": "b"} | zero)
        )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metadata": {"labels": "x"}}, 'map[metadata:map[labels:x]]": cannot restore map from string'),
        ({"spec": []}, 'map[spec:[]]": cannot restore struct from: slice'),
        ({"spec": {"containers": True}}, "cannot restore slice from bool"),
        ({"spec": {"nodeName": 1}}, "cannot convert int64 to string"),
        ({"spec": {"hostNetwork": "yes"}}, "unrecognized type: bool"),
        ({"spec": {"priority": 1.5}}, "cannot convert float64 to int32"),
        ({"spec": {"priority": {}}}, "unrecognized type: int32"),
    ],
)
async def test_a_strategic_patch_that_makes_no_object_is_told_so(registry: Registry, change: Any, why: str) -> None:
    await new_pod(registry, "a")
    with pytest.raises(Invalid) as refused:
        await patch(registry, Pod, "a", change, "strategic")
    assert refused.value.message.startswith(' "" is invalid: patch: Invalid value: "map[')
    assert refused.value.message.endswith(why)


async def test_another_object_under_the_same_name_is_not_updated(registry: Registry) -> None:
    made = await create(registry, ConfigMap, "a")
    other = json.loads(meta.encode(made))
    other["metadata"] |= {"uid": "something-else", "resourceVersion": ""}
    with pytest.raises(
        Conflict, match="Precondition failed: UID in precondition: something-else, UID in object meta: "
    ):
        await registry.update(about(ConfigMap, "update", "a"), json.dumps(other).encode())
    for kind in ("merge", "apply"):
        with pytest.raises(Invalid, match=r'metadata\.uid: Invalid value: "something-else": field is immutable'):
            await patch(registry, ConfigMap, "a", {**other, "metadata": {"uid": "something-else"}}, kind, force=True)
    lease = document(kinds.of(Lease), "a", metadata={"uid": "something-else"})
    with pytest.raises(
        Conflict, match=r"Precondition failed: UID in precondition: something-else, UID in object meta: $"
    ):
        await registry.update(about(Lease, "update", "a"), lease)


async def test_a_write_that_changes_nothing_keeps_the_revision(registry: Registry) -> None:
    made = await create(registry, ConfigMap, "a", data={"k": "1"})
    assert await patch(registry, ConfigMap, "a", {"data": {"k": "1"}}) == made
    document, _ = await registry.update(about(ConfigMap, "update", "a"), meta.encode(made))
    assert meta.decode(document, ConfigMap) == made


async def test_an_object_that_is_too_large_with_its_managed_fields_is_stored_without(registry: Registry) -> None:
    data = {f"a-key-that-is-long-enough-to-fill-a-good-part-of-what-etcd-takes-{n}": "v" for n in range(11_000)}
    made = await create(registry, ConfigMap, "a", data=data)
    assert (len(made.data), made.metadata.managedFields) == (11_000, [])
    small = await create(registry, ConfigMap, "b", data={"k": "v"})
    assert small.metadata.managedFields
    grown = await patch(registry, ConfigMap, "b", {"data": data})
    assert (len(grown.data), grown.metadata.managedFields) == (11_001, [])
    with pytest.raises(TooLarge):
        await patch(registry, ConfigMap, "b", json.loads(document(kinds.of(ConfigMap), "b")), "apply")


async def test_a_write_that_undoes_what_the_cache_has_not_seen_yet_is_one(registry: Registry) -> None:
    await create(registry, ConfigMap, "a", data={"k": "1"})
    for _ in range(20):
        assert (await patch(registry, ConfigMap, "a", {"data": {"k": "2"}})).data == {"k": "2"}
        assert (await patch(registry, ConfigMap, "a", {"data": {"k": "1"}})).data == {"k": "1"}
        there = await registry.objects.current(kinds.of(ConfigMap), "default", "a", proven=True)
        assert there.obj.data == {"k": "1"}


async def test_a_delete_that_the_cache_knows_of_may_be_of_another_object(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    await create(registry, ConfigMap, "a", **held)
    await registry.delete(about(ConfigMap, "delete", "a"), DeleteOptions())
    read = registry.objects.current
    stale = (await read(kinds.of(ConfigMap), "default", "a", proven=True))._replace(proven=False)
    await patch(registry, ConfigMap, "a", {"metadata": {"finalizers": None}})
    await create(registry, ConfigMap, "a", **held)

    async def current(kind: Kind, namespace: str, name: str, *, proven: bool = False) -> Current:
        return await read(kind, namespace, name, proven=True) if proven else stale

    monkeypatch.setattr(registry.objects, "current", current)
    await registry.delete(about(ConfigMap, "delete", "a"), DeleteOptions())
    there = await read(kinds.of(ConfigMap), "default", "a", proven=True)
    assert there.obj.metadata.uid != stale.obj.metadata.uid
    assert there.obj.metadata.deletionTimestamp


async def test_fields_that_a_patch_has_twice_are_told_of_or_refused(registry: Registry) -> None:
    await create(registry, ConfigMap, "a")
    merge = b'{"data":{"k":"1","k":"2"},"metadata":{"ownerReferences":[{"uid":"u","uid":"u","kind":"K","name":"n","apiVersion":"v1"}]}}'
    twice = ['duplicate field "data.k"', 'duplicate field "metadata.ownerReferences[0].uid"']
    change = b'[{"op":"add","path":"/data","path":"/data","value":{"k":"2"},"foo":"bar"}]'
    operation = ['json patch duplicate field "[0].path"', 'json patch unknown field "[0].foo"']
    for kind, body, faults in (("merge", merge, twice), ("strategic", merge, twice), ("json", change, operation)):
        with pytest.raises(Invalid, match="strict decoding error: " + re.escape(", ".join(faults))):
            await registry.patch(about(ConfigMap, "patch", "a", field_validation="Strict"), body, kind)
        for validation, told in (("Ignore", []), ("Warn", faults), ("", faults)):
            request = about(ConfigMap, "patch", "a", field_validation=validation)
            await registry.patch(request, body, kind)
            assert request.warnings == told


async def test_patches_without_a_revision_never_conflict(registry: Registry) -> None:
    await create(registry, ConfigMap, "a")
    await asyncio.gather(*(patch(registry, ConfigMap, "a", {"data": {f"k{n}": "x"}}) for n in range(20)))
    assert len((await get(registry, ConfigMap, "a")).data) == 20


async def test_an_owner_is_named_once_and_who_names_it_twice_is_told(registry: Registry) -> None:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u"}
    twice = document(kinds.of(ConfigMap), "a", metadata={"ownerReferences": [owner, owner]})
    asked = [about(ConfigMap, "create"), about(ConfigMap, "update", "a"), about(ConfigMap, "patch", "a")]
    found = [await registry.create(asked[0], twice)]
    found += [(await registry.update(asked[1], twice))[0]]
    more = [{"op": "add", "path": "/metadata/ownerReferences/-", "value": owner}]
    found += [(await registry.patch(asked[2], json.dumps(more).encode(), "json"))[0]]
    assert [json.loads(f)["metadata"]["ownerReferences"] for f in found] == [[owner]] * 3
    for request, when in zip(asked, ("entries;", "entries;", "entries after mutating admission happens;"), strict=True):
        (warning,) = request.warnings
        assert when in warning
        assert warning.endswith("duplicate UID(s) observed: u")


async def test_the_name_in_the_body_must_be_the_one_in_the_path(registry: Registry) -> None:
    await create(registry, ConfigMap, "a")
    with pytest.raises(BadRequest, match=r"the name of the object \(b\) does not match the name on the URL \(a\)"):
        await registry.update(about(ConfigMap, "update", "a"), document(kinds.of(ConfigMap), "b"))


async def test_a_lease_is_created_by_an_update_and_a_configmap_is_not(registry: Registry) -> None:
    _, created = await registry.update(about(Lease, "update", "a"), document(kinds.of(Lease), "a"))
    assert created
    _, created = await registry.update(
        about(RuntimeClass, "update", "a"), document(kinds.of(RuntimeClass), "a", handler="h")
    )
    assert created
    with pytest.raises(NotFound):
        await registry.update(about(ConfigMap, "update", "a"), document(kinds.of(ConfigMap), "a"))


async def test_who_may_not_create_creates_nothing_by_update_or_apply(
    world: World, store: Store, clock: FakeClock
) -> None:
    class NoCreating(Groups):
        def decide(self, request: Request) -> Decision:
            return Decision(request.verb != "create")

    registry = Registry(world, store, NoCreating(), admission, clock)
    refused = 'leases.coordination.k8s.io "a" is forbidden: User "admin" cannot create resource "leases"'
    with pytest.raises(Forbidden, match=refused):
        await registry.update(about(Lease, "update", "a"), document(kinds.of(Lease), "a"))
    with pytest.raises(Forbidden, match=refused):
        await registry.patch(about(Lease, "patch", "a"), document(kinds.of(Lease), "a"), "apply")
    with pytest.raises(NotFound):
        await registry.get(about(Lease, "get", "a"))


async def test_applying_an_object_that_has_a_uid_does_not_create_another(registry: Registry) -> None:
    config = document(kinds.of(ConfigMap), "a", metadata={"uid": "gone"})
    with pytest.raises(
        Conflict,
        match='on configmaps "a": uid mismatch: the provided object specified uid gone, and no existing object',
    ):
        await registry.patch(about(ConfigMap, "patch", "a"), config, "apply")


async def test_server_side_apply_creates_merges_and_keeps_others_out(registry: Registry) -> None:
    config = json.loads(document(kinds.of(ConfigMap), "a", data={"k": "1"}))
    made = await patch(registry, ConfigMap, "a", config, "apply")
    assert [(e.manager, e.operation) for e in made.metadata.managedFields] == [("test", "Apply")]
    assert await patch(registry, ConfigMap, "a", config, "apply") == made
    config["data"]["k"] = "2"
    other = about(ConfigMap, "patch", "a").at(field_manager="other")
    with pytest.raises(Conflict):
        await registry.patch(other, json.dumps(config).encode(), "apply")
    found, _ = await registry.patch(other.at(force=True), json.dumps(config).encode(), "apply")
    assert meta.decode(found, ConfigMap).data == {"k": "2"}


async def test_a_status_update_leaves_the_rest_and_an_update_leaves_the_status(registry: Registry) -> None:
    await new_pod(registry, "a")
    ready = {"status": {"phase": "Running"}, "metadata": {"labels": {"x": "y"}}}
    after = await patch(registry, Pod, "a", ready, subresource="status")
    assert after.status.phase == "Running"
    again = await patch(registry, Pod, "a", {"status": {"phase": "Failed"}, "metadata": {"labels": {"x": "z"}}})
    assert (again.status.phase, again.metadata.labels) == ("Running", {"x": "z"})


# --- scale, binding, eviction


async def test_a_scale_is_read_and_written_in_one_shape(registry: Registry) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await create(registry, Deployment, "d", spec=spec)
    scale = json.loads(await registry.get(about(Deployment, "get", "d", "scale")))
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "a=b")
    scale["spec"]["replicas"] = 5
    await registry.update(about(Deployment, "update", "d", "scale"), json.dumps(scale).encode())
    found = await get(registry, Deployment, "d")
    assert (found.spec.replicas, found.metadata.generation) == (5, 2)
    with pytest.raises(Conflict):
        await registry.update(about(Deployment, "update", "d", "scale"), json.dumps(scale).encode())
    with pytest.raises(Invalid, match=r"spec.replicas: Invalid value: -1: must be greater than or equal to 0"):
        await registry.patch(about(Deployment, "patch", "d", "scale"), b'{"spec":{"replicas":-1}}', "merge")


async def test_a_scale_is_applied_in_its_own_version_and_the_replicas_have_one_owner(registry: Registry) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    await create(registry, Deployment, "d", spec=spec)
    wanted = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}}

    async def apply(manager: str, *, force: bool = False) -> Any:
        request = about(Deployment, "patch", "d", "scale").at(field_manager=manager, force=force)
        scale, _ = await registry.patch(request, json.dumps(wanted).encode(), "apply")
        return json.loads(scale)["spec"]["replicas"], await get(registry, Deployment, "d")

    def owners(of: Any) -> list[tuple[str, str, str, str]]:
        return [
            (e.manager, e.operation, e.apiVersion, e.subresource)
            for e in of.metadata.managedFields
            if "f:replicas" in (e.fieldsV1 or {}).get("f:spec", {})
        ]

    with pytest.raises(Conflict, match=r'conflict with "test" using autoscaling/v1: .spec.replicas'):
        await apply("one")
    replicas, after = await apply("one", force=True)
    assert (replicas, after.spec.replicas) == (3, 3)
    assert owners(after) == [("one", "Apply", "apps/v1", "scale")]
    assert any("f:template" in e.fieldsV1["f:spec"] for e in after.metadata.managedFields if e.manager == "test")
    _, again = await apply("one")
    assert again == after
    _, shared = await apply("two")
    assert [m for m, *_ in owners(shared)] == ["one", "two"]


async def test_a_pod_is_bound_once(registry: Registry) -> None:
    await new_pod(registry, "a")
    await patch(registry, Pod, "a", {"status": {"nominatedNodeName": "n1"}}, subresource="status")
    await bind(registry, "a", "n1")
    pod = await get(registry, Pod, "a")
    assert (pod.spec.nodeName, pod.status.nominatedNodeName) == ("n1", "")
    assert meta.is_true(pod, "PodScheduled")
    with pytest.raises(Conflict) as refused:
        await bind(registry, "a", "n2")
    assert refused.value.message == (
        'Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n1"'
    )


async def test_a_pod_that_is_bound_has_the_labels_of_its_binding_and_where_its_node_is(registry: Registry) -> None:
    zone = "topology.kubernetes.io/zone"
    await create(registry, Node, "n1", metadata={"labels": {zone: "z", "kubernetes.io/os": "linux"}})
    await new_pod(registry, "a", metadata={"labels": {"a": "1", "b": "1"}})
    await bind(registry, "a", "n1", labels={"b": "2"}, annotations={"c": "3"})
    metadata = (await get(registry, Pod, "a")).metadata
    assert (metadata.labels, metadata.annotations) == ({"a": "1", "b": "2", zone: "z"}, {"c": "3"})


async def test_a_resize_can_be_applied(registry: Registry) -> None:
    few, more = ({"requests": {"cpu": amount}} for amount in ("1", "2"))
    containers = [{"name": name, "image": "i", "resources": few} for name in "cd"]
    before = await new_pod(registry, "a", spec={"containers": containers})
    wanted = {"containers": [{"name": "d", "image": "other", "resources": more}], "hostNetwork": True}
    config = {"apiVersion": "v1", "kind": "Pod", "spec": wanted}
    after = await patch(registry, Pod, "a", config, "apply", subresource="resize", force=True)
    assert [c.resources.requests for c in after.spec.containers] == [{"cpu": "1"}, {"cpu": "2"}]
    assert [c.image for c in after.spec.containers] == [c.image for c in before.spec.containers]


async def test_who_may_add_a_debugger_changes_nothing_else_of_a_pod_and_owns_nothing_else(registry: Registry) -> None:
    before = await new_pod(registry, "a")
    change = {
        "metadata": {"labels": {"mine": "now"}},
        "spec": {"containers": [{"name": "c", "image": "other"}], "ephemeralContainers": [{"name": "d", "image": "i"}]},
    }
    after = await patch(registry, Pod, "a", change, "strategic", subresource="ephemeralcontainers")
    assert (after.spec.containers, after.metadata.labels) == (before.spec.containers, before.metadata.labels)
    assert [c.name for c in after.spec.ephemeralContainers] == ["d"]
    change["spec"]["ephemeralContainers"] = [{"name": "e", "image": "i"}]
    change |= {"apiVersion": "v1", "kind": "Pod"}
    after = await patch(registry, Pod, "a", change, "apply", subresource="ephemeralcontainers")
    assert (after.spec.containers, after.metadata.labels) == (before.spec.containers, before.metadata.labels)
    assert [c.name for c in after.spec.ephemeralContainers] == ["d", "e"]
    owned = [e.fieldsV1 for e in after.metadata.managedFields if e.subresource == "ephemeralcontainers"]
    assert [[*fields] for fields in owned] == [["f:spec"]] * 2
    assert [[*fields["f:spec"]] for fields in owned] == [["f:ephemeralContainers"]] * 2


async def test_an_eviction_deletes_the_pod(registry: Registry) -> None:
    await new_pod(registry, "a")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}
    await registry.create(about(Pod, "create", "a", "eviction"), json.dumps(body).encode())
    with pytest.raises(NotFound):
        await get(registry, Pod, "a")


# --- delete


async def test_a_running_pod_gets_its_grace_period_which_can_only_be_shortened(
    registry: Registry, clock: FakeClock
) -> None:
    await new_pod(registry, "a")
    await bind(registry, "a", "n1")
    answer, done = await registry.delete(about(Pod, "delete", "a"), DeleteOptions())
    pod = meta.decode(answer, Pod)
    assert (done, pod.metadata.deletionGracePeriodSeconds) == (False, 30)
    assert pod.metadata.deletionTimestamp == "2023-11-14T22:13:50Z"
    again, _ = await registry.delete(about(Pod, "delete", "a"), DeleteOptions(grace_seconds=60))
    assert meta.decode(again, Pod) == pod
    sooner, _ = await registry.delete(about(Pod, "delete", "a"), DeleteOptions(grace_seconds=5))
    assert meta.decode(sooner, Pod).metadata.deletionTimestamp == "2023-11-14T22:13:25Z"
    _, done = await registry.delete(about(Pod, "delete", "a"), DeleteOptions(grace_seconds=0, uid=pod.metadata.uid))
    assert done
    with pytest.raises(NotFound):
        await get(registry, Pod, "a")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_pod_that_has_ended_goes_at_once(registry: Registry, phase: str) -> None:
    await new_pod(registry, "a")
    await bind(registry, "a", "n1")
    await patch(registry, Pod, "a", {"status": {"phase": phase}}, subresource="status")
    _, done = await registry.delete(about(Pod, "delete", "a"), DeleteOptions())
    assert done


async def test_an_object_goes_with_its_last_finalizer(registry: Registry) -> None:
    await create(registry, ConfigMap, "a", metadata={"finalizers": ["example.com/hold"]})
    _, done = await registry.delete(about(ConfigMap, "delete", "a"), DeleteOptions())
    assert not done
    await patch(registry, ConfigMap, "a", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        await get(registry, ConfigMap, "a")


@pytest.mark.parametrize(
    ("propagation", "finalizers"), [("Orphan", ["orphan"]), ("Foreground", ["foregroundDeletion"]), ("", ["orphan"])]
)
async def test_the_propagation_policy_becomes_a_finalizer(
    registry: Registry, propagation: str, finalizers: list[str]
) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await create(registry, ReplicationController, "rc", spec={"selector": {"a": "b"}, "template": template})
    request = about(ReplicationController, "delete", "rc")
    answer, done = await registry.delete(request, DeleteOptions(propagation=propagation))
    assert (meta.decode(answer, ReplicationController).metadata.finalizers, done) == (finalizers, False)


async def test_nothing_waits_for_what_hangs_on_an_event(registry: Registry) -> None:
    event = {"involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}}
    await create(registry, types.Event, "e", metadata={"finalizers": ["orphan"]}, **event)
    assert (await registry.delete(about(types.Event, "delete", "e"), DeleteOptions(propagation="Foreground")))[1]


async def test_a_deletion_can_be_meant_for_one_very_object(registry: Registry) -> None:
    made = await create(registry, ConfigMap, "a")
    with pytest.raises(Conflict, match="Precondition failed: UID in precondition: x, UID in object meta: "):
        await registry.delete(about(ConfigMap, "delete", "a"), DeleteOptions(uid="x"))
    with pytest.raises(Conflict, match="Precondition failed: ResourceVersion in precondition: 1, "):
        await registry.delete(about(ConfigMap, "delete", "a"), DeleteOptions(resource_version="1"))
    answer, done = await registry.delete(about(ConfigMap, "delete", "a"), DeleteOptions(uid=made.metadata.uid))
    status = json.loads(answer)
    assert (done, status["status"]) == (True, "Success")
    assert status["details"] == {"name": "a", "kind": "configmaps", "uid": made.metadata.uid}


async def test_a_namespace_goes_when_it_is_finalized(registry: Registry) -> None:
    await create(registry, Namespace, "n")
    answer, done = await registry.delete(about(Namespace, "delete", "n"), DeleteOptions())
    namespace = meta.decode(answer, Namespace)
    assert (done, namespace.status.phase, namespace.spec.finalizers) == (False, "Terminating", ["kubernetes"])
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await registry.create(about(ConfigMap, "create", namespace="n"), document(kinds.of(ConfigMap), "a"))
    namespace.spec.finalizers = []
    await registry.update(about(Namespace, "update", "n", "finalize"), meta.encode(namespace))
    with pytest.raises(NotFound):
        await get(registry, Namespace, "n")


async def test_a_collection_is_deleted_by_selector(registry: Registry) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        await create(registry, ConfigMap, name, metadata={"labels": {"l": label}})
    request = about(ConfigMap, "deletecollection")
    await registry.delete_collection(request, ListOptions(label_selector="l=x"), DeleteOptions())
    assert [i.name for i in (await registry.list(about(ConfigMap, "list"), ListOptions())).items] == ["c"]


# --- list and watch


async def test_pages_are_of_one_revision_whatever_happens_meanwhile(registry: Registry) -> None:
    for name in "abcd":
        await create(registry, ConfigMap, name)
    request = about(ConfigMap, "list")
    first = await registry.list(request, ListOptions(limit=2))
    await registry.delete(about(ConfigMap, "delete", "c"), DeleteOptions())
    await create(registry, ConfigMap, "e")
    second = await registry.list(request, ListOptions(limit=2, continue_=first.continue_))
    assert ([i.name for i in first.items], first.remaining) == (["a", "b"], 2)
    assert [i.name for i in second.items] == ["c", "d"]
    assert (second.resource_version, second.continue_) == (first.resource_version, "")
    exact = ListOptions(resource_version=first.resource_version, resource_version_match="Exact")
    assert [i.name for i in (await registry.list(request, exact)).items] == ["a", "b", "c", "d"]


async def test_whatever_is_at_hand_comes_in_one_page(registry: Registry) -> None:
    for name in "abc":
        await create(registry, ConfigMap, name)
    await registry.list(about(ConfigMap, "list"), ListOptions())  # which waits until they are at hand
    for match in ("", "NotOlderThan"):
        options = ListOptions(limit=2, resource_version="0", resource_version_match=match)
        found = await registry.list(about(ConfigMap, "list"), options)
        assert ([i.name for i in found.items], found.continue_) == (["a", "b", "c"], "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ListOptions(field_selector="spec.x=1"), '"spec.x" is not a known field selector: only "metadata.name"'),
        (ListOptions(label_selector="a in (b"), "unable to parse requirement: "),
        (ListOptions(continue_="nonsense"), "invalid continue token: continue key is not valid: "),
        (ListOptions(resource_version="x"), 'invalid resource version: resourceVersion: Invalid value: "x": strconv.'),
        (ListOptions(resource_version=str(2**64)), "value out of range"),
        (ListOptions(continue_=token(1, "a"), resource_version="1"), "specifying resource version is not allowed when"),
        (ListOptions(continue_=token(0, "a")), "incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        (ListOptions(continue_=token(1, "../a")), "continue key is not valid: ../a"),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(registry: Registry, options: ListOptions, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await registry.list(about(ConfigMap, "list"), options)
    assert message in refused.value.message


async def test_a_page_of_what_is_compacted_comes_with_a_token_to_go_on_with_what_is_there(
    registry: Registry, etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "WINDOW_EVENTS", 1)
    for name in "abc":
        await create(registry, ConfigMap, name)
    request = about(ConfigMap, "list")
    first = await registry.list(request, ListOptions(limit=2))
    await registry.delete(about(ConfigMap, "delete", "c"), DeleteOptions())
    await create(registry, ConfigMap, "d")
    await etcd.compact(await etcd.revision())
    with pytest.raises(Expired) as refused:
        await registry.list(request, ListOptions(limit=2, continue_=first.continue_))
    onward = refused.value.to_status()["metadata"]["continue"]
    assert "use the continue token in this response" in refused.value.message
    rest = await registry.list(request, ListOptions(limit=2, continue_=onward))
    assert ([i.name for i in rest.items], rest.continue_) == (["d"], "")


async def test_a_watch_waits_for_a_revision_that_is_still_to_come(registry: Registry) -> None:
    made = await create(registry, ConfigMap, "a")
    ahead = WatchOptions(resource_version=str(int(made.metadata.resourceVersion) + 1))
    stream = await registry.watch(about(ConfigMap, "watch"), ahead)
    first = asyncio.ensure_future(anext(stream))
    for name in "bc":
        await create(registry, ConfigMap, name)
    async with asyncio.timeout(5):
        (event,) = await first
    assert json.loads(event.document)["metadata"]["name"] == "c"


async def test_a_watch_goes_on_from_where_a_list_ended(registry: Registry) -> None:
    await create(registry, ConfigMap, "a")
    listed = await registry.list(about(ConfigMap, "list"), ListOptions())
    await patch(registry, ConfigMap, "a", {"data": {"k": "v"}})
    stream = await registry.watch(about(ConfigMap, "watch"), WatchOptions(resource_version=listed.resource_version))
    await create(registry, ConfigMap, "b")
    await registry.delete(about(ConfigMap, "delete", "a"), DeleteOptions())
    assert await take(stream, 3) == [("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]


async def test_initial_events_end_with_a_bookmark_that_says_so(registry: Registry) -> None:
    await create(registry, ConfigMap, "a")
    options = WatchOptions(send_initial_events=True, resource_version_match="NotOlderThan", bookmarks=True)
    stream = await registry.watch(about(ConfigMap, "watch"), options)
    events = await anext(stream)
    assert [e.type for e in events] == ["ADDED", "BOOKMARK"]
    metadata = json.loads(events[1].document)["metadata"]
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_watch_from_before_the_window_is_told_to_list_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "WINDOW_EVENTS", 2)
    first = await create(registry, ConfigMap, "a")
    for number in range(4):
        await create(registry, ConfigMap, f"b{number}")
    await registry.list(about(ConfigMap, "list"), ListOptions())
    old = WatchOptions(resource_version=first.metadata.resourceVersion)
    stream = await registry.watch(about(ConfigMap, "watch"), old)
    (event,) = await anext(stream)
    status = json.loads(event.document)
    assert (event.type, status["code"], status["reason"]) == ("ERROR", 410, Expired.reason)
    assert status["message"].startswith(f"too old resource version: {first.metadata.resourceVersion} (")
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_watch_ends_when_its_time_is_up(registry: Registry) -> None:
    options = WatchOptions(resource_version="0", timeout_seconds=0.01)
    assert [batch async for batch in await registry.watch(about(ConfigMap, "watch"), options)] == []


# --- who may


async def test_a_stranger_is_refused_in_upstreams_words(registry: Registry) -> None:
    request = Request(User("jane", groups=("dev",)), "list", kinds.of(Deployment), "default")
    with pytest.raises(Forbidden) as refused:
        await registry.list(request, ListOptions())
    assert refused.value.message == (
        'deployments.apps is forbidden: User "jane" cannot list resource "deployments" in API group "apps" '
        'in the namespace "default"'
    )


async def test_a_verb_that_a_resource_does_not_have_is_refused(registry: Registry) -> None:
    with pytest.raises(MethodNotAllowed):
        await registry.get(about(Pod, "get", "a", "binding"))
    with pytest.raises(MethodNotAllowed):
        await registry.get(about(ConfigMap, "get", "a", "status"))


async def test_what_every_cluster_has_comes_back(registry: Registry, clock: FakeClock, etcd: Etcd) -> None:
    await registry.delete(about(Service, "delete", "kubernetes"), DeleteOptions())
    here = WatchOptions(field_selector="metadata.name=kubernetes")
    stream = await registry.watch(about(Service, "watch"), here)
    keeping = asyncio.create_task(keep(registry, clock, Members(etcd, "192.0.2.1"), "10.96.0.1", 6443))
    await clock.advance(10)
    assert [event.type for event in await anext(stream)] == ["ADDED"]
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await stream.aclose()


async def test_what_may_have_been_written_is_not_written_again(registry, etcd, monkeypatch):
    """A client that is told of a conflict believes that its write was not done."""
    made = await create(registry, ConfigMap, "c")
    transact = etcd.transact

    async def unanswered(*arguments):
        await transact(*arguments)
        await registry.list(about(ConfigMap, "list"), ListOptions())  # the cache knows of it, too
        raise Timeout("etcdserver: request timed out")

    monkeypatch.setattr(etcd, "transact", unanswered)
    version = {"resourceVersion": made.metadata.resourceVersion}
    body = document(kinds.of(ConfigMap), "c", metadata=version, data={"k": "v"})
    with pytest.raises(Timeout):
        await registry.update(about(ConfigMap, "update", "c"), body)
    assert (await get(registry, ConfigMap, "c")).data == {"k": "v"}
    with pytest.raises(Timeout):
        await registry.delete(about(ConfigMap, "delete", "c"), DeleteOptions())
    with pytest.raises(NotFound):
        await get(registry, ConfigMap, "c")
