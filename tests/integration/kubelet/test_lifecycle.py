"""The ways in which containers start, wait for each other and end: several claims for each pod, since pods cost time.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from typing import Any

from api import meta
from api.types import (
    ConfigMap,
    ConfigMapKeySelector,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    EmptyDirVolumeSource,
    EnvVar,
    EnvVarSource,
    EphemeralContainer,
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    ObjectMeta,
    Pod,
    PodSecurityContext,
    Probe,
    SecurityContext,
    Volume,
    VolumeMount,
)  # fmt: skip
from tests.integration.kubelet.asking import told

LOGGED = [VolumeMount(name="log", mountPath="/log")]
LOG = [Volume(name="log", emptyDir=EmptyDirVolumeSource())]
SERVE = "trap 'sleep 0.2; echo {0} ended >> /log/log; exit 0' TERM; echo {0} started >> /log/log; while true; do sleep 0.1; done"


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


def over(pod: Pod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")


def status(pod: Pod, name: str = "main") -> Any:
    statuses = (
        *pod.status.initContainerStatuses,
        *pod.status.containerStatuses,
        *pod.status.ephemeralContainerStatuses,
    )
    return next(s for s in statuses if s.name == name)


def sh(lab: Any, pod: Pod, command: str, name: str = "main") -> str:
    done = lab.engine.exec_create(status(pod, name).containerID.removeprefix("docker://"), ["sh", "-c", command])
    return str(lab.engine.exec_start(done["Id"]).decode())


def logged(lab: Any, pod: Pod) -> list[str]:
    (volume,) = (lab.root / "pods" / pod.metadata.uid / "volumes").rglob("log/log")
    return list(volume.read_text().splitlines())


async def test_sidecars_start_in_order_restart_by_themselves_and_end_last_in_reverse(
    lab: Any, pods: Any, containers: Any
) -> None:
    def sidecar(name: str, **fields: Any) -> Any:
        command = ["sh", "-c", SERVE.format(name)]
        return containers(name, command, restartPolicy="Always", volumeMounts=LOGGED, **fields)

    started = Probe(exec=ExecAction(command=["grep", "-q", "first started", "/log/log"]), periodSeconds=1)
    init = containers("init", ["sh", "-c", "echo init >> /log/log"], volumeMounts=LOGGED)
    said = ExecAction(command=["sh", "-c", "grep -q main /log/log && grep -q second /log/log"])
    main = containers(
        "main", ["sh", "-c", "echo main >> /log/log; until test -e /log/end; do sleep 0.1; done"],
        volumeMounts=LOGGED, readinessProbe=Probe(exec=said, periodSeconds=1),
    )  # fmt: skip
    chosen = {
        "initContainers": [sidecar("first", startupProbe=started), init, sidecar("second")],
        "restartPolicy": "Never",
    }
    async with lab.kubelet():
        await lab.create(pods("web", main, volumes=LOG, **chosen))
        pod = await lab.until("web", ready)
        lines = logged(lab, pod)
        assert lines[:2] == ["first started", "init"]
        assert sorted(lines[2:]) == ["main", "second started"]
        lab.engine.kill(status(pod, "second").containerID.removeprefix("docker://"))
        pod = await lab.until("web", lambda p: status(p, "second").restartCount == 1 and ready(p))
        assert status(pod).restartCount == 0
        sh(lab, pod, "touch /log/end")
        pod = await lab.until("web", over)
        assert pod.status.phase == "Succeeded"  # a sidecar's exit code counts for nothing
        assert logged(lab, pod)[-2:] == ["second ended", "first ended"]
        condition = meta.condition(pod, "Ready")
        assert (condition.status, condition.reason) == ("False", "PodCompleted")


async def test_hooks_run_where_they_should_and_their_failures_are_told(lab: Any, pods: Any, containers: Any) -> None:
    def hook(command: str) -> LifecycleHandler:
        return LifecycleHandler(exec=ExecAction(command=["sh", "-c", command]))

    good = Lifecycle(postStart=hook("echo post >> /log/log"), preStop=hook("echo pre >> /log/log"))
    said = Probe(exec=ExecAction(command=["grep", "-q", "main started", "/log/log"]), periodSeconds=1)
    serve = ["sh", "-c", SERVE.format("main")]
    main = containers("main", serve, volumeMounts=LOGGED, lifecycle=good, readinessProbe=said)
    bad = containers(lifecycle=Lifecycle(postStart=hook("exit 3")))
    async with lab.kubelet():
        await lab.create(pods("good", main, volumes=LOG, activeDeadlineSeconds=3600))
        await lab.create(pods("bad", bad))
        pod = await lab.until("good", ready)
        assert sorted(logged(lab, pod)) == ["main started", "post"]
        await lab.client.patch(Pod, "good", "default", {"spec": {"activeDeadlineSeconds": 1}})
        pod = await lab.until("good", over)
        assert (pod.status.phase, pod.status.reason) == ("Failed", "DeadlineExceeded")
        assert logged(lab, pod)[-2:] == ["pre", "main ended"]
        await lab.until("bad", lambda p: status(p).lastState.terminated)
        assert "PostStartHook failed" in await told(lab, "FailedPostStartHook", "bad")


async def test_a_containers_own_restart_rules_come_before_its_pods_policy(lab: Any, pods: Any, containers: Any) -> None:
    rule = ContainerRestartRule(action="Restart", exitCodes=ContainerRestartRuleOnExitCodes(operator="In", values=[42]))
    once = "test -e /log/{0} && exit {1}; touch /log/{0}; exit 42"
    ruled = containers(
        "ruled",
        ["sh", "-c", once.format("a", 7)],
        volumeMounts=LOGGED,
        restartPolicy="Never",
        restartPolicyRules=[rule],
    )
    plain = containers("plain", ["sh", "-c", "exit 42"])
    async with lab.kubelet():
        await lab.create(pods("web", ruled, plain, volumes=LOG, restartPolicy="Never"))
        pod = await lab.until("web", over)
        assert pod.status.phase == "Failed"
        assert (status(pod, "ruled").restartCount, status(pod, "plain").restartCount) == (1, 0)
        assert status(pod, "ruled").state.terminated.exitCode == 7
        assert status(pod, "ruled").lastState.terminated.exitCode == 42


async def test_a_container_may_ask_that_all_of_its_pod_begin_anew(lab: Any, pods: Any, containers: Any) -> None:
    codes = ContainerRestartRuleOnExitCodes(operator="In", values=[42])
    rule = ContainerRestartRule(action="RestartAllContainers", exitCodes=codes)
    once = "test -e /log/asked && exec sleep 1000; touch /log/asked; exit 42"
    source = containers(
        "source", ["sh", "-c", once], volumeMounts=LOGGED, restartPolicy="Never", restartPolicyRules=[rule]
    )
    init = containers("init", ["sh", "-c", "echo init >> /log/log"], volumeMounts=LOGGED)
    sidecar = containers("sidecar", ["sleep", "1000"], restartPolicy="Always")
    stubborn = containers("stubborn", ["sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"])
    async with lab.kubelet():
        await lab.create(
            pods(
                "web",
                source,
                stubborn,
                initContainers=[init, sidecar],
                volumes=LOG,
                restartPolicy="Never",
                terminationGracePeriodSeconds=300,
            )
        )
        pod = await lab.until("web", lambda p: ready(p) and status(p, "source").restartCount == 1)
        everyone = ("init", "sidecar", "source", "stubborn")
        assert [status(pod, name).restartCount for name in everyone] == [1] * 4
        assert [status(pod, name).lastState.terminated.exitCode for name in everyone] == [0, 137, 42, 137]
        assert logged(lab, pod) == ["init", "init"]
        assert meta.condition(pod, "AllContainersRestarting").status == "False"


async def test_last_words_come_from_where_the_pod_says(lab: Any, pods: Any, containers: Any) -> None:
    def dying(name: str, command: str, **fields: Any) -> Any:
        return containers(name, ["sh", "-c", command], **fields)

    strict = SecurityContext(runAsUser=1000, readOnlyRootFilesystem=True)
    made = [
        dying("file", "echo -n DONE > /dev/termination-log; exit 1"),
        dying("other", "echo -n elsewhere > /last-words", terminationMessagePath="/last-words"),
        dying("strict", "echo -n still > /dev/termination-log", securityContext=strict),
        dying("logs", "echo from the logs; exit 1", terminationMessagePolicy="FallbackToLogsOnError"),
        dying("quiet", "echo not an error", terminationMessagePolicy="FallbackToLogsOnError"),
    ]
    async with lab.kubelet():
        await lab.create(pods("web", *made, restartPolicy="Never"))
        pod = await lab.until("web", over)
        found = {s.name: s.state.terminated.message for s in pod.status.containerStatuses}
        assert found == {
            "file": "DONE", "other": "elsewhere", "strict": "still", "logs": "from the logs\n", "quiet": "",
        }  # fmt: skip


async def test_what_a_pod_needs_and_there_is_not_is_said_at_once_and_mended_later(
    lab: Any, pods: Any, containers: Any
) -> None:
    key = EnvVarSource(configMapKeyRef=ConfigMapKeySelector(name="settings", key="color"))
    root = PodSecurityContext(runAsNonRoot=True)
    async with lab.kubelet():
        await lab.create(pods("keyless", containers(env=[EnvVar(name="COLOR", valueFrom=key)])))
        await lab.create(pods("commandless", containers(command=["/no/such/program"]), restartPolicy="Never"))
        await lab.create(pods("root", securityContext=root))
        pod = await lab.until("keyless", lambda p: status(p).state.waiting.reason != "ContainerCreating", 5)
        assert status(pod).state.waiting.reason == "CreateContainerConfigError"
        assert status(pod).state.waiting.message == 'configmap "settings" not found'
        assert 'Error: configmap "settings" not found' in await told(lab, "Failed", "keyless")
        pod = await lab.until("root", lambda p: status(p).state.waiting.reason != "ContainerCreating", 5)
        assert status(pod).state.waiting.message.startswith(
            "container has runAsNonRoot and image will run as root (pod: "
        )
        pod = await lab.until("commandless", over)
        ended = status(pod).state.terminated
        assert (pod.status.phase, ended.reason, ended.exitCode) == ("Failed", "ContainerCannotRun", 127)
        assert "no such file or directory" in ended.message
        await lab.client.create(
            ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"color": "blue"})
        )
        pod = await lab.until("keyless", ready)
        assert sh(lab, pod, "echo $COLOR") == "blue\n"


async def test_a_debugging_container_sees_the_processes_of_its_target(lab: Any, pods: Any, containers: Any) -> None:
    def debugger(name: str, target: str) -> EphemeralContainer:
        return EphemeralContainer(
            name=name, image="busybox:1.35", command=["sleep", "1000"], targetContainerName=target
        )

    async with lab.kubelet():
        pod = await lab.create(pods("web", containers(), containers("other", ["sleep", "77"])))
        pod = await lab.until("web", ready)
        chosen = [debugger("sees", "other"), debugger("alone", "")]
        await lab.client.patch(
            Pod, "web", "default", {"spec": {"ephemeralContainers": [meta.tree(c) for c in chosen]}},
            kind="strategic", subresource="ephemeralcontainers",
        )  # fmt: skip
        pod = await lab.until(
            "web", lambda p: sum(bool(s.state.running) for s in p.status.ephemeralContainerStatuses) == 2
        )
        assert sh(lab, pod, "cat /proc/1/cmdline", "sees").split("\0")[:2] == ["sleep", "77"]
        assert sh(lab, pod, "cat /proc/1/cmdline", "alone").split("\0")[:2] == ["sleep", "1000"]
        assert ready(pod)
