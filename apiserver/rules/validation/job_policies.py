"""What a job's author says about failures and successes.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
"""

from api.paths import Path, invalid, not_supported, required, too_long, too_many
from api.types import JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule
from apiserver.rules.validation import indexes
from apiserver.rules.validation.values import Faults, nonnegative, one_of, optional

ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
BOTH = "specifying both OnExitCodes and OnPodConditions is not supported"
MOST_RULES = 20
MOST_INDEXES = 64 * 1024
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
    if len(it.successPolicy.rules) > MOST_RULES:
        yield too_many(path.child("rules"), len(it.successPolicy.rules), MOST_RULES)
    completions = it.completions or 0
    for i, rule in enumerate(it.successPolicy.rules):
        at = path.child("rules").index(i)
        listed: list[tuple[int, int]] = []
        if not rule.succeededIndexes and rule.succeededCount is None:
            yield required(at, "at least one of succeededCount or succeededIndexes must be specified")
        if len(rule.succeededIndexes) > MOST_INDEXES:
            yield too_long(at.child("succeededIndexes"), MOST_INDEXES)
        try:
            listed = indexes.parse(rule.succeededIndexes, completions)
        except ValueError as e:
            yield invalid(at.child("succeededIndexes"), rule.succeededIndexes, f"error parsing succeededIndexes: {e}")
        enough = rule.succeededCount
        if enough is None:
            continue
        yield from nonnegative(at.child("succeededCount"), enough)
        if enough > completions:
            why = f"must be less than or equal to {completions} (the number of specified completions)"
            yield invalid(at.child("succeededCount"), enough, why)
        if rule.succeededIndexes and enough > (total := indexes.count(listed)):
            of = "the number of indexes in the specified succeededIndexes field"
            yield invalid(at.child("succeededCount"), enough, f"must be less than or equal to {total} ({of})")
