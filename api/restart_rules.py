"""What follows the end of a container: its own rules, its own policy, its pod's.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-restart-rules
"""

from api.types import Container, ContainerRestartRule, Pod

RESTART, RESTART_ALL = "Restart", "RestartAllContainers"


def follows(pod: Pod, container: Container, code: int) -> bool:
    """Whether another instance follows one that exited so."""
    rule = rule_for(container, code)
    if rule is not None and rule.action == RESTART:
        return True
    match policy(pod, container):
        case "Never":
            return False
        case "OnFailure":
            return code != 0
        case _:
            return True


def policy(pod: Pod, container: Container) -> str:
    return container.restartPolicy or pod.spec.restartPolicy


def rule_for(container: Container, code: int) -> ContainerRestartRule | None:
    """The first one that speaks of this exit code."""
    if not container.restartPolicy:
        return None
    return next((rule for rule in container.restartPolicyRules if _applies(rule, code)), None)


def may_restart_all(pod: Pod) -> bool:
    return any(rule.action == RESTART_ALL for c in ruled(pod) for rule in c.restartPolicyRules)


def ruled(pod: Pod) -> list[Container]:
    return [c for c in (*pod.spec.initContainers, *pod.spec.containers) if c.restartPolicyRules]


def _applies(rule: ContainerRestartRule, code: int) -> bool:
    codes = rule.exitCodes
    return codes is not None and (code in codes.values) == (codes.operator == "In")
