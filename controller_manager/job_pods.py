"""The pods of jobs: how they are made, and what they say about themselves. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from typing import Any

from api import meta, times
from api.types import EnvVar, EnvVarSource, Job, ObjectFieldSelector, Pod
from controller_manager.pods import is_terminating
from controller_manager.replicas import from_template

TRACKING = "batch.kubernetes.io/job-tracking"
"""The finalizer that holds a pod until it has been counted."""
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
VARIABLE = "JOB_COMPLETION_INDEX"
LONGEST_BASE = 58
"""What the random part of a generated name leaves of the 63 characters of a host name."""


def is_tracked(pod: Pod) -> bool:
    return TRACKING in pod.metadata.finalizers


def is_indexed(job: Job) -> bool:
    return job.spec.completionMode == "Indexed"


def fails_by_index(job: Job) -> bool:
    return is_indexed(job) and job.spec.backoffLimitPerIndex is not None


def replaces_failed_only(job: Job) -> bool:
    """Whether a pod that is going is not replaced before it has gone."""
    return job.spec.podReplacementPolicy == "Failed" or job.spec.podFailurePolicy is not None


def is_failed(pod: Pod, job: Job) -> bool:
    """A pod that is going counts as failed: on a lost node it would never say so itself."""
    if pod.status.phase == "Failed":
        return True
    return not replaces_failed_only(job) and is_terminating(pod) and pod.status.phase != "Succeeded"


def number(pod: Pod, annotation: str) -> int:
    """A count that an annotation holds; 0 if it holds none."""
    text = pod.metadata.annotations.get(annotation, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def index_of(pod: Pod, job: Job) -> int | None:
    """The pod's completion index; None if it has none, or one that the job does not have any more."""
    text = pod.metadata.annotations.get(INDEX, "")
    if not (text.isascii() and text.isdigit()):
        return None
    index = int(text)
    return index if index < (job.spec.completions or 0) else None


def attempts(pod: Pod) -> int:
    """How many pods of its index had failed before it, whether that was ignored or not."""
    return number(pod, FAILURES) + number(pod, IGNORED)


def finished_at(pod: Pod) -> float:
    """When the last container ended, or what comes nearest to that."""
    ended = [s.state.terminated if s.state is not None else None for s in pod.status.containerStatuses]
    ends = [e.finishedAt for e in ended if e is not None and e.finishedAt]
    if ends and len(ends) == len(ended):
        return max(times.parse(end) for end in ends)
    ready = meta.condition(pod, "Ready")
    if ready is not None and ready.status != "True" and ready.lastTransitionTime:
        return times.parse(ready.lastTransitionTime)
    if pod.metadata.deletionTimestamp:
        return times.parse(pod.metadata.deletionTimestamp) - (pod.metadata.deletionGracePeriodSeconds or 0)
    return times.parse(pod.metadata.creationTimestamp)


def new_pod(job: Job) -> Pod:
    """A pod of a job without indexes."""
    pod = from_template(job)
    if TRACKING not in pod.metadata.finalizers:
        pod.metadata.finalizers.append(TRACKING)
    return pod


def new_indexed_pod(job: Job, index: int, replaced: tuple[int, int] | None) -> Pod:
    """The pod of an index; `replaced` are the failures, counted and ignored, before it, where failing is by index."""
    pod = new_pod(job)
    name, metadata = job.metadata.name, pod.metadata
    metadata.generateName = f"{name[: LONGEST_BASE - len(f'-{index}-')]}-{index}-"
    metadata.annotations[INDEX] = metadata.labels[INDEX] = str(index)
    if replaced is not None:
        counted, ignored = replaced
        metadata.annotations[FAILURES] = str(counted)
        if ignored:
            metadata.annotations[IGNORED] = str(ignored)
    spec: Any = pod.spec
    spec.hostname = f"{name}-{index}"
    source = EnvVarSource(fieldRef=ObjectFieldSelector(apiVersion="v1", fieldPath=f"metadata.labels['{INDEX}']"))
    for container in (*spec.initContainers, *spec.containers):
        if all(v.name != VARIABLE for v in container.env):
            container.env.append(EnvVar(name=VARIABLE, valueFrom=source))
    return pod
