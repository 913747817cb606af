"""What a job's author says about failures and successes. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy
https://kubernetes.io/docs/concepts/workloads/controllers/job/#success-policy
"""

from typing import NamedTuple

from api.types import (
    ContainerStatus,
    Job,
    Pod,
    PodCondition,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
)
from controller_manager import indexes


class Judgement(NamedTuple):
    """What the first rule that matches a failed pod says."""

    action: str
    """"" if no rule matches."""
    message: str = ""

    @property
    def counts(self) -> bool:
        return self.action != "Ignore"


def judge(job: Job, pod: Pod) -> Judgement:
    """Of a failed pod."""
    policy = job.spec.podFailurePolicy
    where = f"{pod.metadata.namespace}/{pod.metadata.name}"
    for at, rule in enumerate(policy.rules if policy is not None else ()):
        said = ""
        if rule.onExitCodes is not None:
            exited = _exited(pod, rule.onExitCodes)
            if exited is not None:
                said = f"Container {exited[0]} for pod {where} failed with exit code {exited[1]}"
        elif (condition := _condition(pod, rule)) is not None:
            said = f"Pod {where} has condition {condition.type}"
        if said:
            return Judgement(rule.action, f"{said} matching {rule.action} rule at index {at}")
    return Judgement("")


def _exited(pod: Pod, wanted: PodFailurePolicyOnExitCodesRequirement) -> tuple[str, int] | None:
    """The first container, and its code, that ended as the rule says. Ending well never matches."""
    for status in (*pod.status.containerStatuses, *pod.status.initContainerStatuses):
        code = _exit_code(status)
        if code and wanted.containerName in ("", status.name) and (code in wanted.values) == (wanted.operator == "In"):
            return status.name, code
    return None


def _exit_code(status: ContainerStatus) -> int:
    ended = status.state.terminated if status.state is not None else None
    return ended.exitCode or 0 if ended is not None else 0


def _condition(pod: Pod, rule: PodFailurePolicyRule) -> PodCondition | None:
    wanted = {(pattern.type, pattern.status) for pattern in rule.onPodConditions}
    return next((c for c in pod.status.conditions if (c.type, c.status) in wanted), None)


def succeeded_early(job: Job, completed: set[int]) -> str:
    """Why the success policy says that the job has succeeded; "" if it does not say so."""
    rules = job.spec.successPolicy.rules if job.spec.successPolicy is not None else ()
    for at, rule in enumerate(rules):
        of, enough = completed, rule.succeededCount
        if rule.succeededIndexes:
            listed = indexes.parse(rule.succeededIndexes, job.spec.completions or 0)
            of = completed & listed
            enough = len(listed) if enough is None else enough
        if enough is not None and len(of) >= enough:
            return f"Matched rules at index {at}"
    return ""
