"""Tables of what makes pods."""

from typing import Any

from api import meta, quantities, times
from api.types import (
    ControllerRevision,
    CronJob,
    DaemonSet,
    Deployment,
    HorizontalPodAutoscaler,
    Job,
    PodDisruptionBudget,
    ReplicaSet,
    ReplicationController,
    Scale,
    StatefulSet,
)
from apiserver.rest.tables.columns import (
    Printer,
    age,
    columns,
    containers,
    duration,
    first,
    flag,
    label_map,
    selector,
    since,
)


def _deployment(obj: Deployment, now: float) -> list[Any]:
    status = obj.status
    return [
        obj.metadata.name, f"{status.readyReplicas}/{obj.spec.replicas or 0}", status.updatedReplicas,
        status.availableReplicas, age(obj, now), *containers(obj.spec.template), selector(obj.spec.selector),
    ]  # fmt: skip


def _replica_set(obj: ReplicaSet, now: float) -> list[Any]:
    return [*_replicas(obj, now), selector(obj.spec.selector)]


def _replication_controller(obj: ReplicationController, now: float) -> list[Any]:
    return [*_replicas(obj, now), label_map(obj.spec.selector)]


def _replicas(obj: Any, now: float) -> list[Any]:
    status = obj.status
    return [
        obj.metadata.name, obj.spec.replicas or 0, status.replicas or 0, status.readyReplicas or 0, age(obj, now),
        *containers(obj.spec.template),
    ]  # fmt: skip


def _stateful_set(obj: StatefulSet, now: float) -> list[Any]:
    ready = f"{obj.status.readyReplicas}/{obj.spec.replicas or 0}"
    return [obj.metadata.name, ready, age(obj, now), *containers(obj.spec.template)]


def _daemon_set(obj: DaemonSet, now: float) -> list[Any]:
    status, template = obj.status, obj.spec.template
    return [
        obj.metadata.name, status.desiredNumberScheduled or 0, status.currentNumberScheduled or 0,
        status.numberReady or 0, status.updatedNumberScheduled or 0, status.numberAvailable or 0,
        label_map(template.spec.nodeSelector), age(obj, now), *containers(template), selector(obj.spec.selector),
    ]  # fmt: skip


def _job(obj: Job, now: float) -> list[Any]:
    return [
        obj.metadata.name, _job_state(obj), _completions(obj), _job_duration(obj, now), age(obj, now),
        *containers(obj.spec.template), selector(obj.spec.selector),
    ]  # fmt: skip


def _job_state(obj: Job) -> str:
    if meta.is_true(obj, "Complete"):
        return "Complete"
    if meta.is_true(obj, "Failed"):
        return "Failed"
    if obj.metadata.deletionTimestamp:
        return "Terminating"
    for type_ in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if meta.is_true(obj, type_):
            return type_
    return "Running"


def _completions(obj: Job) -> str:
    done = obj.status.succeeded or 0
    if obj.spec.completions is not None:
        return f"{done}/{obj.spec.completions}"
    parallelism = obj.spec.parallelism or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _job_duration(obj: Job, now: float) -> str:
    if not obj.status.startTime:
        return ""
    end = times.parse(obj.status.completionTime) if obj.status.completionTime else now
    return duration(end - times.parse(obj.status.startTime))


def _cron_job(obj: CronJob, now: float) -> list[Any]:
    spec, status = obj.spec, obj.status
    job = spec.jobTemplate.spec if spec.jobTemplate is not None else None
    return [
        obj.metadata.name, spec.schedule or "", spec.timeZone or "<none>", flag(spec.suspend), len(status.active),
        since(status.lastScheduleTime, now) if status.lastScheduleTime else "<none>", age(obj, now),
        *containers(job.template if job else None), selector(job.selector if job else None),
    ]  # fmt: skip


def _controller_revision(obj: ControllerRevision, now: float) -> list[Any]:
    owner = meta.controller_of(obj)
    name = "<none>"
    if owner is not None:
        group = owner.apiVersion.rpartition("/")[0]
        name = f"{owner.kind.lower()}{'.' + group if group else ''}/{owner.name}"
    return [obj.metadata.name, name, obj.revision, age(obj, now)]


def _disruption_budget(obj: PodDisruptionBudget, now: float) -> list[Any]:
    spec = obj.spec
    return [
        obj.metadata.name,
        "N/A" if spec.minAvailable is None else str(spec.minAvailable),
        "N/A" if spec.maxUnavailable is None else str(spec.maxUnavailable),
        obj.status.disruptionsAllowed or 0, age(obj, now),
    ]  # fmt: skip


