"""As many pods as their work needs."""

from typing import Any

import pytest

from api import meta, times
from api.types import (
    Container,
    ContainerMetrics,
    ContainerResourceMetricSource,
    CrossVersionObjectReference,
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    ExternalMetricSource,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec,
    HPAScalingPolicy,
    HPAScalingRules,
    LabelSelector,
    MetricIdentifier,
    MetricSpec,
    MetricTarget,
    ObjectMeta,
    Pod,
    PodCondition,
    PodMetrics,
    PodSpec,
    PodStatus,
    ResourceMetricSource,
    ResourceRequirements,
)
from controller_manager import scaling_limits
from controller_manager.replica_counts import Answer, NoMetric, Sample, Tolerances, by_average, by_utilization
from controller_manager.scaling_limits import Memory
from tests.unit.controller_manager.making import LABELS, NOW
from tests.unit.controller_manager.worlds import World, controllers, rest

LONG_AGO = times.format(NOW - 3600)


def pod(name: str, *, ready: str = "True", started: float = 3600, phase: str = "Running", **more: Any) -> Pod:
    resources = ResourceRequirements(requests={"cpu": "1", "memory": "100Mi"})
    since = times.format(NOW - started)
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", labels=dict(LABELS), **more),
        spec=PodSpec(containers=[Container(name="main", resources=resources)]),
        status=PodStatus(
            phase=phase,
            startTime=since,
            conditions=[PodCondition(type="Ready", status=ready, lastTransitionTime=since)],
        ),
    )


def utilized(current: int, target: int, uses: dict[str, int], *pods: Pod) -> Answer:
    samples = {name: Sample(value, NOW) for name, value in uses.items()}
    return by_utilization(current, target, "cpu", samples, pods, "", NOW, Tolerances())


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ({"a": 1000, "b": 1000}, 4),  # twice the target
        ({"a": 520, "b": 520}, 2),  # within a tenth
        ({"a": 100, "b": 100}, 1),
        ({"a": 800, "b": 300}, 2),  # 55 %: 1.1 is still within
        ({"a": 800, "b": 400}, 3),
    ],
)
def test_replicas_follow_the_ratio_of_use_to_target(uses: dict[str, int], expected: int) -> None:
    assert utilized(2, 50, uses, pod("a"), pod("b")).replicas == expected


def test_a_pod_without_a_sample_speaks_against_the_change() -> None:
    pods = [pod("a"), pod("b")]
    assert utilized(2, 50, {"a": 1000}, *pods).replicas == 2  # 1000 of 2000 is the target
    assert utilized(2, 50, {"a": 100}, *pods).replicas == 2  # it may use all it has asked for
    assert utilized(2, 50, {"a": 3000}, *pods).replicas == 6


def test_pods_that_start_do_not_count_as_work() -> None:
    fresh = pod("b", ready="False", started=10)
    assert utilized(2, 50, {"a": 1000, "b": 4000}, pod("a"), fresh).replicas == 2
    assert utilized(2, 50, {"a": 1000, "b": 4000}, pod("a"), pod("b", phase="Pending")).replicas == 2
    gone = pod("b", deletionTimestamp=LONG_AGO)
    assert utilized(2, 50, {"a": 1000, "b": 4000}, pod("a"), gone).replicas == 2


def test_an_amount_for_each_pod_is_a_target_too() -> None:
    samples = {n: Sample(v, NOW) for n, v in {"a": 300, "b": 500}.items()}
    answer = by_average(2, 100, "cpu", samples, [pod("a"), pod("b")], NOW, Tolerances())
    assert answer == Answer(8, 0, 400)


@pytest.mark.parametrize(
    ("uses", "pods", "why"),
    [
        ({}, [pod("a")], "did not receive metrics for targeted pods"),
        ({"a": 1}, [], "no pods returned by selector"),
    ],
)
def test_a_metric_that_says_nothing_is_an_error(uses: Any, pods: Any, why: str) -> None:
    with pytest.raises(NoMetric, match=why):
        utilized(1, 50, uses, *pods)


def test_a_container_that_requests_nothing_has_no_utilization() -> None:
    bare = pod("a")
    bare.spec.containers[0].resources.requests.clear()
    with pytest.raises(NoMetric, match="missing request for cpu in container main of Pod a"):
        utilized(1, 50, {"a": 1}, bare)


def limits(behavior: Any = None) -> Any:
    return scaling_limits.rules(HorizontalPodAutoscalerSpec(behavior=behavior))


@pytest.mark.parametrize(("current", "desired", "expected"), [(1, 50, 4), (10, 50, 20), (3, 6, 6), (50, 1, 1)])
def test_without_behavior_replicas_double_or_become_four_in_one_step(current: int, desired: int, expected: int) -> None:
    assert Memory().limited(current, desired, 1, 100, *limits(), NOW).replicas == expected


