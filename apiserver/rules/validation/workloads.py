"""Controllers of pods that run on: https://kubernetes.io/docs/concepts/workloads/controllers/"""

from typing import Any

from api import labels as label_selectors
from api import names
from api.paths import Path, forbidden, invalid, not_supported, required
from api.types import (
    ControllerRevision,
    DaemonSet,
    Deployment,
    DeploymentStrategy,
    LabelSelector,
    PodTemplateSpec,
    ReplicaSet,
    ReplicationController,
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
)  # fmt: skip
from apiserver.rules.validation import pods
from apiserver.rules.validation.metadata import labels
from apiserver.rules.validation.selectors import OPERATORS, is_empty, selector, selects
from apiserver.rules.validation.values import Faults, formed, immutable, nonnegative

SPEC = Path("spec")
SELECTOR = SPEC.child("selector")
TEMPLATE = SPEC.child("template")
MISMATCH = "`selector` does not match template `labels`"


def replication_controller(it: ReplicationController) -> Faults:
    spec = it.spec
    yield from nonnegative(SPEC.child("minReadySeconds"), spec.minReadySeconds)
    if not spec.selector:
        yield required(SELECTOR)
    # Upstream says only that such a selector matches nothing; the value at fault is named here as well.
    yield from labels(SELECTOR, spec.selector)
    yield from nonnegative(SPEC.child("replicas"), spec.replicas)
    if spec.template is None:
        yield required(TEMPLATE)
        return
    matches = label_selectors.from_map(spec.selector).matches(spec.template.metadata.labels)
    yield from _template(spec.template, "ReplicationController", matches=matches)


def replica_set(it: ReplicaSet) -> Faults:
    spec = it.spec
    yield from nonnegative(SPEC.child("replicas"), spec.replicas)
    yield from nonnegative(SPEC.child("minReadySeconds"), spec.minReadySeconds)
    yield from _selected_template(spec.selector, spec.template, "ReplicaSet", "replicaset")


def replica_set_updated(new: ReplicaSet, old: ReplicaSet) -> Faults:
    yield from replica_set(new)
    yield from immutable(SELECTOR, new.spec.selector, old.spec.selector)


def deployment(it: Deployment) -> Faults:
    spec = it.spec
    yield from nonnegative(SPEC.child("replicas"), spec.replicas)
    yield from _selected_template(spec.selector, spec.template, "ReplicaSet", "deployment")
    yield from _strategy(SPEC.child("strategy"), spec.strategy)
    yield from nonnegative(SPEC.child("minReadySeconds"), spec.minReadySeconds)
    yield from nonnegative(SPEC.child("revisionHistoryLimit"), spec.revisionHistoryLimit)
    deadline = spec.progressDeadlineSeconds
    if deadline is not None:
        at = SPEC.child("progressDeadlineSeconds")
        yield from nonnegative(at, deadline)
        if deadline <= (spec.minReadySeconds or 0):
            yield invalid(at, deadline, "must be greater than minReadySeconds")


def deployment_updated(new: Deployment, old: Deployment) -> Faults:
    yield from deployment(new)
    yield from immutable(SELECTOR, new.spec.selector, old.spec.selector)


def _selected_template(by: LabelSelector | None, template: PodTemplateSpec, said: str, kind: str) -> Faults:
    """`said` is the kind that upstream's message about the deadline names, whichever kind it is about."""
    matches = False
    if by is None:
        yield required(SELECTOR)
    else:
        faults = list(selector(SELECTOR, by))
        yield from faults
        if is_empty(by):
            yield invalid(SELECTOR, by, f"empty selector is invalid for {kind}")
        if any(e.operator not in OPERATORS for e in by.matchExpressions):
            yield invalid(SELECTOR, by, "invalid label selector")
        matches = selects(by, template.metadata.labels)
    yield from _template(template, said, matches=matches)


def _template(it: PodTemplateSpec, said: str, *, matches: bool) -> Faults:
    if not matches:
        yield invalid(TEMPLATE.child("metadata", "labels"), it.metadata.labels, MISMATCH)
    yield from pods.template(TEMPLATE, it)
    if it.spec.restartPolicy != "Always":
        yield not_supported(TEMPLATE.child("spec", "restartPolicy"), it.spec.restartPolicy, ("Always",))
    if it.spec.activeDeadlineSeconds is not None:
        at = TEMPLATE.child("spec", "activeDeadlineSeconds")
        yield forbidden(at, f"activeDeadlineSeconds in {said} is not Supported")


