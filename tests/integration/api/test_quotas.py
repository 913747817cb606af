"""Quotas on real API servers with the controller beside them: nothing is admitted that is not allowed, and what goes is
given back.  The lives are those of upstream's conformance tests of ResourceQuota."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from api import quantities
from api.errors import Forbidden
from api.types import ObjectMeta, ResourceQuota, Secret
from controller_manager.configs import Config
from controller_manager.running import Term
from machinery.client import Client, connect
from machinery.testing import ControlPlane, apiserver

from .conftest import Answer, Send

pytestmark = pytest.mark.asyncio(loop_scope="session")

MERGE = "application/merge-patch+json"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(plane: ControlPlane) -> AsyncIterator[Client]:
    """With the quota controller running."""
    async with connect(plane.access("controller-manager")) as own:
        term = Term(Config(controllers=("resourcequota-controller",)), own)
        running = asyncio.create_task(term.run())
        await term.synced()
        yield own
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@dataclass
class Space:
    """A namespace with its quotas."""

    send: Send
    client: Client
    name: str

    def path(self, resource: str, group: str = "api/v1") -> str:
        return f"/{group}/namespaces/{self.name}/{resource}"

    async def create(self, resource: str, body: dict[str, Any], group: str = "api/v1") -> Answer:
        return await self.send("POST", self.path(resource, group), body)

    async def delete(self, resource: str, name: str, group: str = "api/v1") -> None:
        assert (
            await self.send(
                "DELETE", f"{self.path(resource, group)}/{name}?gracePeriodSeconds=0&propagationPolicy=Background"
            )
        ).code == 200

    async def quota(self, hard: Mapping[str, str], name: str = "q", **spec: Any) -> None:
        """One whose status has been calculated."""
        made = await self.create("resourcequotas", {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
        assert made.code == 201, made.body
        await self.until(lambda q: q.status.hard == hard and q.status.used.keys() == hard.keys(), name)

    async def used(self, name: str = "q", **wanted: str) -> None:
        """Returns when the quota says that so much is used; `_` stands for a dot, `__` for a slash."""
        exact = {k.replace("__", "/").replace("_", "."): quantities.parse(v) for k, v in wanted.items()}
        await self.until(
            lambda q: all(quantities.parse(q.status.used.get(k, "-1")) == v for k, v in exact.items()), name
        )

    async def until(self, holds: Any, name: str = "q") -> ResourceQuota:
        listing = await self.client.list(ResourceQuota, self.name)
        now = next((q for q in listing.items if q.metadata.name == name), None)
        if now is not None and holds(now):
            return now
        seen = now
        try:
            async with asyncio.timeout(10):
                async for batch in self.client.watch(
                    ResourceQuota, self.name, resource_version=listing.resource_version
                ):
                    for event in batch:
                        seen = event.object
                        if seen.metadata.name == name and holds(seen):
                            return seen
        except TimeoutError:
            raise AssertionError(f"the quota stays {seen}") from None
        raise AssertionError("the watch ended")


@pytest_asyncio.fixture(loop_scope="session")
async def space(send: Send, client: Client) -> Space:
    name = f"quota-{uuid4().hex[:8]}"
    await send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    await send("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
    return Space(send, client, name)


def pod(
    name: str, requests: Mapping[str, str] | None = None, limits: Mapping[str, str] | None = None, **spec: Any
) -> Any:
    resources = {"requests": dict(requests or {}), "limits": dict(limits or {})}
    container = {"name": "container", "image": "i", "resources": resources}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def service(name: str, kind: str, **spec: Any) -> Any:
    return {"metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}], **spec}}


HARD = {
    "pods": "5", "services": "10", "services.nodeports": "1", "services.loadbalancers": "1",
    "replicationcontrollers": "10", "resourcequotas": "1", "cpu": "1", "memory": "500Mi", "configmaps": "10",
    "secrets": "10", "persistentvolumeclaims": "10", "requests.storage": "10Gi", "ephemeral-storage": "50Gi",
    "requests.example.com/dongle": "3", "count/replicasets.apps": "5",
    "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "10",
    "gold.storageclass.storage.k8s.io/requests.storage": "10Gi",
}  # fmt: skip


async def test_a_hundred_at_once_never_get_more_than_there_is(space: Space) -> None:
    await space.quota({"count/configmaps": "40"})
    answers = await asyncio.gather(*(space.create("configmaps", {"metadata": {"name": f"m{n}"}}) for n in range(100)))
    codes = [a.code for a in answers]
    assert (codes.count(201), codes.count(403)) == (40, 60)
    refused = {a.body["message"].partition("forbidden: ")[2] for a in answers if a.code == 403}
    assert refused == {
        "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=40, limited: count/configmaps=40"
    }
    assert len((await space.send("GET", space.path("configmaps"))).body["items"]) == 40


async def test_two_api_servers_together_give_no_more_than_one(space: Space, plane: ControlPlane, tmp_path: Any) -> None:
    await space.quota({"secrets": "30", "pods": "20"})
    async with apiserver(tmp_path, plane.pki, plane.etcd) as other, connect(other.access()) as second:
        first = space.client

        async def one(n: int) -> str:
            secret = Secret(metadata=ObjectMeta(name=f"s{n}", namespace=space.name))
            try:
                await (first if n % 2 else second).create(secret)
            except Forbidden as e:
                return str(e).partition("forbidden: ")[2]
            return ""

        answers = await asyncio.gather(*(one(n) for n in range(80)))
        assert answers.count("") == 30
        why = "exceeded quota: q, requested: secrets=1, used: secrets=30, limited: secrets=30"
        assert set(answers) == {"", why}
    await space.used(secrets="30")


async def test_what_was_charged_for_nothing_is_given_back(space: Space) -> None:
    await space.quota({"configmaps": "5"})
    taken = {"metadata": {"name": "m"}}
    assert [(await space.create("configmaps", taken)).code for _ in range(3)] == [201, 409, 409]
    await space.used(configmaps="1")


async def test_a_dry_run_is_refused_and_never_charged(space: Space) -> None:
    await space.quota({"configmaps": "1"})
    dry = space.path("configmaps?dryRun=All")
    assert [(await space.send("POST", dry, {"metadata": {"name": "m"}})).code for _ in range(2)] == [201, 201]
    assert (await space.create("configmaps", {"metadata": {"name": "m"}})).code == 201
    assert (await space.send("POST", dry, {"metadata": {"name": "n"}})).code == 403


async def test_the_life_of_services(space: Space) -> None:
    await space.quota(HARD)
    await space.used(resourcequotas="1")
    assert (await space.create("services", service("a", "ClusterIP"))).code == 201
    assert (await space.create("services", service("b", "NodePort"))).code == 201
    refused = await space.create("services", service("c", "LoadBalancer", allocateLoadBalancerNodePorts=True))
    why = (
        "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"
    )
    assert (refused.code, refused.body["message"]) == (403, f'services "c" is forbidden: {why}')
    await space.used(services="2", services_nodeports="1", services_loadbalancers="0")
    changed = await space.send("PATCH", space.path("services/a"), {"spec": {"type": "NodePort"}}, MERGE)
    assert (changed.code, "exceeded quota" in changed.body["message"]) == (403, True)
    await space.delete("services", "a")
    await space.delete("services", "b")
    await space.used(services="0", services_nodeports="0")


async def test_the_life_of_a_pod(space: Space) -> None:
    await space.quota(HARD)
    dongles = {"example.com/dongle": "2"}
    fitting = {"cpu": "500m", "memory": "252Mi", "ephemeral-storage": "30Gi", **dongles}
    assert (await space.create("pods", pod("fits", fitting, dongles))).code == 201
    used = {
        "pods": "1",
        "cpu": "500m",
        "memory": "252Mi",
        "ephemeral-storage": "30Gi",
        "requests_example.com/dongle": "2",
    }
    await space.used(**used)
    greedy = await space.create("pods", pod("greedy", {"cpu": "600m", "memory": "100Mi"}))
    why = "exceeded quota: q, requested: cpu=600m, used: cpu=500m, limited: cpu=1"
    assert (greedy.code, greedy.body["message"]) == (403, f'pods "greedy" is forbidden: {why}')
    more = {"cpu": "500m", "memory": "100Mi", "ephemeral-storage": "30Gi", **dongles}
    assert (
        "requested: ephemeral-storage=30Gi,requests.example.com/dongle=2"
        in (await space.create("pods", pod("more", more, dongles))).body["message"]
    )
    silent = await space.create("pods", pod("silent"))
    assert (
        silent.body["message"]
        == 'pods "silent" is forbidden: failed quota: q: must specify cpu for: container; memory for: container'
    )
    await space.used(**used)
    await space.delete("pods", "fits")
    await space.used(**dict.fromkeys(used, "0"))


async def test_a_pod_that_is_over_holds_nothing_but_its_place(space: Space) -> None:
    await space.quota({"pods": "1", "count/pods": "3", "cpu": "1"})
    assert (await space.create("pods", pod("done", {"cpu": "1"}))).code == 201
    assert (await space.create("pods", pod("next", {"cpu": "1"}))).code == 403
    await space.send("PATCH", space.path("pods/done/status"), {"status": {"phase": "Succeeded"}}, MERGE)
    await space.used(pods="0", count__pods="1", cpu="0")
    assert (await space.create("pods", pod("next", {"cpu": "1"}))).code == 201


async def test_the_lives_of_things_that_are_only_counted(space: Space) -> None:
    await space.quota({**HARD, "resourcequotas": "2"})
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    controller = {"metadata": {"name": "x"}, "spec": {"replicas": 0, "selector": {"a": "b"}, "template": template}}
    labels = {"selector": {"matchLabels": {"a": "b"}}}
    replica_set = {"metadata": {"name": "x"}, "spec": {"replicas": 0, **labels, "template": template}}
    claim = {
        "metadata": {"name": "x"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "gold",
        },
    }
    gold = {
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/requests.storage": "1Gi",
    }
    for resource, group, body, used in (
        ("configmaps", "api/v1", {"metadata": {"name": "x"}}, {"configmaps": "1"}),
        ("secrets", "api/v1", {"metadata": {"name": "x"}}, {"secrets": "1"}),
        ("replicationcontrollers", "api/v1", controller, {"replicationcontrollers": "1"}),
        ("replicasets", "apis/apps/v1", replica_set, {"count/replicasets.apps": "1"}),
        ("persistentvolumeclaims", "api/v1", claim, {"persistentvolumeclaims": "1", "requests.storage": "1Gi", **gold}),
    ):
        made = await space.create(resource, body, group)
        assert made.code == 201, made.body
        await space.used(**used)
        if resource == "persistentvolumeclaims":
            await space.send("PATCH", space.path(f"{resource}/x"), {"metadata": {"finalizers": None}}, MERGE)
        await space.delete(resource, "x", group)
        await space.used(**dict.fromkeys(used, "0"))


async def test_terminating_scopes(space: Space) -> None:
    hard = {"pods": "5", "requests.cpu": "1", "requests.memory": "500Mi", "limits.cpu": "2", "limits.memory": "1Gi"}
    await space.quota(hard, "ends", scopes=["Terminating"])
    await space.quota(hard, "lasts", scopes=["NotTerminating"])
    requests, limits = {"cpu": "500m", "memory": "200Mi"}, {"cpu": "1", "memory": "400Mi"}
    used = {
        "pods": "1",
        "requests_cpu": "500m",
        "requests_memory": "200Mi",
        "limits_cpu": "1",
        "limits_memory": "400Mi",
    }
    for name, spec, charged, free in (
        ("long", {}, "lasts", "ends"),
        ("short", {"activeDeadlineSeconds": 3600}, "ends", "lasts"),
    ):
        assert (await space.create("pods", pod(name, requests, limits, **spec))).code == 201
        await space.used(charged, **used)
        await space.used(free, pods="0", requests_cpu="0")
        await space.delete("pods", name)
        await space.used(charged, **dict.fromkeys(used, "0"))


async def test_best_effort_scopes(space: Space) -> None:
    await space.quota({"pods": "5"}, "best", scopes=["BestEffort"])
    await space.quota({"pods": "5"}, "other", scopes=["NotBestEffort"])
    assert (await space.create("pods", pod("free"))).code == 201
    await space.used("best", pods="1")
    await space.used("other", pods="0")
    await space.delete("pods", "free")
    await space.used("best", pods="0")
    assert (await space.create("pods", pod("bound", {"cpu": "1m"}))).code == 201
    await space.used("other", pods="1")
    await space.used("best", pods="0")


async def test_priority_class_scopes(space: Space) -> None:
    await space.send(
        "POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "quota-high"}, "value": 10}
    )
    expression = {"scopeName": "PriorityClass", "operator": "In", "values": ["quota-high"]}
    await space.quota({"pods": "1"}, scopeSelector={"matchExpressions": [expression]})
    assert (await space.create("pods", pod("low"))).code == 201
    assert (await space.create("pods", pod("high", priorityClassName="quota-high"))).code == 201
    await space.used(pods="1")
    assert (await space.create("pods", pod("higher", priorityClassName="quota-high"))).code == 403
    assert (await space.create("pods", pod("lower"))).code == 201


async def test_a_quota_that_changes_counts_anew(space: Space) -> None:
    await space.quota({"configmaps": "1"})
    assert (await space.create("configmaps", {"metadata": {"name": "a"}})).code == 201
    assert (await space.create("configmaps", {"metadata": {"name": "b"}})).code == 403
    await space.send(
        "PATCH", space.path("resourcequotas/q"), {"spec": {"hard": {"configmaps": "2", "secrets": "3"}}}, MERGE
    )
    await space.until(
        lambda q: (
            q.status.hard == {"configmaps": "2", "secrets": "3"}
            and q.status.used == {"configmaps": "1", "secrets": "0"}
        )
    )
    assert (await space.create("configmaps", {"metadata": {"name": "b"}})).code == 201
    await space.delete("resourcequotas", "q")
    assert (await space.create("configmaps", {"metadata": {"name": "c"}})).code == 201


async def test_a_status_that_somebody_else_wrote_does_not_last(space: Space) -> None:
    await space.quota({"cpu": "1", "memory": "1Gi"})
    patched = {"status": {"hard": {"cpu": "2", "memory": "2Gi"}}}
    answer = await space.send(
        "PATCH", space.path("resourcequotas/q/status"), patched, "application/strategic-merge-patch+json"
    )
    assert (answer.body["status"]["hard"], answer.body["spec"]["hard"]["cpu"]) == ({"cpu": "2", "memory": "2Gi"}, "1")
    await space.until(lambda q: q.status.hard == {"cpu": "1", "memory": "1Gi"})


async def test_a_quota_without_a_status_lets_nothing_through(space: Space, plane: ControlPlane) -> None:
    await space.quota({"configmaps": "5"})
    await space.send("PATCH", space.path("resourcequotas/q/status"), {"status": {"used": None}}, MERGE)
    refused = await space.create("configmaps", {"metadata": {"name": "a"}})
    why = "status unknown for quota: q, resources: configmaps"
    assert (refused.code, refused.body["message"]) == (403, f'configmaps "a" is forbidden: {why}')
    await space.used(configmaps="0")


async def test_custom_objects_count_too(space: Space) -> None:
    group = f"{space.name}.example.com"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    definition = {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }  # fmt: skip
    made = await space.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    assert made.code == 201, made.body
    await space.quota({f"count/widgets.{group}": "1"})
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}}
    first = await space.create("widgets", widget, f"apis/{group}/v1")
    assert first.code == 201, first.body
    widget["metadata"] = {"name": "x"}
    assert (await space.create("widgets", widget, f"apis/{group}/v1")).code == 403
    await space.delete("widgets", "w", f"apis/{group}/v1")
    await space.used(**{f"count__widgets.{group}": "0"})
    assert (await space.create("widgets", widget, f"apis/{group}/v1")).code == 201