def _autoscaler(obj: HorizontalPodAutoscaler, now: float) -> list[Any]:
    spec, target = obj.spec, obj.spec.scaleTargetRef
    return [
        obj.metadata.name, f"{target.kind}/{target.name}" if target else "", _metrics(obj),
        "<unset>" if spec.minReplicas is None else str(spec.minReplicas), spec.maxReplicas,
        obj.status.currentReplicas or 0, age(obj, now),
    ]  # fmt: skip


def _metrics(obj: HorizontalPodAutoscaler) -> str:
    found = []
    for at, spec in enumerate(obj.spec.metrics):
        field = (spec.type or "")[:1].lower() + (spec.type or "")[1:]
        wanted = getattr(spec, field, None)
        status = obj.status.currentMetrics[at] if at < len(obj.status.currentMetrics) else None
        current = getattr(getattr(status, field, None), "current", None)
        if wanted is not None:
            name = f"{wanted.name}: " if field in ("resource", "containerResource") else ""
            found.append(name + _ratio(wanted.target, current, field))
    return first(found, 2, ", ") or "<none>"


def _ratio(target: Any, current: Any, field: str) -> str:
    if target.averageUtilization is not None:
        now = getattr(current, "averageUtilization", None)
        return f"{'<unknown>' if now is None else f'{now}%'}/{target.averageUtilization}%"
    name = "averageValue" if target.averageValue is not None else "value"
    now = getattr(current, name, None)
    shown = "<unknown>" if now is None else quantities.canonical(now)
    average = " (avg)" if name == "averageValue" and field in ("object", "external") else ""
    return f"{shown}/{quantities.canonical(getattr(target, name) or 0)}{average}"


def _old_autoscaler(obj: Any, now: float) -> list[Any]:
    spec, target = obj.spec, obj.spec.scaleTargetRef
    wanted, is_ = spec.targetCPUUtilizationPercentage, obj.status.currentCPUUtilizationPercentage
    metrics = "<none>" if wanted is None else f"cpu: {f'{is_}%' if is_ else '<unknown>'}/{wanted}%"
    return [
        obj.metadata.name, f"{target.kind}/{target.name}" if target else "", metrics,
        "<unset>" if spec.minReplicas is None else str(spec.minReplicas), spec.maxReplicas,
        obj.status.currentReplicas or 0, age(obj, now),
    ]  # fmt: skip


def _scale(obj: Scale, now: float) -> list[Any]:
    return [obj.metadata.name, obj.spec.replicas or 0, obj.status.replicas or 0, age(obj, now)]


_REPLICAS = columns("Name Desired:integer Current:integer Ready:integer Age Containers* Images* Selector*")
_AUTOSCALER = columns("Name Reference Targets MinPods MaxPods Replicas Age")

PRINTERS = {
    ("apps/v1", "Deployment"): Printer(
        "Deployment", columns("Name Ready Up-to-date Available Age Containers* Images* Selector*"), _deployment
    ),
    ("apps/v1", "ReplicaSet"): Printer("ReplicaSet", _REPLICAS, _replica_set),
    ("v1", "ReplicationController"): Printer("ReplicationController", _REPLICAS, _replication_controller),
    ("apps/v1", "StatefulSet"): Printer("StatefulSet", columns("Name Ready Age Containers* Images*"), _stateful_set),
    ("apps/v1", "DaemonSet"): Printer(
        "DaemonSet",
        columns(
            "Name Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer Node_Selector Age "
            "Containers* Images* Selector*"
        ),
        _daemon_set,
    ),
    ("apps/v1", "ControllerRevision"): Printer(
        "ControllerRevision", columns("Name Controller Revision Age"), _controller_revision
    ),
    ("batch/v1", "Job"): Printer(
        "Job", columns("Name Status Completions Duration Age Containers* Images* Selector*"), _job
    ),
    ("batch/v1", "CronJob"): Printer(
        "CronJob",
        columns(
            "Name Schedule Timezone Suspend:boolean Active:integer Last_Schedule Age Containers* Images* Selector*"
        ),
        _cron_job,
    ),
    ("policy/v1", "PodDisruptionBudget"): Printer(
        "PodDisruptionBudget",
        columns("Name Min_Available Max_Unavailable Allowed_Disruptions:integer Age"),
        _disruption_budget,
    ),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): Printer("HorizontalPodAutoscaler", _AUTOSCALER, _autoscaler),
    ("autoscaling/v1", "HorizontalPodAutoscaler"): Printer(
        "AutoscalingV1HorizontalPodAutoscaler", _AUTOSCALER, _old_autoscaler
    ),
    ("autoscaling/v1", "Scale"): Printer("Scale", columns("Name Desired:integer Available:integer Age"), _scale),
}
