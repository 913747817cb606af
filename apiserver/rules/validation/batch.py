"""Jobs and CronJobs: https://kubernetes.io/docs/concepts/workloads/controllers/job/"""

import zoneinfo

from api import meta, schedules
from api.paths import Path, invalid, not_supported, required
from api.types import Affinity, CronJob, Job, JobSpec, PodTemplateSpec
from apiserver.rules.validation import job_policies, pods
from apiserver.rules.validation.selectors import is_empty, selector, selects
from apiserver.rules.validation.values import Faults, immutable, nonnegative, one_of, optional
from apiserver.rules.validation.workloads import MISMATCH

SPEC = Path("spec")
NUMBERS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
MODES = {"NonIndexed", "Indexed"}
MOST_INDEXED = 100_000
# The job controller adds the random part of a pod's name, 11 characters, to the job's.
LONGEST_CRON_NAME = 52


def job(it: Job) -> Faults:
    yield from _spec(SPEC, it.spec)
    by, labels = it.spec.selector, it.spec.template.metadata.labels
    if by is None:
        yield required(SPEC.child("selector"))
    else:
        yield from selector(SPEC.child("selector"), by)
        if not is_empty(by) and not selects(by, labels):
            yield invalid(SPEC.child("template", "metadata", "labels"), labels, MISMATCH)


def _spec(path: Path, it: JobSpec) -> Faults:
    for name in NUMBERS:
        yield from nonnegative(path.child(name), getattr(it, name))
    yield from optional(path.child("completionMode"), it.completionMode, MODES)
    if it.completionMode == "Indexed":
        if it.completions is None:
            yield required(path.child("completions"), "when completion mode is Indexed")
        if (it.parallelism or 0) > MOST_INDEXED:
            why = f"must be less than or equal to {MOST_INDEXED} when completion mode is Indexed"
            yield invalid(path.child("parallelism"), it.parallelism, why)
    elif it.backoffLimitPerIndex is not None:
        yield invalid(path.child("backoffLimitPerIndex"), it.backoffLimitPerIndex, "requires indexed completion mode")
    yield from job_policies.rules(path, it)
    at = path.child("template")
    yield from pods.template(at, it.template)
    policy = it.template.spec.restartPolicy
    if policy == "Always":
        yield not_supported(at.child("spec", "restartPolicy"), policy, ("OnFailure", "Never"))
    elif it.podFailurePolicy is not None and policy != "Never":
        why = 'only "Never" is supported when podFailurePolicy is specified'
        yield invalid(at.child("spec", "restartPolicy"), policy, why)


def job_updated(new: Job, old: Job) -> Faults:
    yield from job(new)
    for name in (
        "completions",
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ):
        if name == "completions" and new.spec.completionMode == "Indexed":
            if new.spec.completions != old.spec.completions and new.spec.completions != new.spec.parallelism:
                yield invalid(SPEC.child(name), new.spec.completions, "can only be modified in tandem with parallelism")
            continue
        yield from immutable(SPEC.child(name), getattr(new.spec, name), getattr(old.spec, name))
    template = old.spec.template
    if _stands_still(old):
        template = _with_scheduling_of(new.spec.template, template)
    yield from immutable(SPEC.child("template"), new.spec.template, template)


def _stands_still(it: Job) -> bool:
    """Suspended, and either never started or with no pod left."""
    stopped = meta.is_true(it, "Suspended") and not it.status.active
    return bool(it.spec.suspend) and (not it.status.startTime or stopped)


def _with_scheduling_of(new: PodTemplateSpec, old: PodTemplateSpec) -> PodTemplateSpec:
    """The old template with what may be changed while a job stands still: where its pods may run, and what they need.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#mutable-scheduling-directives
    """
    found = meta.clone(old)
    found.metadata.labels, found.metadata.annotations = new.metadata.labels, new.metadata.annotations
    for name in ("nodeSelector", "tolerations", "schedulingGates"):
        setattr(found.spec, name, getattr(new.spec, name))
    found.spec.affinity = _with_nodes_of(new.spec.affinity, found.spec.affinity)
    for kind in ("containers", "initContainers"):
        for mine, its in zip(getattr(found.spec, kind), getattr(new.spec, kind), strict=False):
            mine.resources = its.resources
    return found


def _with_nodes_of(new: Affinity | None, old: Affinity | None) -> Affinity | None:
    """Of affinities only that to nodes may be changed."""
    found = meta.clone(old) if old is not None else Affinity()
    found.nodeAffinity = new.nodeAffinity if new is not None else None
    return None if new is None and found == Affinity() else found


def cron_job(it: CronJob) -> Faults:
    spec = it.spec
    if len(it.metadata.name) > LONGEST_CRON_NAME:
        why = f"must be no more than {LONGEST_CRON_NAME} characters"
        yield invalid(Path("metadata").child("name"), it.metadata.name, why)
    if not spec.schedule:
        yield required(SPEC.child("schedule"))
    else:
        yield from _schedule(SPEC.child("schedule"), spec.schedule, has_zone=bool(spec.timeZone))
    yield from nonnegative(SPEC.child("startingDeadlineSeconds"), spec.startingDeadlineSeconds)
    if spec.timeZone == "":
        yield invalid(SPEC.child("timeZone"), "", "timeZone must be nil or non-empty string")
    elif spec.timeZone is not None and spec.timeZone not in zoneinfo.available_timezones():
        yield invalid(SPEC.child("timeZone"), spec.timeZone, f"unknown time zone {spec.timeZone}")
    yield from one_of(SPEC.child("concurrencyPolicy"), spec.concurrencyPolicy, {"Allow", "Forbid", "Replace"})
    for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from nonnegative(SPEC.child(name), getattr(spec, name))
    if spec.jobTemplate is None:
        yield required(SPEC.child("jobTemplate"))
        return
    at = SPEC.child("jobTemplate", "spec")
    if spec.jobTemplate.spec.manualSelector:
        yield not_supported(at.child("manualSelector"), "true", ("nil", "false"))
    yield from _spec(at, spec.jobTemplate.spec)


def _schedule(path: Path, text: str, *, has_zone: bool) -> Faults:
    if "TZ" in text:
        why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        if has_zone:
            why = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        yield invalid(path, text, why)
        return
    try:
        schedules.parse(text)
    except ValueError as e:
        yield invalid(path, text, str(e))
