"""LimitRanger, ResourceQuota and RuntimeClass: what a pod is given, and what it may not ask for."""

import asyncio
from typing import Any

import pytest

from api import meta
from api.errors import Forbidden
from api.types import (
    LimitRange,
    LimitRangeItem,
    LimitRangeSpec,
    ObjectMeta,
    Overhead,
    PersistentVolumeClaim,
    Pod,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceQuotaStatus,
    RuntimeClass,
    Scheduling,
    Secret,
    Service,
    Toleration,
)
from apiserver.admission.limit_ranges import ANNOTATION, LimitRanger
from apiserver.admission.resource_quotas import ResourceQuotas
from apiserver.admission.runtime_classes import RuntimeClasses, merged

from .worlds import Accounts, Memory, asking

NS = {"name": "x", "namespace": "ns"}


def pod(requests: dict[str, str] | None = None, limits: dict[str, str] | None = None, **spec: Any) -> Pod:
    resources = {"requests": requests or {}, "limits": limits or {}}
    containers = [{"name": "c", "resources": resources}]
    return meta.decode(meta.encode({"metadata": NS, "spec": {"containers": containers, **spec}}), Pod)


def ranges(type_: str = "Container", **item: Any) -> Memory:
    items = [LimitRangeItem(type=type_, **item)]
    return Memory(LimitRange(metadata=ObjectMeta(name="l", namespace="ns"), spec=LimitRangeSpec(limits=items)))


# --- LimitRanger


async def test_a_container_that_says_nothing_gets_the_defaults_and_a_note():
    reader = ranges(default={"cpu": "2", "memory": "1Gi"}, defaultRequest={"cpu": "1"})
    new = pod(limits={"memory": "2Gi"}, initContainers=[{"name": "i"}])
    await LimitRanger(reader).admit(asking(new), new, None)
    resources = new.spec.containers[0].resources
    assert (resources.requests, resources.limits) == ({"cpu": "1"}, {"cpu": "2", "memory": "2Gi"})
    assert new.metadata.annotations[ANNOTATION] == (
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c; "
        "cpu request for init container i; cpu, memory limit for init container i"
    )


async def test_a_container_that_says_everything_is_left_alone():
    new = pod({"cpu": "1"}, {"cpu": "1"})
    await LimitRanger(ranges(default={"cpu": "2"}, defaultRequest={"cpu": "2"})).admit(asking(new), new, None)
    assert new.metadata.annotations == {}
    assert new.spec.containers[0].resources.limits == {"cpu": "1"}


BOTH = {"cpu": "500m", "memory": "200Mi"}


@pytest.mark.parametrize(
    ("type_", "item", "requests", "limits", "why"),
    [
        ("Container", {"min": {"cpu": "100m"}}, {"cpu": "50m"}, {}, "minimum cpu usage per Container is 100m, but request is 50m"),
        ("Container", {"min": {"cpu": "100m"}}, {}, {}, "minimum cpu usage per Container is 100m.  No request is specified"),
        ("Container", {"max": {"cpu": "100m"}}, {}, {}, "maximum cpu usage per Container is 100m.  No limit is specified"),
        ("Container", {"max": {"cpu": "100m"}}, {}, {"cpu": "1"}, "maximum cpu usage per Container is 100m, but limit is 1"),
        ("Container", {"max": {"memory": "1Gi"}}, BOTH, {"memory": "2Gi"}, "maximum memory usage per Container is 1Gi, but limit is 2Gi"),
        ("Container", {"min": {"memory": "300Mi"}, "max": {"cpu": "1"}}, BOTH, {"cpu": "2"},
         "[minimum memory usage per Container is 300Mi, but request is 200Mi, maximum cpu usage per Container is 1, but limit is 2]"),
        ("Container", {"maxLimitRequestRatio": {"cpu": "2"}}, {"cpu": "500m"}, {"cpu": "1500m"},
         "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"),
        ("Container", {"maxLimitRequestRatio": {"cpu": "2"}}, {}, {"cpu": "1"},
         "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"),
        ("Container", {"maxLimitRequestRatio": {"cpu": "2"}}, {"cpu": "1"}, {},
         "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0"),
        ("Pod", {"max": {"cpu": "1"}}, {"cpu": "1"}, {"cpu": "1500m"}, "maximum cpu usage per Pod is 1, but limit is 1500m"),
        ("Container", {"min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"}}, {"cpu": "500m"}, {"cpu": "1"}, ""),
        ("PersistentVolumeClaim", {"max": {"cpu": "1"}}, {"cpu": "9"}, {"cpu": "9"}, ""),
    ],
)  # fmt: skip
async def test_what_a_pod_may_not_ask_for(type_: str, item: Any, requests: Any, limits: Any, why: str):
    new = pod(requests, limits)
    if not why:
        await LimitRanger(ranges(type_, **item)).judge(asking(new), new, None)
        return
    with pytest.raises(Forbidden) as caught:
        await LimitRanger(ranges(type_, **item)).judge(asking(new), new, None)
    assert caught.value.message == f'pods "x" is forbidden: {why}'


