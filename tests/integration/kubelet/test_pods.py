"""Pods on the real engine, from the API server to the container and back."""

from typing import Any

from api import meta
from api.types import (
    Capabilities,
    ConfigMap,
    ConfigMapVolumeSource,
    EmptyDirVolumeSource,
    EnvVar,
    EnvVarSource,
    ExecAction,
    HostAlias,
    HostPathVolumeSource,
    ObjectFieldSelector,
    ObjectMeta,
    Pod,
    PodSecurityContext,
    Probe,
    ResourceRequirements,
    SeccompProfile,
    SecurityContext,
    Volume,
    VolumeMount,
)  # fmt: skip


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


def sh(lab: Any, pod: Pod, command: str, container: int = 0) -> str:
    """What a shell command prints in a container of the pod."""
    identity = pod.status.containerStatuses[container].containerID.removeprefix("docker://")
    done = lab.engine.exec_create(identity, ["sh", "-c", command])
    return lab.engine.exec_start(done["Id"]).decode()


async def test_a_pod_runs_and_says_so_in_upstreams_words(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web"))
        pod = await lab.until("web", ready)
        status = pod.status
        assert (status.phase, status.hostIP, status.podIP, status.qosClass) == (
            "Running", "10.99.0.1", "10.244.1.2", "BestEffort",
        )  # fmt: skip
        kinds = [c.type for c in status.conditions]
        assert kinds == ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        (container,) = status.containerStatuses
        assert container.ready
        assert container.started
        assert container.restartCount == 0
        assert container.imageID.startswith("docker://sha256:")
        assert sh(lab, pod, "hostname") == "web\n"
        addresses = sh(lab, pod, "ip -o address")
        assert "10.244.1.2/32" in addresses
        assert {line.split()[1] for line in addresses.splitlines()} == {"lo", "eth0"}
        assert "nameserver 10.96.0.10" in sh(lab, pod, "cat /etc/resolv.conf")
        assert "10.244.1.2\tweb" in sh(lab, pod, "cat /etc/hosts")


async def test_a_deleted_pod_leaves_nothing_behind(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web"))
        await lab.until("web", ready)
        await lab.client.delete(Pod, "web", "default")
        await lab.until_gone("web")
        assert lab.containers() == []
        assert list((lab.root / "pods").iterdir()) == []
        assert "veth" not in lab.inside("ip", "-br", "link")


async def test_a_restarted_kubelet_adopts_running_containers(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web"))
        before = await lab.until("web", ready)
    async with lab.kubelet():
        await lab.create(pods("second"))
        second = await lab.until("second", ready)
        after = await lab.client.get(Pod, "web", "default")
    assert after.status.containerStatuses == before.status.containerStatuses
    assert second.status.podIP not in ("", before.status.podIP)


async def test_containers_of_a_pod_that_went_while_the_kubelet_was_down_are_removed(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web"))
        await lab.until("web", ready)
    await lab.client.delete(Pod, "web", "default", grace_seconds=0)
    assert lab.containers()
    async with lab.kubelet():
        await lab.create(pods("second"))
        pod = await lab.until("second", ready)
        await lab.client.delete(Pod, "second", "default")
        await lab.until_gone("second")
        # Its own containers were made later and are gone: so the orphans' stop had its time, but for its grace.
        for each in lab.containers():
            assert each["Labels"]["io.kubernetes.pod.uid"] != pod.metadata.uid


async def test_a_killed_container_is_restarted_and_then_backs_off(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web"))
        pod = await lab.until("web", ready)
        for restarts in (1, 2):
            identity = pod.status.containerStatuses[0].containerID.removeprefix("docker://")
            lab.engine.kill(identity)
            if restarts == 1:
                pod = await lab.until("web", lambda p: ready(p) and p.status.containerStatuses[0].restartCount == 1)
                assert pod.status.containerStatuses[0].lastState.terminated.exitCode == 137
        pod = await lab.until("web", lambda p: p.status.containerStatuses[0].state.waiting)
        waiting = pod.status.containerStatuses[0].state.waiting
        assert waiting.reason == "CrashLoopBackOff"
        assert waiting.message == f"back-off 10s restarting failed container=main pod=web_default({pod.metadata.uid})"
        pod = await lab.until("web", lambda p: ready(p) and p.status.containerStatuses[0].restartCount == 2)


async def test_a_dead_sandbox_is_rebuilt_with_its_containers(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web"))
        before = await lab.until("web", ready)
        pause = next(c for c in lab.containers() if c["Labels"]["io.wherry.kind"] == "pause")
        lab.engine.kill(pause["Id"])
        old = before.status.containerStatuses[0].containerID
        after = await lab.until("web", lambda p: ready(p) and p.status.containerStatuses[0].containerID != old, 45)
        assert after.status.containerStatuses[0].restartCount == 1
        assert after.status.podIP == before.status.podIP


async def test_init_containers_run_one_after_the_other_before_the_others(
    lab: Any, pods: Any, containers: Any
) -> None:  # fmt: skip
    shared = VolumeMount(name="work", mountPath="/data")
    first = containers("first", ["sh", "-c", "echo 1 >> /data/log"], volumeMounts=[shared])
    second = containers("second", ["sh", "-c", "echo 2 >> /data/log"], volumeMounts=[shared])
    main = containers(volumeMounts=[shared])
    volumes = [Volume(name="work", emptyDir=EmptyDirVolumeSource())]
    async with lab.kubelet():
        await lab.create(pods("web", main, initContainers=[first, second], volumes=volumes))
        pod = await lab.until("web", ready)
        assert sh(lab, pod, "cat /data/log") == "1\n2\n"
        assert [s.state.terminated.reason for s in pod.status.initContainerStatuses] == ["Completed", "Completed"]


async def test_a_pod_that_has_done_its_work_succeeds_and_keeps_its_logs(lab: Any, pods: Any, containers: Any) -> None:
    main = containers(command=["sh", "-c", "echo done; echo because > /dev/termination-log"])
    async with lab.kubelet():
        await lab.create(pods("job", main, restartPolicy="Never"))
        pod = await lab.until("job", lambda p: p.status.phase == "Succeeded")
        ended = pod.status.containerStatuses[0].state.terminated
        assert (ended.exitCode, ended.reason, ended.message) == (0, "Completed", "because\n")
        assert lab.engine.logs(ended.containerID.removeprefix("docker://")) == b"done\n"
        assert meta.condition(pod, "Ready").reason == "PodCompleted"


async def test_two_containers_share_the_network_and_a_volume(lab: Any, pods: Any, containers: Any) -> None:
    shared = VolumeMount(name="work", mountPath="/data")
    one = containers("one", ["sh", "-c", "echo hi > /data/a; httpd -f -p 8081 -h /data"], volumeMounts=[shared])
    two = containers("two", volumeMounts=[shared])
    async with lab.kubelet():
        await lab.create(pods("pair", one, two, volumes=[Volume(name="work", emptyDir=EmptyDirVolumeSource())]))
        pod = await lab.until("pair", ready)
        assert sh(lab, pod, "echo 'GET /a HTTP/1.0\n' | nc 127.0.0.1 8081 | tail -1", 1) == "hi\n"
        assert sh(lab, pod, "cat /data/a", 1) == "hi\n"
        # And from the node, by the pod's own address.
        answer = lab.inside("busybox", "nc", pod.status.podIP, "8081", "-e", "true")
        assert "refused" not in answer


async def test_a_config_map_reaches_variables_and_files(lab: Any, pods: Any, containers: Any) -> None:
    main = containers(
        env=[
            EnvVar(name="WHO", valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath="metadata.name"))),
            EnvVar(name="IP", valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath="status.podIP"))),
            EnvVar(name="HELLO", value="hello $(WHO)"),
        ],
        volumeMounts=[VolumeMount(name="config", mountPath="/config")],
    )
    volume = Volume(name="config", configMap=ConfigMapVolumeSource(name="settings"))
    async with lab.kubelet():
        await lab.create(pods("web", main, volumes=[volume], hostAliases=[HostAlias(ip="10.0.0.9", hostnames=["db"])]))
        waiting = await lab.until("web", lambda p: p.status.containerStatuses)
        assert waiting.status.containerStatuses[0].state.waiting.reason == "ContainerCreating"
        await lab.client.create(
            ConfigMap(metadata=ObjectMeta(name="settings", namespace="default"), data={"colour": "blue"})
        )
        pod = await lab.until("web", ready)
        assert sh(lab, pod, "echo $HELLO $IP; cat /config/colour") == f"hello web {pod.status.podIP}\nblue"
        assert "10.0.0.9\tdb" in sh(lab, pod, "cat /etc/hosts")


async def test_readiness_and_liveness_probes_decide(lab: Any, pods: Any, containers: Any) -> None:
    main = containers(
        readinessProbe=Probe(exec=ExecAction(command=["test", "-e", "/tmp/ready"]), periodSeconds=1),
        livenessProbe=Probe(
            exec=ExecAction(command=["test", "!", "-e", "/tmp/ill"]), periodSeconds=1, failureThreshold=1
        ),
    )
    async with lab.kubelet():
        await lab.create(pods("web", main))
        pod = await lab.until("web", lambda p: p.status.containerStatuses and p.status.containerStatuses[0].started)
        assert not pod.status.containerStatuses[0].ready
        assert meta.condition(pod, "Ready").message == "containers with unready status: [main]"
        sh(lab, pod, "touch /tmp/ready")
        pod = await lab.until("web", ready)
        sh(lab, pod, "touch /tmp/ill")
        await lab.until("web", lambda p: p.status.containerStatuses[0].restartCount == 1)


async def test_an_image_that_is_not_there_is_reported(lab: Any, pods: Any, containers: Any) -> None:
    main = containers()
    main.image, main.imagePullPolicy = "wherry/none:1", "Never"
    async with lab.kubelet():
        await lab.create(pods("web", main))
        pod = await lab.until("web", lambda p: p.status.containerStatuses and p.status.podIP)
        pod = await lab.until(
            "web", lambda p: p.status.containerStatuses[0].state.waiting.reason == "ErrImageNeverPull"
        )
        assert pod.status.containerStatuses[0].state.waiting.message == (
            'Container image "wherry/none:1" is not present with pull policy of Never'
        )


async def test_a_program_that_does_not_exist_backs_off(lab: Any, pods: Any, containers: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web", containers(command=["/no/such/program"])))
        pod = await lab.until(
            "web", lambda p: (w := p.status.containerStatuses and p.status.containerStatuses[0].state.waiting)
            and w.reason == "RunContainerError",
        )  # fmt: skip
        assert "no such file or directory" in pod.status.containerStatuses[0].state.waiting.message
        await lab.until(
            "web", lambda p: (w := p.status.containerStatuses[0].state.waiting) and w.reason == "CrashLoopBackOff"
        )


async def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace(lab: Any, pods: Any, containers: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web", containers(command=["sh", "-c", "trap '' TERM; while true; do sleep 1; done"])))
        await lab.until("web", ready)
        await lab.client.delete(Pod, "web", "default", grace_seconds=2)
        await lab.until_gone("web", 8)
        assert lab.containers() == []


async def test_pods_reach_each_other_and_nothing_else(lab: Any, pods: Any, containers: Any) -> None:
    serve = "mkdir /www; echo page > /www/a; httpd -f -p 8080 -h /www"
    async with lab.kubelet():
        await lab.create(pods("server", containers(command=["sh", "-c", serve])))
        await lab.create(pods("client"))
        server, client = await lab.until("server", ready), await lab.until("client", ready)
        ask = f"echo 'GET /a HTTP/1.0\n' | nc {server.status.podIP} 8080 | tail -1"
        assert sh(lab, client, ask) == "page\n"
        # An address of the pod range that no pod has: the node answers, nothing leaves it.
        assert "No route to host" in sh(lab, client, "nc -w 2 10.244.7.7 80 2>&1")


async def test_a_privileged_container_may_do_what_the_machine_allows(lab: Any, pods: Any, containers: Any) -> None:
    main = containers(securityContext=SecurityContext(privileged=True))
    async with lab.kubelet():
        await lab.create(pods("web", main))
        pod = await lab.until("web", ready)
        assert sh(lab, pod, "mount -t tmpfs x /tmp && echo mounted") == "mounted\n"
        assert "sd" in (devices := sh(lab, pod, "ls /dev")) or "vd" in devices
        assert sh(lab, pod, "echo 1 > /proc/sys/net/ipv4/ip_forward && echo written") == "written\n"


async def test_a_restricted_container_may_not(lab: Any, pods: Any, containers: Any) -> None:
    context = SecurityContext(
        runAsUser=1000, runAsGroup=1000, runAsNonRoot=True, allowPrivilegeEscalation=False, readOnlyRootFilesystem=True,
        capabilities=Capabilities(drop=["ALL"]), seccompProfile=SeccompProfile(type="RuntimeDefault"),
    )  # fmt: skip
    volumes = [Volume(name="work", emptyDir=EmptyDirVolumeSource())]
    main = containers(securityContext=context, volumeMounts=[VolumeMount(name="work", mountPath="/data")])
    async with lab.kubelet():
        await lab.create(pods("web", main, volumes=volumes, securityContext=PodSecurityContext(fsGroup=2000)))
        pod = await lab.until("web", ready)
        assert sh(lab, pod, "id -u; id -g; id -G") == "1000\n1000\n1000 2000\n"
        assert "Read-only file system" in sh(lab, pod, "touch /x")
        assert sh(lab, pod, "touch /data/x && stat -c %g /data/x") == "2000\n"
        status = sh(lab, pod, "cat /proc/self/status")
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status


async def test_containers_may_share_processes_and_memory(lab: Any, pods: Any, containers: Any) -> None:
    fast = [Volume(name="fast", emptyDir=EmptyDirVolumeSource(medium="Memory"))]
    shared = [VolumeMount(name="fast", mountPath="/fast")]
    one, two = containers("one", volumeMounts=shared), containers("two", volumeMounts=shared)
    async with lab.kubelet():
        await lab.create(pods("web", one, two, volumes=fast, shareProcessNamespace=True))
        pod = await lab.until("web", ready)
        assert "/pause" in sh(lab, pod, "ps")
        sh(lab, pod, "echo kept > /fast/a")
        assert sh(lab, pod, "cat /fast/a; grep /fast /proc/mounts", 1).startswith("kept\ntmpfs /fast tmpfs")
        lab.engine.kill(pod.status.containerStatuses[0].containerID.removeprefix("docker://"))
        pod = await lab.until("web", lambda p: ready(p) and p.status.containerStatuses[0].restartCount == 1)
        assert sh(lab, pod, "cat /fast/a") == "kept\n"
        await lab.client.delete(Pod, "web", "default")
        await lab.until_gone("web")
        assert not lab.engine.volumes({"name": f"wherry_{pod.metadata.uid}"})["Volumes"]


async def test_a_pod_in_the_nodes_network_has_the_nodes_address(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web", hostNetwork=True))
        pod = await lab.until("web", ready)
        assert pod.status.podIP == pod.status.hostIP == "10.99.0.1"
        assert "docker0" in sh(lab, pod, "ip -o link")


async def test_a_host_path_is_made_where_its_type_says_so(lab: Any, pods: Any, containers: Any) -> None:
    place = lab.root / "made"
    volume = Volume(name="host", hostPath=HostPathVolumeSource(path=str(place), type="DirectoryOrCreate"))
    main = containers(volumeMounts=[VolumeMount(name="host", mountPath="/host")])
    async with lab.kubelet():
        await lab.create(pods("web", main, volumes=[volume]))
        pod = await lab.until("web", ready)
        sh(lab, pod, "echo here > /host/a")
        assert (place / "a").read_text() == "here\n"


async def test_a_container_without_memory_says_so(lab: Any, pods: Any, containers: Any) -> None:
    """One of three, since the engine misses some of the kernel's kills when the machine is busy."""
    resources = ResourceRequirements(limits={"memory": "16Mi"})
    command = ["sh", "-c", "x=a; while true; do x=$x$x; done"]
    greedy = [containers(name, command, resources=resources) for name in ("a", "b", "c")]
    async with lab.kubelet():
        await lab.create(pods("web", *greedy, restartPolicy="Never"))
        pod = await lab.until("web", lambda p: p.status.phase == "Failed")
        ends = [s.state.terminated for s in pod.status.containerStatuses]
        assert {end.exitCode for end in ends} == {137}
        assert "OOMKilled" in {end.reason for end in ends} <= {"OOMKilled", "Error"}
        assert pod.status.qosClass == "Burstable"
