"""A node that goes down: https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/"""

import os
import signal
from typing import Any

from api import meta
from api.types import Node, Pod

MESSAGE = "Pod was terminated in response to imminent node shutdown."


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


async def test_pods_are_ended_the_critical_ones_last_and_no_other_is_begun(lab: Any, pods: Any) -> None:
    critical = {"priorityClassName": "system-node-critical"}
    flags = ("--shutdown-grace-period", "20", "--shutdown-grace-period-critical-pods", "10")
    async with lab.kubelet(*flags):
        await lab.create(pods("web"))
        await lab.create(pods("dns", **critical))
        await lab.until("dns", ready)
        await lab.until("web", ready)
        os.kill(os.getpid(), signal.SIGPWR)
        web = await lab.until("web", lambda pod: pod.status.phase in ("Failed", "Succeeded"))
        dns = await lab.until("dns", lambda pod: not ready(pod) and pod.status.containerStatuses[0].state.terminated)
        for pod in (web, dns):
            assert (pod.status.phase, pod.status.reason, pod.status.message) == ("Failed", "Terminated", MESSAGE)
            condition = meta.condition(pod, "DisruptionTarget")
            assert (condition.status, condition.reason, condition.message) == ("True", "TerminationByKubelet", MESSAGE)
        ends = [pod.status.containerStatuses[0].state.terminated.finishedAt for pod in (web, dns)]
        assert ends == sorted(ends)
        node = await lab.client.get(Node, "node1")
        condition = meta.condition(node, "Ready")
        assert (condition.status, condition.reason, condition.message) == (
            "False", "KubeletNotReady", "node is shutting down",
        )  # fmt: skip
        await lab.create(pods("late"))
        late = await lab.until("late", lambda pod: pod.status.phase == "Failed")
        assert late.status.reason == "NodeShutdown"
        assert late.status.message == "Pod was rejected: Pod was rejected as the node is shutting down."
        made = [c for c in lab.containers() if c["Labels"]["io.kubernetes.container.name"] != "POD"]
        assert {(c["Labels"]["io.kubernetes.pod.name"], c["State"]) for c in made} == {
            ("web", "exited"),
            ("dns", "exited"),
        }