def _strategy(path: Path, it: DeploymentStrategy) -> Faults:
    rolling = it.rollingUpdate
    if it.type == "Recreate":
        if rolling is not None:
            yield forbidden(path.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'")
    elif it.type == "RollingUpdate":
        if rolling is None:
            yield required(path.child("rollingUpdate"), "this should be defaulted and never be nil")
            return
        yield from _pace(path.child("rollingUpdate"), rolling)
    else:
        # As Go prints the struct that upstream hands over.
        shown = {"Type": it.type, "RollingUpdate": rolling}
        yield not_supported(path, shown, ("Recreate", "RollingUpdate"))


def _pace(path: Path, it: Any) -> Faults:
    """maxUnavailable and maxSurge, of which one must let something happen."""
    for name in ("maxUnavailable", "maxSurge"):
        yield from amount_or_percent(path.child(name), getattr(it, name))
    if _number(it.maxUnavailable) == 0 and _number(it.maxSurge) == 0:
        yield invalid(path.child("maxUnavailable"), it.maxUnavailable, "may not be 0 when `maxSurge` is 0")
    yield from _at_most_all(path.child("maxUnavailable"), it.maxUnavailable)


def amount_or_percent(path: Path, value: int | str | None) -> Faults:
    if isinstance(value, str):
        yield from formed(path, value, names.percent_faults)
    else:
        yield from nonnegative(path, value)


def _number(value: int | str | None) -> int:
    if isinstance(value, str):
        digits = value.removesuffix("%")
        return int(digits) if value.endswith("%") and digits.isdecimal() else 0
    return value or 0


def _at_most_all(path: Path, value: int | str | None) -> Faults:
    if isinstance(value, str) and _number(value) > 100:
        yield invalid(path, value, "must not be greater than 100%")


def daemon_set(it: DaemonSet) -> Faults:
    spec = it.spec
    by = spec.selector
    yield from selector(SELECTOR, by)
    if by is None or not selects(by, spec.template.metadata.labels):
        yield invalid(TEMPLATE.child("metadata", "labels"), spec.template.metadata.labels, MISMATCH)
    if by is not None and is_empty(by):
        yield invalid(SELECTOR, by, "empty selector is invalid for daemonset")
    yield from pods.template(TEMPLATE, spec.template)
    if spec.template.spec.restartPolicy != "Always":
        supported = ("Always",)
        yield not_supported(TEMPLATE.child("spec", "restartPolicy"), spec.template.spec.restartPolicy, supported)
    if spec.template.spec.activeDeadlineSeconds is not None:
        at = TEMPLATE.child("spec", "activeDeadlineSeconds")
        yield forbidden(at, "activeDeadlineSeconds in DaemonSet is not Supported")
    yield from nonnegative(SPEC.child("minReadySeconds"), spec.minReadySeconds)
    yield from _daemon_strategy(SPEC.child("updateStrategy"), spec.updateStrategy)
    yield from nonnegative(SPEC.child("revisionHistoryLimit"), spec.revisionHistoryLimit)


def _daemon_strategy(path: Path, it: Any) -> Faults:
    if it.type == "OnDelete":
        return
    if it.type != "RollingUpdate":
        yield not_supported(path, {"Type": it.type, "RollingUpdate": it.rollingUpdate}, ("OnDelete", "RollingUpdate"))
    elif it.rollingUpdate is None:
        yield required(path.child("rollingUpdate"))
    else:
        rolling, at = it.rollingUpdate, path.child("rollingUpdate")
        for name in ("maxUnavailable", "maxSurge"):
            yield from amount_or_percent(at.child(name), getattr(rolling, name))
            yield from _at_most_all(at.child(name), getattr(rolling, name))
        if not _number(rolling.maxUnavailable) and not _number(rolling.maxSurge):
            yield required(at.child("maxUnavailable"), "cannot be 0 when maxSurge is 0")
        if _number(rolling.maxUnavailable) and _number(rolling.maxSurge):
            yield invalid(at.child("maxSurge"), rolling.maxSurge, "may not be set when maxUnavailable is non-zero")


def daemon_set_updated(new: DaemonSet, old: DaemonSet) -> Faults:
    yield from daemon_set(new)
    yield from immutable(SELECTOR, new.spec.selector, old.spec.selector)


def stateful_set(it: StatefulSet) -> Faults:
    spec = it.spec
    policies = ("OrderedReady", "Parallel")
    if not spec.podManagementPolicy:
        yield required(SPEC.child("podManagementPolicy"))
    elif spec.podManagementPolicy not in policies:
        why = "must be 'OrderedReady' or 'Parallel'"
        yield invalid(SPEC.child("podManagementPolicy"), spec.podManagementPolicy, why)
    strategy = spec.updateStrategy
    if strategy.type not in ("OnDelete", "RollingUpdate"):
        why = "must be 'RollingUpdate' or 'OnDelete'"
        yield invalid(SPEC.child("updateStrategy"), {"Type": strategy.type, "RollingUpdate": None}, why)
    elif strategy.type == "OnDelete" and strategy.rollingUpdate is not None:
        why = "only allowed for updateStrategy 'RollingUpdate'"
        yield invalid(SPEC.child("updateStrategy", "rollingUpdate"), strategy.rollingUpdate, why)
    elif strategy.rollingUpdate is not None:
        yield from _ordinal_pace(SPEC.child("updateStrategy", "rollingUpdate"), strategy.rollingUpdate)
    if spec.persistentVolumeClaimRetentionPolicy is not None:
        at = SPEC.child("persistentVolumeClaimRetentionPolicy")
        for name in ("whenDeleted", "whenScaled"):
            value = getattr(spec.persistentVolumeClaimRetentionPolicy, name)
            if value not in ("Retain", "Delete"):
                yield not_supported(at.child(name), value, ("Retain", "Delete"))
    yield from nonnegative(SPEC.child("replicas"), spec.replicas)
    yield from nonnegative(SPEC.child("minReadySeconds"), spec.minReadySeconds)
    if spec.ordinals is not None:
        yield from nonnegative(SPEC.child("ordinals", "start"), spec.ordinals.start)
    yield from _stateful_template(it)
    if spec.template.spec.restartPolicy != "Always":
        supported = ("Always",)
        yield not_supported(TEMPLATE.child("spec", "restartPolicy"), spec.template.spec.restartPolicy, supported)
    if spec.template.spec.activeDeadlineSeconds is not None:
        at = TEMPLATE.child("spec", "activeDeadlineSeconds")
        yield forbidden(at, "activeDeadlineSeconds in StatefulSet is not Supported")
    if spec.serviceName:
        yield from formed(SPEC.child("serviceName"), spec.serviceName, names.dns_subdomain_faults)


def _ordinal_pace(path: Path, it: RollingUpdateStatefulSetStrategy) -> Faults:
    yield from nonnegative(path.child("partition"), it.partition)
    if it.maxUnavailable is not None:
        at = path.child("maxUnavailable")
        yield from amount_or_percent(at, it.maxUnavailable)
        if _number(it.maxUnavailable) == 0:
            yield invalid(at, it.maxUnavailable, "cannot be 0")
        yield from _at_most_all(at, it.maxUnavailable)


def _stateful_template(it: StatefulSet) -> Faults:
    by, template = it.spec.selector, it.spec.template
    if by is None:
        yield required(SELECTOR)
        return
    yield from selector(SELECTOR, by)
    if is_empty(by):
        yield invalid(SELECTOR, by, "empty selector is invalid for statefulset")
    elif not selects(by, template.metadata.labels):
        yield invalid(TEMPLATE.child("metadata", "labels"), template.metadata.labels, MISMATCH)
    # Volumes come from the claim templates as well, which only a pod of the set shows.
    made = {claim.metadata.name for claim in it.spec.volumeClaimTemplates}
    for fault in pods.template(TEMPLATE, template):
        if not (fault.reason == "FieldValueNotFound" and any(f'"{name}"' in fault.message for name in made)):
            yield fault


STATEFUL_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def stateful_set_updated(new: StatefulSet, old: StatefulSet) -> Faults:
    yield from stateful_set(new)
    fixed = [n for n in new.spec.__struct_fields__ if n not in STATEFUL_MUTABLE]
    if any(getattr(new.spec, n) != getattr(old.spec, n) for n in fixed):
        allowed = ", ".join(f"'{name}'" for name in STATEFUL_MUTABLE[:-1])
        why = f"updates to statefulset spec for fields other than {allowed} and 'minReadySeconds' are forbidden"
        yield forbidden(SPEC, why)


def revision(it: ControllerRevision) -> Faults:
    if it.data is None:
        yield required(Path("data"), "data is mandatory")
    yield from nonnegative(Path("revision"), it.revision)


def revision_updated(new: ControllerRevision, old: ControllerRevision) -> Faults:
    yield from revision(new)
    yield from immutable(Path("data"), new.data, old.data)


def status_updated(new: Any, old: Any) -> Faults:
    """Numbers of replicas: none negative, none beyond the whole."""
    at, status = Path("status"), new.status
    counted = [n for n in ("fullyLabeledReplicas", "readyReplicas", "availableReplicas") if hasattr(status, n)]
    for name in ("replicas", *counted, "observedGeneration"):
        yield from nonnegative(at.child(name), getattr(status, name))
    for name in counted:
        if getattr(status, name) > status.replicas:
            yield invalid(at.child(name), getattr(status, name), "cannot be greater than status.replicas")
    if status.availableReplicas > status.readyReplicas:
        yield invalid(at.child("availableReplicas"), status.availableReplicas, "cannot be greater than readyReplicas")
