"""Jobs as the API server hands them out, and a kubelet that ends their pods."""

from collections.abc import Sequence
from typing import Any

from api import meta, times
from api.types import (
    Container,
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Job,
    JobSpec,
    LabelSelector,
    ObjectMeta,
    Pod,
    PodCondition,
    PodSpec,
    PodTemplateSpec,
)
from controller_manager.job_pods import INDEX
from tests.unit.controller_manager.worlds import rest

CHOSEN = {"batch.kubernetes.io/job-name": "work"}


def job(name: str = "work", *, completions: int | None = 1, parallelism: int = 1, indexed: bool = False, **spec: Any):
    labels = {"batch.kubernetes.io/job-name": name}
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels=dict(labels)),
        spec=PodSpec(restartPolicy="Never", containers=[Container(name="main", image="image:1")]),
    )
    return Job(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=JobSpec(
            completions=completions, parallelism=parallelism, template=template,
            completionMode="Indexed" if indexed else "NonIndexed", selector=LabelSelector(matchLabels=labels), **spec,
        ),
    )  # fmt: skip


def running(world: Any) -> list[Pod]:
    """Pods that have neither ended nor are going, by index or name."""
    alive = [p for p in world.all(Pod) if not p.metadata.deletionTimestamp and p.status.phase in ("", "Running")]
    return sorted(alive, key=lambda p: (p.metadata.annotations.get(INDEX, ""), p.metadata.name))


async def end(world: Any, pods: Sequence[Pod], *, code: int = 0, conditions: Sequence[str] = ()) -> None:
    """The containers of these pods exit."""
    at = times.format(world.clock.now())
    for p in pods:
        fresh = world.one(Pod, p.metadata.name)
        fresh.status.phase = "Failed" if code else "Succeeded"
        ended = ContainerState(terminated=ContainerStateTerminated(exitCode=code, finishedAt=at))
        fresh.status.containerStatuses = [ContainerStatus(name="main", state=ended)]
        fresh.status.conditions = [PodCondition(type=c, status="True") for c in conditions]
        await world.update_status(fresh)
    await rest()


async def later(world: Any, term: Any, seconds: float, name: str = "work") -> None:
    """Timers of queues are in the event loop's own time: what they would do is done by hand."""
    await world.clock.advance(seconds)
    for controller in term.controllers:
        controller.queue.add(meta.Key("default", name))
    await rest()


def conditions(job: Job) -> list[tuple[str, str]]:
    return [(c.type, c.reason) for c in job.status.conditions if c.status == "True"]
