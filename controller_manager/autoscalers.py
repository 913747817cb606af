"""Horizontal pod autoscalers: as many pods as their work needs.

https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/ . Every 15 s each looks at its
metrics anew; what it remembers of the last hour (recommendations, changes) is in this process, as upstream's is.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from api import errors, kinds, labels, meta, quantities, times
from api.kinds import Kind
from api.meta import Key
from api.types import (
    ContainerResourceMetricStatus,
    CustomResourceDefinition,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    Pod,
    PodMetrics,
    ResourceMetricStatus,
    Scale,
)
from controller_manager import replica_counts, scaling_limits
from controller_manager.contexts import Context
from controller_manager.replica_counts import Answer, NoMetric, Sample, Tolerances
from controller_manager.scaling_limits import Memory
from machinery.controllers import Controller

COMPONENT = "horizontal-pod-autoscaler"
PERIOD = 15.0
DISABLED = "scaling is disabled since the replica count of the target is zero"
CURRENT = "recommended size matches current size"
CAN_SCALE = "the HPA controller was able to get the target's current scale"
HIGHER = "recent recommendations were higher than current one, applying the highest recent recommendation"
LOWER = "recent recommendations were lower than current one, applying the lowest recent recommendation"
ADAPTERS = {"Object": "custom", "Pods": "custom", "External": "external"}


def new(context: Context) -> Controller:
    return Autoscalers(context).controller


class Proposal(NamedTuple):
    """What one metric asks for."""

    replicas: int
    metric: str
    status: MetricStatus


@dataclass(frozen=True, slots=True)
class Missing(Exception):
    """A metric that could not be had: the reason of the event, and of the condition if nothing else helps."""

    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class Failed(Exception):
    """Nothing can be computed: what the condition ScalingActive says of it, and what the event does."""

    reason: str
    message: str
    error: str


class Autoscalers:
    """Its keys are autoscalers."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._autoscalers = context.informers(HorizontalPodAutoscaler)
        self._pods = context.informers(Pod)
        self._definitions = context.informers(CustomResourceDefinition)
        self._recorder = context.recorder(COMPONENT)
        self._memories: dict[Key, Memory] = {}
        self._selectors: dict[Key, labels.Selector] = {}
        self.controller = Controller(
            "horizontal-pod-autoscaler-controller", self.reconcile,
            informers=(self._autoscalers, self._pods, self._definitions),
        )  # fmt: skip
        self._autoscalers.on_change(self._changed)

    def _changed(self, old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None) -> None:
        if new is None:
            assert old is not None
            self._memories.pop(meta.key(old), None)
            self._selectors.pop(meta.key(old), None)
        elif old is None or old.spec != new.spec:
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> float | None:
        seen = self._autoscalers.get(*key)
        if seen is None:
            return None
        step = Step(meta.clone(seen), self._clock.now())
        step.of.status.observedGeneration = seen.metadata.generation or 0
        await self._scale(step, self._memories.setdefault(key, Memory()))
        if step.of.status != seen.status:
            await self._client.update_status(step.of)
        return PERIOD

    async def _scale(self, step: "Step", memory: Memory) -> None:
        reference = step.of.spec.scaleTargetRef
        assert reference is not None, "validation asks for it"
        namespace = step.of.metadata.namespace
        try:
            kind = self._kind(reference.apiVersion, reference.kind)
            scale = await self._client.get_subresource(kind, reference.name, namespace, "scale", Scale)
        except errors.ApiError as e:
            step.set("AbleToScale", "False", "FailedGetScale", f"the HPA controller was unable to get the target's current scale: {e}")  # fmt: skip # noqa: E501
            self._recorder.event(step.of, "Warning", "FailedGetScale", str(e))
            return
        step.set("AbleToScale", "True", "SucceededGetScale", CAN_SCALE)
        current = scale.spec.replicas or 0
        memory.begin(current, step.now)
        if current == 0 and step.of.spec.minReplicas != 0:
            step.set("ScalingActive", "False", "ScalingDisabled", DISABLED)
            step.counted(current, 0)
            return
        wanted, why = await self._wanted(step, scale, memory)
        if wanted is None:
            return
        step.counted(current, wanted)
        if wanted == current:
            return
        await self._resize(step, kind, scale, wanted, why, memory)

    async def _wanted(self, step: "Step", scale: Scale, memory: Memory) -> tuple[int | None, str]:
        """The replicas there should be, and why; None if nothing can be said."""
        spec, current = step.of.spec, scale.spec.replicas or 0
        least = 1 if spec.minReplicas is None else spec.minReplicas
        if current > spec.maxReplicas:
            return spec.maxReplicas, "Current number of replicas above Spec.MaxReplicas"
        if current < least:
            return least, "Current number of replicas below Spec.MinReplicas"
        try:
            proposal = await self._proposal(step, scale, current)
        except Failed as e:
            self._fail(step, e)
            step.counted(current, step.of.status.desiredReplicas)
            return None, ""
        message = f"the HPA was able to successfully calculate a replica count from {proposal.metric}"
        step.set("ScalingActive", "True", "ValidMetricFound", message)
        up, down = scaling_limits.rules(spec)
        stable, reason = memory.stabilized(current, proposal.replicas, up, down, step.now)
        if reason:
            step.set("AbleToScale", "True", reason, HIGHER if reason == "ScaleDownStabilized" else LOWER)
        else:
            step.set("AbleToScale", "True", "ReadyForNewScale", CURRENT)
        limited = memory.limited(current, stable, least, spec.maxReplicas, up, down, step.now)
        step.set("ScalingLimited", str(limited.reason != "DesiredWithinRange"), limited.reason, limited.message)
        why = f"{proposal.metric} above target" if limited.replicas > current else "All metrics below target"
        return limited.replicas, why

    async def _resize(
        self, step: "Step", kind: Kind, scale: Scale, wanted: int, why: str, memory: Memory
    ) -> None:  # fmt: skip
        before, scale.spec.replicas = scale.spec.replicas or 0, wanted
        metadata = scale.metadata
        try:
            await self._client.update_subresource(kind, metadata.name, metadata.namespace, "scale", scale)
        except errors.ApiError as e:
            message = f"the HPA controller was unable to update the target scale: {e}"
            step.set("AbleToScale", "False", "FailedUpdateScale", message)
            self._recorder.event(step.of, "Warning", "FailedRescale", f"New size: {wanted}; reason: {why}; error: {e}")
            step.of.status.desiredReplicas = before
            return
        memory.did(before, wanted, step.now)
        step.set("AbleToScale", "True", "SucceededRescale", f"the HPA controller was able to update the target scale to {wanted}")  # fmt: skip # noqa: E501
        self._recorder.event(step.of, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {why}")
        step.of.status.lastScaleTime = times.format(step.now)

    # --- metrics

    async def _proposal(self, step: "Step", scale: Scale, current: int) -> Proposal:
        """The largest of what the metrics ask for; one that says nothing must not make it fewer.  Raises Failed."""
        selector = self._selector(step, scale)
        proposals, missing = [], []
        for metric in step.of.spec.metrics:
            try:
                proposals.append(await self._of_metric(step, metric, selector, scale.metadata.namespace, current))
            except Missing as e:
                self._recorder.event(step.of, "Warning", e.reason, e.why)
                missing.append((metric, e))
        step.of.status.currentMetrics = [p.status for p in proposals]
        best = max(proposals, key=lambda p: p.replicas, default=None)
        if best is None or (missing and best.replicas < current):
            metric, first = missing[0]
            raise Failed(
                first.reason,
                f"the HPA was unable to compute the replica count: {first.why}",
                f"invalid metrics ({len(missing)} invalid out of {len(step.of.spec.metrics)}), first error is: "
                f"failed to get {_called(metric)} metric value: {first.why}",
            )
        return best

    def _selector(self, step: "Step", scale: Scale) -> labels.Selector:
        """Of the pods that are to be measured, which nobody else may scale.  Raises Failed."""
        key, text = meta.key(step.of), scale.status.selector
        if not text:
            error = "selector is required"
            self._recorder.event(step.of, "Warning", "SelectorRequired", error)
            raise Failed("InvalidSelector", "the HPA target's scale is missing a selector", error)
        try:
            selector = labels.parse(text)
        except (errors.ApiError, ValueError) as e:
            error = f"couldn't convert selector into a corresponding internal selector object: {e}"
            self._recorder.event(step.of, "Warning", "InvalidSelector", error)
            raise Failed("InvalidSelector", error, error) from e
        if self._autoscalers.get(*key) is not None:  # else it has gone meanwhile, and nobody would take this away again
            self._selectors[key] = selector
        if len(rivals := self._scalers(key.namespace, selector)) > 1:
            listed = " ".join(map(str, rivals))
            error = f"pods by selector {text} are controlled by multiple HPAs: [{listed}]"
            self._recorder.event(step.of, "Warning", "AmbiguousSelector", error)
            raise Failed("AmbiguousSelector", error, error)
        return selector

    def _scalers(self, namespace: str, selector: labels.Selector) -> list[Key]:
        """The autoscalers that measure any of the pods."""
        each = [p.metadata.labels for p in self._pods.list(namespace) if selector.matches(p.metadata.labels)]
        known = [(key, other) for key, other in self._selectors.items() if key.namespace == namespace]
        return sorted(key for key, other in known if any(map(other.matches, each)))

    async def _of_metric(
        self, step: "Step", metric: MetricSpec, selector: labels.Selector, namespace: str, current: int
    ) -> Proposal:
        source = metric.resource or metric.containerResource
        if source is None or source.target is None:
            api = ADAPTERS.get(metric.type, "custom")
            message = f"unable to get metric: unable to fetch metrics from {api} metrics API: no such API is served"
            raise Missing(f"FailedGet{metric.type}Metric", message)
        container = metric.containerResource.container if metric.containerResource is not None else ""
        reason = "FailedGetContainerResourceMetric" if container else "FailedGetResourceMetric"
        what = f"{source.name} {'container ' if container else ''}resource"
        try:
            samples = await self._samples(namespace, selector, source.name, container)
            pods = [p for p in self._pods.list(namespace) if selector.matches(p.metadata.labels)]
            answer = _answer(step, current, source.target, source.name, samples, pods, container)
        except NoMetric as e:
            kind = "usage" if source.target.averageValue is not None else "utilization"
            raise Missing(reason, f"failed to get {source.name} {kind}: {e}") from e
        if source.target.averageUtilization is not None:
            described = f"{what} utilization (percentage of request)"
        else:
            described = what
        return Proposal(answer.replicas, described, _status(metric, source.name, container, answer))

    async def _samples(
        self, namespace: str, selector: labels.Selector, resource: str, container: str
    ) -> dict[str, Sample]:  # fmt: skip
        """By the names of pods.  Raises NoMetric."""
        try:
            found = (await self._client.list(PodMetrics, namespace, label_selector=str(selector))).items
        except errors.ApiError as e:
            message = (
                f"unable to get metrics for resource {resource}: unable to fetch metrics from resource metrics API: {e}"
            )
            raise NoMetric(message) from e
        samples = {}
        for pod in found:
            usages = [c.usage.get(resource) for c in pod.containers if not container or c.name == container]
            if usages and all(u is not None for u in usages):
                value = sum(quantities.milli(u) for u in usages if u is not None)
                samples[pod.metadata.name] = Sample(value, times.parse(pod.timestamp), _seconds(pod.window))
        if not samples:
            message = f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
            raise NoMetric(message)
        return samples

    def _fail(self, step: "Step", failure: Failed) -> None:
        step.set("ScalingActive", "False", failure.reason, failure.message)
        self._recorder.event(step.of, "Warning", "FailedComputeMetricsReplicas", failure.error)

    def _kind(self, api_version: str, name: str) -> Kind:
        """Raises NotFound for a kind that nobody serves."""
        if (kind := kinds.by_name(api_version, name)) is not None:
            return kind
        group, _, version = api_version.rpartition("/")
        for definition in self._definitions.list():
            spec = definition.spec
            names = spec.names
            served = any(v.name == version and v.served for v in spec.versions)
            if names is not None and served and (spec.group, names.kind) == (group, name):
                return Kind(group, version, name, names.plural or "", spec.scope == "Namespaced")
        raise errors.NotFound(f'no matches for kind "{name}" in group "{group}"')


@dataclass(slots=True)
class Step:
    """One look at one autoscaler, whose status it fills in."""

    of: HorizontalPodAutoscaler
    now: float

    def set(self, type_: str, status: str, reason: str, message: str) -> None:
        condition = HorizontalPodAutoscalerCondition(
            type=type_, status=status, reason=reason, message=message, lastTransitionTime=times.format(self.now)
        )
        meta.set_condition(self.of.status.conditions, condition)

    def counted(self, current: int, desired: int) -> None:
        self.of.status.currentReplicas, self.of.status.desiredReplicas = current, desired

    def tolerances(self) -> Tolerances:
        up, down = scaling_limits.rules(self.of.spec)
        values = [float(quantities.parse(r.tolerance)) if r.tolerance is not None else 0.1 for r in (down, up)]
        return Tolerances(*values)


def _called(metric: MetricSpec) -> str:
    if metric.containerResource is not None:
        return f"{metric.containerResource.container} container"
    if metric.resource is not None:
        return f"{metric.resource.name} resource"
    if metric.external is not None and metric.external.metric is not None:
        return f"{metric.external.metric.name} external"
    return metric.type.lower()


def _answer(
    step: Step, current: int, target: MetricTarget, resource: str, samples: dict[str, Sample], pods: list[Pod],
    container: str,
) -> Answer:  # fmt: skip
    if target.averageValue is not None:
        wanted = quantities.milli(target.averageValue)
        return replica_counts.by_average(current, wanted, resource, samples, pods, step.now, step.tolerances())
    if target.averageUtilization is None:
        raise NoMetric("invalid resource metric source: neither an average utilization target nor an average value target was set")  # fmt: skip # noqa: E501
    return replica_counts.by_utilization(
        current, target.averageUtilization, resource, samples, pods, container, step.now, step.tolerances()
    )


def _status(metric: MetricSpec, name: str, container: str, answer: Answer) -> MetricStatus:
    value: Any = MetricValueStatus(averageValue=quantities.canonical(f"{answer.average}m"))
    if answer.utilization:
        value.averageUtilization = answer.utilization
    if container:
        status = ContainerResourceMetricStatus(name=name, container=container, current=value)
        return MetricStatus(type=metric.type, containerResource=status)
    return MetricStatus(type=metric.type, resource=ResourceMetricStatus(name=name, current=value))


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s") or 0)