@pytest.mark.parametrize(("current", "desired", "expected"), [(1, 50, 5), (10, 50, 20), (3, 7, 7), (50, 1, 1)])
def test_by_default_rules_replicas_double_or_grow_by_four_in_fifteen_seconds(
    current: int, desired: int, expected: int
) -> None:
    default = limits(HorizontalPodAutoscalerBehavior())
    assert Memory().limited(current, desired, 1, 100, *default, NOW).replicas == expected


def test_what_was_done_lately_counts_against_the_rate() -> None:
    memory, default = Memory(), limits(HorizontalPodAutoscalerBehavior())
    memory.did(4, 8, NOW)
    assert memory.limited(8, 50, 1, 100, *default, NOW + 5).replicas == 8
    assert memory.limited(8, 50, 1, 100, *default, NOW + 16).replicas == 16


@pytest.mark.parametrize(("select", "expected"), [("Max", 15), ("Min", 12), ("Disabled", 10)])
def test_policies_limit_the_rate_as_they_are_selected(select: str, expected: int) -> None:
    policies = [
        HPAScalingPolicy(type="Pods", value=2, periodSeconds=60), HPAScalingPolicy(type="Percent", value=50, periodSeconds=60)
    ]  # fmt: skip
    behavior = HorizontalPodAutoscalerBehavior(scaleUp=HPAScalingRules(policies=policies, selectPolicy=select))
    assert Memory().limited(10, 50, 1, 100, *limits(behavior), NOW).replicas == expected


def test_the_bounds_are_kept_and_named() -> None:
    assert Memory().limited(3, 50, 1, 4, *limits(), NOW).reason == "TooManyReplicas"
    assert Memory().limited(3, 0, 2, 4, *limits(), NOW) == (2, *scaling_limits.TOO_FEW)
    assert Memory().limited(3, 20, 1, 50, *limits(), NOW).reason == "ScaleUpLimit"


def test_a_smaller_recommendation_waits_for_the_window() -> None:
    memory = Memory()
    assert memory.stabilized(5, 5, *limits(), NOW) == (5, "")
    assert memory.stabilized(5, 2, *limits(), NOW + 100) == (5, "ScaleDownStabilized")
    assert memory.stabilized(5, 2, *limits(), NOW + 299) == (5, "ScaleDownStabilized")
    assert memory.stabilized(5, 2, *limits(), NOW + 301) == (2, "")


def autoscaler(*metrics: MetricSpec, most: int = 10, **more: Any) -> HorizontalPodAutoscaler:
    target = CrossVersionObjectReference(apiVersion="apps/v1", kind="Deployment", name="web")
    spec = HorizontalPodAutoscalerSpec(scaleTargetRef=target, maxReplicas=most, metrics=list(metrics), **more)
    return HorizontalPodAutoscaler(metadata=ObjectMeta(name="web", namespace="default"), spec=spec)


def cpu(percent: int = 50) -> MetricSpec:
    target = MetricTarget(type="Utilization", averageUtilization=percent)
    return MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=target))


async def put(world: World, replicas: int, milli: int, *, containers: Any = None) -> None:
    """A deployment with so many pods, each of which uses so much."""
    spec = DeploymentSpec(replicas=replicas, selector=LabelSelector(matchLabels=LABELS))
    await world.create(
        Deployment(
            metadata=ObjectMeta(name="web", namespace="default"), spec=spec, status=DeploymentStatus(replicas=replicas)
        )
    )
    for i in range(replicas):
        await world.create(pod(f"p{i}"))
        await world.create(
            PodMetrics(
                metadata=ObjectMeta(name=f"p{i}", namespace="default", labels=dict(LABELS)),
                timestamp=times.format(NOW), window="15s",
                containers=[ContainerMetrics(name="main", usage={"cpu": f"{milli}m", "memory": "10Mi"})],
            )
        )  # fmt: skip


def size(world: World) -> int:
    return int(world.one(Deployment, "web").spec.replicas)


def conditions(world: World) -> dict[str, tuple[str, str]]:
    found = world.one(HorizontalPodAutoscaler, "web").status.conditions
    return {c.type: (c.status, c.reason) for c in found}


def said(world: World, type_: str) -> str:
    found = meta.condition(world.one(HorizontalPodAutoscaler, "web"), type_)
    assert found is not None
    return str(found.message)


HPA = "horizontal-pod-autoscaler-controller"


async def test_a_busy_deployment_grows_and_says_why(world: World) -> None:
    await put(world, 2, 900)
    await world.create(autoscaler(cpu()))
    async with controllers(world, HPA):
        await rest(30)
        assert size(world) == 4
        status = world.one(HorizontalPodAutoscaler, "web").status
        assert (status.currentReplicas, status.desiredReplicas) == (2, 4)
        assert status.currentMetrics[0].resource.current.averageUtilization == 90
        assert conditions(world) == {
            "AbleToScale": ("True", "SucceededRescale"), "ScalingActive": ("True", "ValidMetricFound"),
            "ScalingLimited": ("False", "DesiredWithinRange"),
        }  # fmt: skip
        assert world.events("SuccessfulRescale") == [
            "New size: 4; reason: cpu resource utilization (percentage of request) above target"
        ]


