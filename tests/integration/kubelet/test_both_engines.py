"""What pods do, whatever engine they run on: one suite over the real one and the simulated one, so that what is tried out
on simulated nodes is true of real ones.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api import meta
from api.types import ExecAction, Pod, Probe
from kubelet.runtime.simulated import Engine
from proto import node_pb2 as pb

ABSENT = "127.0.0.1:1/absent:1"  # nobody listens at that registry


@pytest.fixture(params=["docker", "simulated"])
async def node(request: pytest.FixtureRequest, lab: Any) -> AsyncIterator[Any]:
    if request.param == "simulated":
        lab.simulated = Engine(latency=(0.01, 0.05), missing={ABSENT})
    yield lab
    for program in lab.simulated.programs.values() if lab.simulated is not None else ():
        program.cancel()


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


def waiting(pod: Pod, index: int = 0) -> str:
    statuses = pod.status.containerStatuses
    state = statuses[index].state.waiting if len(statuses) > index else None
    return state.reason if state is not None else ""


def shell(containers: Any, command: str, name: str = "main", **fields: Any) -> Any:
    return containers(name, ["sh", "-c", command], **fields)


async def test_pods_run_are_adopted_and_leave_nothing_behind(node: Any, pods: Any, containers: Any) -> None:
    async with node.kubelet(), node.node() as stub:
        await node.create(pods("web", containers(), shell(containers, "echo hello; sleep 1000", "talker")))
        before = await node.until("web", ready)
        assert (before.status.phase, before.status.podIP, before.status.qosClass) == (
            "Running",
            "10.244.1.2",
            "BestEffort",
        )
        kinds = [c.type for c in before.status.conditions]
        assert kinds == ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        talker = pb.Container(namespace="default", pod="web", container="talker")
        logs = stub.Logs(pb.LogsRequest(container=talker))
        assert b"".join([chunk.data async for chunk in logs]) == b"hello\n"
    async with node.kubelet():
        await node.create(pods("second"))
        await node.until("second", ready)
        after = await node.client.get(Pod, "web", "default")
        assert after.status.containerStatuses == before.status.containerStatuses
        for name in ("web", "second"):
            await node.client.delete(Pod, name, "default", grace_seconds=1)
            await node.until_gone(name)
        assert node.containers() == []
        assert list((node.root / "pods").iterdir()) == []


async def test_how_programs_end_is_told_and_decides_what_follows(node: Any, pods: Any, containers: Any) -> None:
    async with node.kubelet():
        await node.create(pods("done", shell(containers, "exit 0"), restartPolicy="Never"))
        await node.create(pods("failed", shell(containers, "exit 3"), restartPolicy="Never"))
        await node.create(pods("again", shell(containers, "exit 4")))
        await node.create(
            pods("init", initContainers=[shell(containers, "exit 0", "one"), shell(containers, "exit 5", "two")])
        )
        await node.create(pods("absent", containers(command=["/no/such/program"]), restartPolicy="Never"))
        done = await node.until("done", lambda pod: pod.status.phase == "Succeeded")
        assert done.status.containerStatuses[0].state.terminated.reason == "Completed"
        failed = await node.until("failed", lambda pod: pod.status.phase == "Failed")
        ended = failed.status.containerStatuses[0].state.terminated
        assert (ended.reason, ended.exitCode) == ("Error", 3)
        again = await node.until("again", lambda pod: waiting(pod) == "CrashLoopBackOff")
        (status,) = again.status.containerStatuses
        assert status.state.waiting.message == (
            f"back-off 10s restarting failed container=main pod=again_default({again.metadata.uid})"
        )
        assert (status.restartCount, status.lastState.terminated.exitCode) == (1, 4)
        init = await node.until(
            "init",
            lambda pod: (
                len(pod.status.initContainerStatuses) == 2 and pod.status.initContainerStatuses[1].lastState.terminated
            ),
        )
        one, two = init.status.initContainerStatuses
        assert (one.ready, one.state.terminated.reason, two.lastState.terminated.exitCode) == (True, "Completed", 5)
        assert waiting(init) == "PodInitializing"
        absent = await node.until("absent", lambda pod: pod.status.phase == "Failed")
        ended = absent.status.containerStatuses[0].state.terminated
        assert ended.reason == "ContainerCannotRun"
        assert "no such file or directory" in ended.message


async def test_what_cannot_start_says_why(node: Any, pods: Any, containers: Any) -> None:
    def of(image: str, policy: str = "IfNotPresent") -> Any:
        made = containers(imagePullPolicy=policy)
        made.image = image
        return made

    async with node.kubelet():
        await node.create(pods("absent", of(ABSENT)))
        await node.create(pods("never", of(ABSENT, "Never")))
        await node.create(pods("misspelt", of("Not/A/Name")))
        await node.until("never", lambda pod: waiting(pod) == "ErrImageNeverPull")
        await node.until("misspelt", lambda pod: waiting(pod) == "InvalidImageName")
        await node.until("absent", lambda pod: waiting(pod) == "ErrImagePull")
        pod = await node.until("absent", lambda pod: waiting(pod) == "ImagePullBackOff")
        beginning = f'Back-off pulling image "{ABSENT}": ErrImagePull: '
        assert pod.status.containerStatuses[0].state.waiting.message.startswith(beginning)
        assert pod.status.phase == "Pending"


async def test_probes_and_grace_are_kept(node: Any, pods: Any, containers: Any) -> None:
    def probe(command: str, **fields: Any) -> Probe:
        return Probe(exec=ExecAction(command=[command]), periodSeconds=1, **fields)

    async with node.kubelet():
        await node.create(pods("unready", containers(readinessProbe=probe("false"))))
        await node.create(pods("well", containers(readinessProbe=probe("true"), livenessProbe=probe("true"))))
        dying = containers(livenessProbe=probe("false", failureThreshold=1))
        await node.create(pods("dying", dying, terminationGracePeriodSeconds=1))
        await node.until("well", ready)
        await node.until(
            "dying", lambda pod: pod.status.containerStatuses and pod.status.containerStatuses[0].restartCount
        )
        unready = await node.until("unready", lambda pod: pod.status.phase == "Running")
        assert not ready(unready)
        assert meta.condition(unready, "Ready").reason == "ContainersNotReady"