async def test_a_claim_has_a_least_and_a_greatest_size():
    claim = meta.decode(
        meta.encode({"metadata": NS, "spec": {"resources": {"requests": {"storage": "5Gi"}}}}), PersistentVolumeClaim
    )
    ranger = LimitRanger(ranges("PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "2Gi"}))
    with pytest.raises(Forbidden, match="maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"):
        await ranger.judge(asking(claim), claim, None)


async def test_updates_are_not_looked_at_except_resizes():
    ranger, new = LimitRanger(ranges(max={"cpu": "1"})), pod({"cpu": "2"}, {"cpu": "2"})
    await ranger.judge(asking(new, "update"), new, new)
    with pytest.raises(Forbidden):
        await ranger.judge(asking(new, "update", subresource="resize"), new, new)


# --- ResourceQuota: the judge


def quota(name: str = "q", used: dict[str, str] | None = None, **hard: str) -> ResourceQuota:
    limits = {k.replace("_", "."): v for k, v in hard.items()}
    status = ResourceQuotaStatus(hard=limits, used=used if used is not None else dict.fromkeys(limits, "0"))
    return ResourceQuota(
        metadata=ObjectMeta(name=name, namespace="ns"), spec=ResourceQuotaSpec(hard=dict(limits)), status=status
    )


def used(accounts: Accounts, name: str = "q") -> dict[str, str]:
    return next(o.status.used for o in accounts.objects if o.metadata.name == name)


async def test_what_a_pod_asks_for_is_charged():
    accounts = Accounts(quota(pods="2", limits_cpu="3", memory="1Gi"))
    new = pod({"memory": "256Mi"}, {"cpu": "1500m"})
    await ResourceQuotas(accounts).judge(asking(new), new, None)
    assert used(accounts) == {"pods": "1", "limits.cpu": "1500m", "memory": "256Mi"}


@pytest.mark.parametrize(
    ("accounts", "why"),
    [
        (Accounts(quota(pods="2", used={"pods": "2"})), "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        (Accounts(quota(pods="2", limits_cpu="3")), "failed quota: q: must specify limits.cpu for: c"),
        (Accounts(quota(pods="2", used={})), "status unknown for quota: q, resources: pods"),
    ],
)  # fmt: skip
async def test_what_is_refused_changes_no_account(accounts: Accounts, why: str):
    new = pod()
    with pytest.raises(Forbidden) as caught:
        await ResourceQuotas(accounts).judge(asking(new), new, None)
    assert caught.value.message == f'pods "x" is forbidden: {why}'
    assert accounts.writes == 0


async def test_all_quotas_are_charged_or_none():
    accounts = Accounts(quota("a", secrets="5"), quota("b", secrets="1"))
    judge, new = ResourceQuotas(accounts), Secret(metadata=ObjectMeta(**NS))
    await judge.judge(asking(new), new, None)
    with pytest.raises(Forbidden, match="exceeded quota: b"):
        await judge.judge(asking(new), new, None)
    assert (used(accounts, "a"), used(accounts, "b")) == ({"secrets": "1"}, {"secrets": "1"})


async def test_many_at_once_are_charged_together():
    accounts = Accounts(quota(secrets="40"))
    judge = ResourceQuotas(accounts)

    async def one(n: int) -> bool:
        new = Secret(metadata=ObjectMeta(name=f"s{n}", namespace="ns"))
        try:
            await judge.judge(asking(new), new, None)
        except Forbidden:
            return False
        return True

    assert sum(await asyncio.gather(*(one(n) for n in range(100)))) == 40
    assert used(accounts) == {"secrets": "40"}
    assert accounts.writes < 4


async def test_a_charge_of_another_server_in_between_counts_too():
    late = quota(secrets="2", used={"secrets": "2"})
    late.metadata.resourceVersion = "1"
    accounts = Accounts(quota(secrets="2"), after=[late])
    new = Secret(metadata=ObjectMeta(**NS))
    with pytest.raises(Forbidden, match="used: secrets=2"):
        await ResourceQuotas(accounts).judge(asking(new), new, None)


async def test_whoever_leaves_while_it_waits_is_not_charged():
    accounts = Accounts(quota(secrets="5"))
    judge = ResourceQuotas(accounts)
    new = Secret(metadata=ObjectMeta(**NS))
    tasks = [asyncio.create_task(judge.judge(asking(new), new, None)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(r) for r in results] == [type(None), asyncio.CancelledError, type(None)]
    assert used(accounts) == {"secrets": "2"}


async def test_a_dry_run_and_a_subresource_are_free():
    accounts = Accounts(quota(secrets="1", pods="1"))
    new, running = Secret(metadata=ObjectMeta(**NS)), pod()
    await ResourceQuotas(accounts).judge(asking(new, dry_run=True), new, None)
    await ResourceQuotas(accounts).judge(asking(running, subresource="status"), running, running)
    assert accounts.writes == 0


async def test_a_service_that_grows_is_charged_for_what_it_gains():
    accounts = Accounts(quota(services="1", services_nodeports="1", used={"services": "1", "services.nodeports": "0"}))
    old = meta.decode(
        b'{"metadata":{"name":"x","namespace":"ns"},"spec":{"type":"ClusterIP","ports":[{"port":1}]}}', Service
    )
    new = meta.clone(old)
    new.spec.type = "NodePort"
    await ResourceQuotas(accounts).judge(asking(new, "update"), new, old)
    assert used(accounts) == {"services": "1", "services.nodeports": "1"}
    # What shrinks is the controller's to give back.
    await ResourceQuotas(accounts).judge(asking(old, "update"), old, new)
    assert used(accounts)["services.nodeports"] == "1"


# --- RuntimeClass

SANDBOX = RuntimeClass(
    metadata=ObjectMeta(name="sandbox"), handler="h", overhead=Overhead(podFixed={"cpu": "250m"}),
    scheduling=Scheduling(nodeSelector={"runtime": "sandbox"}, tolerations=[Toleration(key="t", operator="Exists")]),
)  # fmt: skip


async def test_a_runtime_class_gives_overhead_and_place():
    new = pod(runtimeClassName="sandbox", nodeSelector={"a": "b"})
    plugin = RuntimeClasses(Memory(SANDBOX))
    await plugin.admit(asking(new), new, None)
    await plugin.judge(asking(new), new, None)
    assert new.spec.overhead == {"cpu": "250m"}
    assert new.spec.nodeSelector == {"a": "b", "runtime": "sandbox"}
    assert [t.key for t in new.spec.tolerations] == ["t"]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        ({"runtimeClassName": "sandbox", "overhead": {"cpu": "1"}}, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"),
        ({"overhead": {"cpu": "1"}}, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        ({"runtimeClassName": "sandbox", "nodeSelector": {"runtime": "x"}},
         "conflict: runtimeClass.scheduling.nodeSelector[runtime] = sandbox; pod.spec.nodeSelector[runtime] = x"),
    ],
)  # fmt: skip
async def test_a_runtime_class_that_does_not_fit(spec: Any, why: str):
    new, plugin = pod(**spec), RuntimeClasses(Memory(SANDBOX))

    async def both() -> None:
        await plugin.admit(asking(new), new, None)
        await plugin.judge(asking(new), new, None)

    with pytest.raises(Forbidden) as caught:
        await both()
    assert caught.value.message == f'pods "x" is forbidden: {why}'


def test_a_toleration_that_another_includes_is_left_out():
    every, one = Toleration(operator="Exists"), Toleration(key="a", operator="Exists")
    short = Toleration(key="b", operator="Exists", effect="NoExecute", tolerationSeconds=5)
    long = Toleration(key="b", operator="Exists", effect="NoExecute", tolerationSeconds=9)
    assert merged([one], [every]) == [every]
    assert merged([one], [one]) == [one]
    assert merged([short, one], [long]) == [one, long]