async def test_an_idle_deployment_shrinks_only_after_the_window(world: World) -> None:
    await put(world, 4, 10)
    await world.create(autoscaler(cpu(), minReplicas=2))
    async with controllers(world, HPA) as term:
        await rest(30)
        # What it has when it is seen first counts as recommended then: a new leader shrinks nothing at once.
        assert size(world) == 4
        assert conditions(world)["AbleToScale"] == ("True", "ScaleDownStabilized")
        await world.clock.advance(301)
        await term.controllers[0].reconcile_now(meta.Key("default", "web"))
        assert size(world) == 2
        assert conditions(world)["ScalingLimited"] == ("True", "TooFewReplicas")


@pytest.mark.parametrize(("least", "most", "expected"), [(1, 3, 3), (6, 10, 6)])
async def test_the_bounds_hold_whatever_the_metrics_say(world: World, least: int, most: int, expected: int) -> None:
    await put(world, 4, 500)
    await world.create(autoscaler(cpu(), most=most, minReplicas=least))
    async with controllers(world, HPA):
        await rest(30)
        assert size(world) == expected


async def test_no_metrics_are_a_condition_and_an_event(world: World) -> None:
    await put(world, 1, 500)
    await world.finish(PodMetrics, "p0")
    await world.create(autoscaler(cpu()))
    async with controllers(world, HPA):
        await rest(30)
        assert conditions(world)["ScalingActive"] == ("False", "FailedGetResourceMetric")
        why = "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API"  # fmt: skip
        assert world.events("FailedGetResourceMetric") == [why]
        assert world.events("FailedComputeMetricsReplicas") == [
            f"invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {why}"
        ]
        assert said(world, "ScalingActive") == f"the HPA was unable to compute the replica count: {why}"
        assert size(world) == 1


async def test_a_metric_that_is_missing_beside_another_is_told_of(world: World) -> None:
    await put(world, 1, 1000)
    external = ExternalMetricSource(metric=MetricIdentifier(name="queue"), target=MetricTarget(type="Value", value="1"))
    await world.create(autoscaler(cpu(), MetricSpec(type="External", external=external)))
    async with controllers(world, HPA):
        await rest(30)
        assert conditions(world)["ScalingActive"] == ("True", "ValidMetricFound")
        assert (len(world.events("FailedGetExternalMetric")), size(world) > 1) == (1, True)


async def test_pods_that_two_autoscalers_measure_are_ambiguous(world: World) -> None:
    await put(world, 1, 1000)
    first, second = autoscaler(cpu()), autoscaler(cpu())
    second.metadata.name = "rival"
    await world.create(first)
    await world.create(second)
    async with controllers(world, HPA) as term:
        await rest(30)
        await term.controllers[0].reconcile_now(meta.key(first))
        why = "pods by selector app=web are controlled by multiple HPAs: [default/rival default/web]"
        assert why in world.events("AmbiguousSelector")
        assert why in world.events("FailedComputeMetricsReplicas")
        assert conditions(world)["ScalingActive"] == ("False", "AmbiguousSelector")


async def test_an_autoscaler_that_went_while_it_was_looked_at_is_in_nobodys_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(world, 1, 1000)
    scale = world.get_subresource

    async def slow(*asked: Any) -> Any:
        monkeypatch.undo()
        await world.delete(HorizontalPodAutoscaler, "web", "default")
        await rest()
        return await scale(*asked)

    monkeypatch.setattr(world, "get_subresource", slow)
    await world.create(autoscaler(cpu()))
    async with controllers(world, HPA):
        await rest(30)
        other = autoscaler(cpu())
        other.metadata.name = "other"
        await world.create(other)
        await rest(30)
        assert world.events("AmbiguousSelector") == []
        assert meta.is_true(world.one(HorizontalPodAutoscaler, "other"), "ScalingActive")


async def test_a_target_that_is_not_there_is_a_condition(world: World) -> None:
    await world.create(autoscaler(cpu()))
    async with controllers(world, HPA):
        await rest(30)
        assert conditions(world)["AbleToScale"] == ("False", "FailedGetScale")


async def test_a_target_scaled_to_zero_is_left_alone(world: World) -> None:
    await put(world, 0, 0)
    await world.create(autoscaler(cpu()))
    async with controllers(world, HPA):
        await rest(30)
        assert conditions(world)["ScalingActive"] == ("False", "ScalingDisabled")
        assert size(world) == 0


async def test_one_container_can_be_what_is_measured(world: World) -> None:
    await put(world, 1, 1000)
    target = MetricTarget(type="AverageValue", averageValue="250m")
    source = ContainerResourceMetricSource(name="cpu", container="main", target=target)
    await world.create(autoscaler(MetricSpec(type="ContainerResource", containerResource=source)))
    async with controllers(world, HPA):
        await rest(30)
        assert size(world) == 4
