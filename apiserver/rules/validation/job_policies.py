"""What a job's author says about failures and successes.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
"""

import re

from api.paths import Path, invalid, not_supported, required
from api.types import JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule
from apiserver.rules.validation.values import Faults, nonnegative, one_of, optional

ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
BOTH = "specifying both OnExitCodes and OnPodConditions is not supported"
NEITHER = "specifying one of OnExitCodes and OnPodConditions is required"


def rules(path: Path, it: JobSpec) -> Faults:
    policies = ("Failed", "TerminatingOrFailed")
    replacement = it.podReplacementPolicy
    yield from optional(path.child("podReplacementPolicy"), replacement, policies)
    if it.podFailurePolicy is not None and replacement == "TerminatingOrFailed":
        yield not_supported(path.child("podReplacementPolicy"), replacement, ("Failed",))
    if it.maxFailedIndexes is not None:
        if it.backoffLimitPerIndex is None:
            yield required(path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified")
        if it.completions is not None and it.maxFailedIndexes > it.completions:
            why = "must be less than or equal to completions"
            yield invalid(path.child("maxFailedIndexes"), it.maxFailedIndexes, why)
    for i, rule in enumerate(it.podFailurePolicy.rules if it.podFailurePolicy is not None else ()):
        yield from _on_failure(path.child("podFailurePolicy", "rules").index(i), rule, it)
    if it.successPolicy is not None:
        yield from _on_success(path.child("successPolicy"), it)


def _on_failure(path: Path, rule: PodFailurePolicyRule, it: JobSpec) -> Faults:
    yield from one_of(path.child("action"), rule.action, ACTIONS)
    if rule.action == "FailIndex" and it.backoffLimitPerIndex is None:
        yield invalid(path.child("action"), rule.action, "requires the backoffLimitPerIndex to be set")
    if rule.onExitCodes is not None:
        yield from _exit_codes(path.child("onExitCodes"), rule.onExitCodes, it)
    for i, pattern in enumerate(rule.onPodConditions):
        at = path.child("onPodConditions").index(i)
        if not pattern.type:
            yield required(at.child("type"))
        yield from one_of(at.child("status"), pattern.status, ("False", "True", "Unknown"))
    if rule.onExitCodes is not None and rule.onPodConditions:
        yield invalid(path, "", BOTH)
    elif rule.onExitCodes is None and not rule.onPodConditions:
        yield invalid(path, "", NEITHER)


def _exit_codes(path: Path, wanted: PodFailurePolicyOnExitCodesRequirement, it: JobSpec) -> Faults:
    yield from one_of(path.child("operator"), wanted.operator, ("In", "NotIn"))
    spec = it.template.spec
    names = {c.name for c in (*spec.initContainers, *spec.containers)}
    if wanted.containerName and wanted.containerName not in names:
        why = "must be one of the container or initContainer names in the pod template"
        yield invalid(path.child("containerName"), wanted.containerName, why)
    if not wanted.values:
        yield invalid(path.child("values"), wanted.values, "at least one value is required")
    for i, value in enumerate(wanted.values):
        if value == 0 and wanted.operator == "In":
            yield invalid(path.child("values").index(i), value, "must not be 0 for the In operator")


def _on_success(path: Path, it: JobSpec) -> Faults:
    assert it.successPolicy is not None  # the caller looked
    if it.completionMode != "Indexed":
        yield invalid(path, "", "requires indexed completion mode")
    if not it.successPolicy.rules:
        why = "at least one rules must be specified when the successPolicy is specified"
        yield required(path.child("rules"), why)
    for i, rule in enumerate(it.successPolicy.rules):
        at = path.child("rules").index(i)
        if not rule.succeededIndexes and rule.succeededCount is None:
            yield required(at, "at least one of succeededCount or succeededIndexes must be specified")
        yield from nonnegative(at.child("succeededCount"), rule.succeededCount)
        if rule.succeededIndexes and not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", rule.succeededIndexes):
            why = (
                f'error parsing succeededIndexes: cannot convert string to integer for index: "{rule.succeededIndexes}"'
            )
            yield invalid(at.child("succeededIndexes"), rule.succeededIndexes, why)
