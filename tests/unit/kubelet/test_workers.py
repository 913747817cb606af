"""A pod's worker on the simulated engine under a fake clock."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from api import errors, meta
from api.types import (
    ConfigMap,
    ConfigMapVolumeSource,
    Container,
    ContainerState,
    ContainerStatus,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    EnvVar,
    EnvVarSource,
    EphemeralContainer,
    ExecAction,
    Lifecycle,
    LifecycleHandler,
    LocalObjectReference,
    ObjectFieldSelector,
    ObjectMeta,
    Pod,
    PodCondition,
    PodReadinessGate,
    PodSecurityContext,
    PodStatus,
    Probe,
    ProjectedVolumeSource,
    SeccompProfile,
    Secret,
    SecretKeySelector,
    SecurityContext,
    Service,
    ServiceAccountTokenProjection,
    ServiceSpec,
    SleepAction,
    Sysctl,
    Volume,
    VolumeMount,
    VolumeProjection,
)  # fmt: skip
from kubelet.containers.environments import Sources
from kubelet.containers.security import Powers
from kubelet.containers.specs import Host
from kubelet.images.pulling import Puller
from kubelet.images.records import Records
from kubelet.images.stores import Store
from kubelet.images.users import Users
from kubelet.network.addresses import Addresses
from kubelet.pods import following, storage
from kubelet.pods.admission import Open
from kubelet.pods.caches import Cache
from kubelet.pods.following import Reference
from kubelet.pods.handlers import HandlerFailed, Handlers
from kubelet.pods.means import Means
from kubelet.pods.starting import REFRESH
from kubelet.pods.stopping import DRAIN
from kubelet.pods.workers import Ending, Worker
from kubelet.runtime.interfaces import RUNTIME, EngineError, Login, Record, RegistryUnavailable
from kubelet.runtime.simulated import Simulated, SimulatedNetwork
from kubelet.syncing.statuses import pod_status
from kubelet.syncing.views import Health, View
from machinery.testing import FakeClock, settle
from tests.unit.kubelet.builders import container, pod

FOREVER = ["server"]


class Told:
    """Implements `Recorder` and `Reporter`: remembers what it is told, and the API server's copy of the status."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []
        self.statuses: list[PodStatus] = []
        self.last = False
        self.forgotten = False

    def event(self, regarding: Pod, type: str, reason: str, message: str, *, field_path: str = "") -> None:  # noqa: A002
        self.events.append((type, reason, message))

    def report(self, view: View, *, last: bool = False) -> None:
        self.statuses.append(pod_status(view))
        self.last = self.last or last

    def observe(self, pod: Pod) -> None:
        return

    def forget(self, uid: str) -> None:
        self.forgotten = True

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


class Answers(Handlers):
    """Handlers whose answers a test sets: by command, None is yes."""

    def __init__(self, runtime: Simulated) -> None:
        super().__init__(runtime)
        self.no: dict[str, str] = {}
        self.asked: list[str] = []

    async def perform(self, action: Any, container: Container, container_id: str, address: str, timeout: float) -> str:
        name = action.exec.command[0]
        self.asked.append(name)
        if name in self.no:
            raise HandlerFailed(self.no[name])
        return ""


class Rooms(Open):
    """Implements `Admission`: notes when a pod's room is given back."""

    def __init__(self, order: list[str]) -> None:
        super().__init__()
        self._order = order

    def release(self, uid: str) -> None:
        self._order.append("free")


class Followed:
    """Implements `Follows`: tells whoever follows anything."""

    def __init__(self) -> None:
        self.told: dict[str, following.Told] = {}

    def follow(self, pod: Pod, told: following.Told) -> None:
        self.told[pod.metadata.uid] = told

    def leave(self, pod: Pod) -> None:
        self.told.pop(pod.metadata.uid, None)


@dataclass
class Stage:
    root: Path
    clock: FakeClock = field(default_factory=FakeClock)
    told: Told = field(default_factory=Told)
    sources: Sources = field(default_factory=Sources)
    reads: int = 0

    def __post_init__(self) -> None:
        self.engine = Simulated("c", "node1", clock=self.clock)
        self.cache = Cache(self.engine)
        self.answers = Answers(self.engine)
        self.followed = Followed()
        self.means = Means(
            runtime=self.engine, cache=self.cache, network=SimulatedNetwork(), recorder=self.told, reporter=self.told,
            handlers=self.answers, images=Store(puller=Puller(self.engine, self.clock), records=Records(self.root / "images"), users=Users(self.engine), root=self.root), clock=self.clock, host=Host(cluster="c", node="node1", pause_image="pause", powers=Powers(), memory=2**30),
            host_ip="10.0.0.1", root=self.root, sources=self._sources, following=self.followed, addresses=Addresses("10.244.1.0/24"),
        )  # fmt: skip

    async def _sources(self, of: Pod) -> Sources:
        self.reads += 1
        return self.sources

    def change(self, to: ConfigMap | None, name: str = "m") -> None:
        self.sources = Sources({name: to} if to is not None else {})
        for told in self.followed.told.values():
            told(Reference(ConfigMap, "default", name), to.metadata.resourceVersion if to is not None else "")

    @asynccontextmanager
    async def worker(self, of: Pod, **options: Any) -> AsyncIterator[Worker]:
        worker = Worker(self.means, of, **options)
        self.cache.on_change = lambda uid: worker.wake()
        tasks = [asyncio.create_task(self.cache.run()), asyncio.create_task(worker.run())]
        self.running = tasks[1]
        await self.turn()
        try:
            yield worker
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.engine.close()
            await settle()

    async def turn(self, seconds: float = 0) -> None:
        """Let time pass, and threads do the little that they have to do."""
        await self.clock.advance(seconds)
        await settle(200)

    async def until(self, holds: Callable[[], object]) -> None:
        """Volumes are written in a thread: give it the time it takes."""
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.to_thread(lambda: None)
                await settle()

    @property
    def status(self) -> PodStatus:
        return self.told.statuses[-1]

    @property
    def state(self) -> ContainerState:
        return self.status.containerStatuses[0].state

    def records(self, name: str = "main") -> list[Record]:
        return sorted((r for r in self.cache.of("u1") if r.name == name), key=lambda r: r.attempt)

    @property
    def ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def web(*containers: Container, **fields: Any) -> Pod:
    return pod(*(containers or (container(command=FOREVER),)), **fields)


def config_map(name: str, version: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", resourceVersion=version), data=data)


def deleted(of: Pod, grace: int = 30) -> Pod:
    copy = meta.clone(of)
    copy.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    copy.metadata.deletionGracePeriodSeconds = grace
    return copy


async def test_a_pod_starts_with_the_events_that_upstream_tells(stage: Stage) -> None:
    async with stage.worker(web()):
        assert stage.ready
        assert stage.status.podIP == "10.244.1.2"
        assert stage.told.events == [
            ("Normal", "Pulled", 'Container image "app:1" already present on machine and can be accessed by the pod'),
            ("Normal", "Created", "Container created"),
            ("Normal", "Started", "Container started"),
        ]


async def test_a_crashing_container_backs_off_longer_each_time(stage: Stage) -> None:
    async with stage.worker(web(container(command=["false"]))):
        assert [r.attempt for r in stage.records()] == [0, 1]
        assert stage.state.waiting.reason == "CrashLoopBackOff"
        assert "BackOff" in stage.told.reasons()
        await stage.turn(9.9)
        assert stage.records()[-1].attempt == 1
        await stage.turn(0.2)
        assert stage.records()[-1].attempt == 2
        assert stage.state.waiting.message.startswith("back-off 20s restarting failed container=main")
        await stage.turn(20)
        assert [r.attempt for r in stage.records()] == [2, 3]


async def test_a_deleted_pod_ends_and_nothing_is_left(stage: Stage, tmp_path: Path) -> None:
    async with stage.worker(of := web()) as worker:
        worker.update(deleted(of))
        await settle()
        await stage.until(stage.running.done)
        assert stage.told.last
        assert stage.told.events[-1] == ("Normal", "Killing", "Stopping container main")
        assert stage.cache.of("u1") == ()
        assert stage.means.address_of("u1") == ""
        assert list((tmp_path / "pods").iterdir()) == []
        assert stage.status.phase == "Failed"
        assert stage.state.terminated.exitCode == 143


async def test_a_pre_stop_hook_runs_before_the_signal_and_uses_the_grace(stage: Stage) -> None:
    hook = Lifecycle(preStop=LifecycleHandler(sleep=SleepAction(seconds=5)))
    async with stage.worker(of := web(container(command=FOREVER, lifecycle=hook))) as worker:
        worker.update(deleted(of))
        await settle()
        await stage.turn(4.9)
        assert stage.records()[0].running
        await stage.turn(0.2)
        await stage.until(stage.running.done)


async def test_a_pod_behind_a_service_goes_on_serving_for_a_moment(stage: Stage) -> None:
    service = Service(metadata=ObjectMeta(name="s", namespace="default"), spec=ServiceSpec(selector={"app": "web"}))
    stage.means.services = lambda: [service]
    of = web()
    of.metadata.labels["app"] = "web"
    async with stage.worker(of) as worker:
        worker.update(deleted(of))
        await settle()
        await stage.turn(DRAIN - 0.1)
        assert stage.records()[0].running
        await stage.turn(0.2)
        await stage.until(stage.running.done)


class Stubborn(Simulated):
    """Containers here hear nothing but SIGKILL."""

    async def signal(self, container: str, signal: str) -> None:
        if signal == "SIGKILL":
            await super().signal(container, signal)


@pytest.fixture
def stubborn(stage: Stage) -> Stage:
    stage.engine = stage.means.runtime = Stubborn("c", "node1", clock=stage.clock)
    stage.cache = stage.means.cache = Cache(stage.engine)
    return stage


async def test_what_ignores_its_signal_is_killed_when_the_grace_is_over(stubborn: Stage) -> None:
    async with stubborn.worker(of := web()) as worker:
        worker.update(deleted(of, grace=30))
        await settle()
        await stubborn.turn(29)
        assert stubborn.records()[0].running
        await stubborn.turn(1.1)
        await stubborn.until(stubborn.running.done)
        assert stubborn.state.terminated.exitCode == 137


def with_sidecars(**fields: Any) -> Pod:
    return web(
        container(command=FOREVER),
        initContainers=[container(n, command=FOREVER, restartPolicy="Always", **fields) for n in ("one", "two")],
    )


class Attentive(Simulated):
    """Remembers which of its containers were signalled, by name and in order; all of them end at once."""

    signals: list[str]

    async def signal(self, container: str, signal: str) -> None:
        record = self.engine.records.get(container)
        if record is not None and record.running:
            self.signals.append(record.name)
        await super().signal(container, signal)


async def test_sidecars_end_one_by_one_after_the_others(stage: Stage) -> None:
    engine = stage.engine = stage.means.runtime = Attentive("c", "node1", clock=stage.clock)
    engine.signals = []
    stage.cache = stage.means.cache = Cache(engine)
    async with stage.worker(of := with_sidecars()) as worker:
        worker.update(deleted(of))
        await settle()
        await stage.until(stage.running.done)
        assert engine.signals[:3] == ["main", "two", "one"]


async def test_sidecars_have_no_grace_beyond_their_pods(stubborn: Stage) -> None:
    async with stubborn.worker(of := with_sidecars()) as worker:
        worker.update(deleted(of, grace=30))
        await settle()
        await stubborn.turn(30.1)
        assert [r.running for name in ("main", "one", "two") for r in stubborn.records(name)] == [False, True, True]
        await stubborn.turn(2)
        await stubborn.until(stubborn.running.done)


async def test_the_hooks_of_all_containers_run_at_the_same_time(stubborn: Stage) -> None:
    hook = Lifecycle(preStop=LifecycleHandler(exec=ExecAction(command=["hook"])))
    answers = stubborn.means.handlers = stubborn.answers
    async with stubborn.worker(of := with_sidecars(lifecycle=hook)) as worker:
        worker.update(deleted(of))
        await stubborn.turn()
        assert answers.asked == ["hook", "hook"]


async def test_a_second_deletion_may_shorten_the_grace(stubborn: Stage) -> None:
    async with stubborn.worker(of := web()) as worker:
        worker.update(deleted(of, grace=300))
        await settle()
        await stubborn.turn(5)
        worker.update(deleted(of, grace=3))
        await stubborn.turn(0.1)
        await stubborn.until(stubborn.running.done)


@asynccontextmanager
async def in_a_hook(stage: Stage) -> AsyncIterator[Worker]:
    """Of a pod that is deleted, with 300 s of grace; its hook takes 200, of which 5 are over."""
    hook = Lifecycle(preStop=LifecycleHandler(sleep=SleepAction(seconds=200)))
    async with stage.worker(of := web(container(command=FOREVER, lifecycle=hook))) as worker:
        worker.update(deleted(of, grace=300))
        await settle()
        await stage.turn(5)
        yield worker


async def test_a_hook_has_no_more_time_than_its_pod(stage: Stage) -> None:
    async with in_a_hook(stage) as worker:
        worker.update(deleted(worker.pod, grace=20))
        await stage.turn(14)
        assert stage.records()[0].running
        await stage.turn(1.1)
        await stage.until(stage.running.done)


async def test_an_eviction_may_shorten_a_hook_that_runs(stage: Stage) -> None:
    async with in_a_hook(stage) as worker:
        worker.end(Ending("Evicted", "no room", 3))
        await stage.turn(0.1)
        await stage.until(stage.running.done)


async def test_a_forced_deletion_leaves_two_seconds(stubborn: Stage) -> None:
    async with stubborn.worker(web()) as worker:
        worker.gone()
        await settle()
        await stubborn.turn(1.9)
        assert stubborn.records()[0].running
        await stubborn.turn(0.2)
        await stubborn.until(stubborn.running.done)
        assert stubborn.told.forgotten


async def test_a_forced_deletion_waits_for_no_other_that_came_before(stubborn: Stage) -> None:
    async with in_a_hook(stubborn) as worker:
        worker.gone()
        await stubborn.turn(2.1)
        await stubborn.until(stubborn.running.done)


async def test_stopping_the_worker_leaves_the_containers_running(stage: Stage) -> None:
    async with stage.worker(web()):
        before = stage.records()
        stage.running.cancel()
        await asyncio.gather(stage.running, return_exceptions=True)
        assert (await stage.engine.inspect(before[0].id)).running


async def test_another_worker_adopts_what_runs(stage: Stage) -> None:
    async with stage.worker(of := web()):
        first = stage.records()
        stage.running.cancel()
        await asyncio.gather(stage.running, return_exceptions=True)
        stage.means.addresses = Addresses("10.244.1.0/24")
        second = asyncio.create_task(Worker(stage.means, of).run())
        await settle(200)
        assert stage.records() == first
        assert stage.status.podIP == "10.244.1.2"
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)


async def test_a_dead_sandbox_is_rebuilt_with_the_same_address(stage: Stage) -> None:
    async with stage.worker(web()):
        (pause,) = stage.records("POD")
        await stage.engine.signal(pause.id, "SIGKILL")
        await stage.turn()
        assert [r.attempt for r in stage.records("POD")] == [1]
        assert stage.records()[-1].attempt == 1
        assert stage.status.podIP == "10.244.1.2"
        assert "SandboxChanged" in stage.told.reasons()


async def test_a_pod_runs_by_the_runtime_that_its_class_names_and_by_no_other(stage: Stage) -> None:
    async def handler(name: str) -> str:
        return {"good": "runc", "bad": "nonesuch"}[name]

    stage.means.handler, stage.means.runtimes = handler, lambda: ("runc",)
    async with stage.worker(web(runtimeClassName="bad")):
        said = 'Failed to create pod sandbox: failed to get sandbox runtime: no runtime for "nonesuch" is configured'
        assert ("Warning", "FailedCreatePodSandBox", said) in stage.told.events
        assert (stage.records("POD"), stage.status.phase) == ([], "Pending")
    async with stage.worker(web(runtimeClassName="good")):
        assert [r.labels[RUNTIME] for r in stage.records("POD")] == ["runc"]
        assert stage.ready


async def test_a_missing_image_is_tried_again_with_growing_patience(stage: Stage) -> None:
    stage.engine.engine.missing.add("app:1")
    async with stage.worker(web()):
        assert stage.state.waiting.reason == "ErrImagePull"
        assert "pull access denied" in stage.state.waiting.message
        await stage.turn(Fault_LATER := 2.0)
        assert stage.state.waiting.reason == "ImagePullBackOff"
        assert stage.told.events[-2] == ("Normal", "BackOff", 'Back-off pulling image "app:1"')
        await stage.turn(10 - Fault_LATER)
        assert stage.told.reasons().count("Pulling") == 2
        stage.engine.engine.missing.clear()
        await stage.turn(20)
        assert stage.ready


async def test_a_name_that_no_image_can_have_is_told(stage: Stage) -> None:
    async with stage.worker(web(container(image="App:1", command=FOREVER))):
        assert stage.state.waiting.reason == "InvalidImageName"
        why = "invalid reference format: repository name (library/App) must be lowercase"
        message = f'Failed to apply default image tag "App:1": couldn\'t parse image name "App:1": {why}'
        assert stage.state.waiting.message == message
        assert stage.told.reasons()[-2:] == ["InspectFailed", "Failed"]


async def test_an_engine_that_cannot_say_whether_there_is_an_image(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    async def refuse(name: str) -> None:
        raise EngineError("layers are broken")

    monkeypatch.setattr(stage.engine, "image", refuse)
    async with stage.worker(web()):
        await stage.until(lambda: "InspectFailed" in stage.told.reasons())
        await settle(10)
        assert stage.state.waiting.reason == "ImageInspectError"
        assert stage.state.waiting.message == 'Failed to inspect image "app:1": layers are broken'


async def test_an_image_that_must_be_there_and_is_not(stage: Stage) -> None:
    stage.engine.engine.missing.add("app:1")
    async with stage.worker(web(container(imagePullPolicy="Never", command=FOREVER))):
        assert stage.state.waiting.reason == "ErrImageNeverPull"
        assert stage.state.waiting.message == 'Container image "app:1" is not present with pull policy of Never'
        assert stage.engine.logins == []


async def test_two_containers_of_a_pod_share_the_back_off_of_an_image(stage: Stage) -> None:
    stage.engine.engine.missing.add("app:1")
    async with stage.worker(web(container("one", command=FOREVER), container("two", command=FOREVER))):
        reasons = [s.state.waiting.reason for s in stage.status.containerStatuses]
        assert reasons == ["ErrImagePull", "ImagePullBackOff"]
        assert stage.told.reasons().count("Pulling") == 1
        assert stage.status.containerStatuses[1].state.waiting.message.startswith(
            'Back-off pulling image "app:1": ErrImagePull: pull access denied'
        )


async def test_a_registry_that_is_down_has_a_reason_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(name: str, login: Login | None = None) -> Any:
        raise RegistryUnavailable("received unexpected HTTP status: 503 Service Unavailable")

    stage.engine.engine.missing.add("app:1")
    monkeypatch.setattr(stage.engine, "pull", refuse)
    async with stage.worker(web()):
        assert stage.state.waiting.reason == "RegistryUnavailable"
        why = "because the registry is unavailable: received unexpected HTTP status: 503 Service Unavailable"
        assert stage.state.waiting.message == f"image pull failed for app:1 {why}"


async def test_a_pull_shows_the_pods_logins_and_says_which_secrets_are_missing(stage: Stage) -> None:
    login = {"auths": {"docker.io": {"username": "u", "password": "p"}}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(login).encode()).decode()}

    async def held(of: Pod) -> tuple[list[Secret], list[str]]:
        return [Secret(type="kubernetes.io/dockerconfigjson", data=data)], ["other"]

    stage.engine.engine.missing.add("app:1")
    stage.means.pull_secrets = held
    async with stage.worker(web(imagePullSecrets=[LocalObjectReference(name="s"), LocalObjectReference(name="other")])):
        assert stage.engine.logins == [Login("u", "p")]
        message = "Unable to retrieve some image pull secrets (other); attempting to pull the image may not succeed."
        assert ("Warning", "FailedToRetrieveImagePullSecret", message) in stage.told.events


async def test_a_pod_with_an_unsafe_sysctl_is_rejected(stage: Stage) -> None:
    context = PodSecurityContext(sysctls=[Sysctl(name="kernel.msgmax", value="1")])
    async with stage.worker(web(securityContext=context)):
        assert (stage.status.phase, stage.status.reason) == ("Failed", "SysctlForbidden")
        assert stage.status.message == 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted'
        assert stage.told.events == [
            ("Warning", "SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted')
        ]
        assert stage.cache.of("u1") == ()


async def test_a_pods_room_is_free_before_its_end_is_told(stage: Stage) -> None:
    """Whoever hears of the end may send the next pod at once."""
    order: list[str] = []
    stage.means.admission = Rooms(order)
    report = stage.told.report

    def told(view: View, *, last: bool = False) -> None:
        report(view, last=last)
        order.append(stage.status.phase or "")

    stage.told.report = told  # type: ignore[method-assign]
    of = web()
    async with stage.worker(of) as worker:
        worker.update(deleted(of))
        await stage.turn(40)
    assert "Failed" in order
    assert "free" in order[: order.index("Failed")]


async def test_a_pod_that_fills_its_volume_is_evicted(stage: Stage) -> None:
    scratch = Volume(name="scratch", emptyDir=EmptyDirVolumeSource(sizeLimit="16Ki"))
    async with stage.worker(web(volumes=[scratch])) as worker:
        await stage.until(lambda: stage.told.statuses and stage.ready)
        (worker._layout.volume(scratch) / "file").write_bytes(bytes(50_000))
        await stage.turn(storage.PERIOD)
        await stage.until(lambda: "Evicted" in stage.told.reasons())
        await stage.until(lambda: stage.status.phase == "Failed" and stage.state.terminated)
        assert stage.status.reason == "Evicted"
        assert stage.status.message == 'Usage of EmptyDir volume "scratch" exceeds the limit "16Ki". '


async def test_a_missing_secret_is_a_configuration_error_until_it_is_there(stage: Stage) -> None:
    source = EnvVarSource(secretKeyRef=SecretKeySelector(name="s", key="k"))
    async with stage.worker(web(container(command=FOREVER, env=[EnvVar(name="X", valueFrom=source)]))):
        assert stage.state.waiting.reason == "CreateContainerConfigError"
        assert stage.state.waiting.message == 'secret "s" not found'


@pytest.mark.parametrize("name", ["none", "directory", "binary"])
async def test_a_seccomp_profile_that_cannot_be_read_is_told(stage: Stage, tmp_path: Path, name: str) -> None:
    (tmp_path / "seccomp/directory").mkdir(parents=True)
    (tmp_path / "seccomp/binary").write_bytes(b"\xff")
    profile = SeccompProfile(type="Localhost", localhostProfile=name)
    async with stage.worker(web(container(securityContext=SecurityContext(seccompProfile=profile)))):
        waiting = stage.state.waiting
        assert waiting.reason == "CreateContainerError"
        assert waiting.message.startswith(f'cannot load seccomp profile "{tmp_path}/seccomp/{name}": ')


async def test_a_container_starts_anew_while_the_api_server_does_not_answer(stage: Stage) -> None:
    source = EnvVarSource(secretKeyRef=SecretKeySelector(name="s", key="k"))
    stage.sources = Sources(secrets={"s": Secret(metadata=ObjectMeta(name="s"), data={"k": "djE="})})

    async def gone(of: Pod) -> Sources:
        raise errors.Unavailable("connection refused")

    main = container(command=["sleep", "5"], env=[EnvVar(name="X", valueFrom=source)])
    async with stage.worker(of := web(main)) as worker:
        stage.means.sources = gone
        await stage.turn(5)
        assert [r.attempt for r in stage.records() if r.running] == [1]
        assert stage.engine.engine.specs[stage.records()[-1].id].env == ("X=v1",)
        debugged = meta.clone(of)
        debugged.spec.ephemeralContainers = [EphemeralContainer(name="debug", image="debug:1", env=main.env)]
        worker.update(debugged)
        await stage.turn()
        (waiting,) = stage.status.ephemeralContainerStatuses
        assert waiting.state.waiting.message == "connection refused"
        assert not stage.running.done()


async def test_a_volume_that_cannot_be_set_up_keeps_the_pod_waiting(stage: Stage) -> None:
    volume = Volume(name="v", configMap=ConfigMapVolumeSource(name="m"))
    mount = VolumeMount(name="v", mountPath="/v")
    async with stage.worker(web(container(volumeMounts=[mount]), volumes=[volume])):
        await stage.until(lambda: "FailedMount" in stage.told.reasons())
        assert stage.told.events[-1][2] == 'MountVolume.SetUp failed for volume "v" : configmap "m" not found'
        await settle(100)
        assert stage.records("POD") == []
        stage.sources = Sources({"m": ConfigMap(metadata=ObjectMeta(name="m"), data={"a": "1"})})
        await stage.clock.advance(0.6)
        await stage.until(lambda: stage.ready)


async def test_what_a_volume_shows_follows_its_source(stage: Stage, tmp_path: Path) -> None:
    shown = tmp_path / "pods/u1/volumes/kubernetes.io~configmap/v/a"
    mount = VolumeMount(name="v", mountPath="/v")
    of = web(
        container(command=FOREVER, volumeMounts=[mount]),
        volumes=[Volume(name="v", configMap=ConfigMapVolumeSource(name="m"))],
    )
    async with stage.worker(of):
        assert not stage.ready
        stage.change(config_map("m", "1", a="old"))
        await stage.until(lambda: stage.ready)
        assert shown.read_text() == "old"
        stage.change(config_map("m", "2", a="new"))
        await stage.until(lambda: shown.read_text() == "new")


async def test_a_version_that_is_shown_already_is_not_read_again(stage: Stage) -> None:
    volume = Volume(name="v", configMap=ConfigMapVolumeSource(name="m"))
    stage.change(config_map("m", "1", a="old"))
    async with stage.worker(web(volumes=[volume])):
        await stage.until(lambda: stage.ready)
        reads = stage.reads
        stage.change(config_map("m", "1", a="old"))
        await stage.turn()
        assert stage.reads == reads


async def test_an_optional_source_that_goes_takes_its_files_along(stage: Stage, tmp_path: Path) -> None:
    shown = tmp_path / "pods/u1/volumes/kubernetes.io~configmap/v/a"
    stage.change(config_map("m", "1", a="old"))
    volume = Volume(name="v", configMap=ConfigMapVolumeSource(name="m", optional=True))
    async with stage.worker(web(volumes=[volume])):
        await stage.until(lambda: stage.ready)
        assert shown.exists()
        stage.change(None)
        await stage.until(lambda: not shown.exists())


async def test_a_renewed_token_is_shown_to_a_pod_that_runs(stage: Stage, tmp_path: Path) -> None:
    token = ServiceAccountTokenProjection(path="token", expirationSeconds=600)
    volume = Volume(
        name="v", projected=ProjectedVolumeSource(sources=[VolumeProjection(serviceAccountToken=token)])
    )  # fmt: skip
    shown = tmp_path / "pods/u1/volumes/kubernetes.io~projected/v/token"
    stage.sources = Sources(tokens={("", 600): b"first"})
    async with stage.worker(web(volumes=[volume])):
        await stage.until(lambda: stage.ready)
        before = shown.resolve()
        stage.sources = Sources(tokens={("", 600): b"second"})
        await stage.clock.advance(REFRESH + 0.1)
        await stage.until(lambda: shown.read_text() == "second")
        assert shown.resolve() != before  # another file, by one turn of a link: no reader sees a half


async def test_changed_labels_are_shown_at_once(stage: Stage, tmp_path: Path) -> None:
    shown = tmp_path / "pods/u1/volumes/kubernetes.io~downward-api/v/labels"
    item = DownwardAPIVolumeFile(path="labels", fieldRef=ObjectFieldSelector(fieldPath="metadata.labels"))
    of = web(volumes=[Volume(name="v", downwardAPI=DownwardAPIVolumeSource(items=[item]))])
    async with stage.worker(of) as worker:
        await stage.until(lambda: stage.told.statuses and stage.ready)
        changed = meta.clone(of)
        changed.metadata.labels = {"a": "new"}
        worker.update(changed)
        await stage.until(lambda: shown.read_text() == 'a="new"')


async def test_an_init_container_that_backs_off_is_told_of(stage: Stage) -> None:
    async with stage.worker(web(initContainers=[container("first", command=["false"])])):
        await stage.until(lambda: "BackOff" in stage.told.reasons())
        (words,) = (message for _, reason, message in stage.told.events if reason == "BackOff")
        assert words == "Back-off restarting failed container first in pod web_default(u1)"


async def test_a_program_that_cannot_be_started_is_an_error_and_then_a_backoff(stage: Stage) -> None:
    async with stage.worker(web(container(command=["/no/such/program"]))):
        assert stage.state.waiting.reason == "RunContainerError"
        await stage.turn(2)
        assert stage.records()[-1].attempt == 1
        await stage.turn(2)
        assert stage.state.waiting.reason == "CrashLoopBackOff"


async def test_the_readiness_probe_opens_and_closes_the_door(stage: Stage) -> None:
    probe = Probe(exec=ExecAction(command=["ready?"]), periodSeconds=5, failureThreshold=2)
    stage.answers.no["ready?"] = "not yet"
    async with stage.worker(web(container(command=FOREVER, readinessProbe=probe))):
        assert not stage.ready
        assert ("Warning", "Unhealthy", "Readiness probe failed: not yet") in stage.told.events
        stage.answers.no.clear()
        await stage.turn(5)
        assert stage.ready
        stage.answers.no["ready?"] = "broken"
        await stage.turn(5)
        assert stage.ready
        await stage.turn(5)
        assert not stage.ready
        assert stage.status.containerStatuses[0].restartCount == 0


async def test_a_pod_that_ends_is_asked_for_its_readiness_alone(stubborn: Stage) -> None:
    def asking(command: str) -> Probe:
        return Probe(exec=ExecAction(command=[command]), periodSeconds=5)

    answers = stubborn.means.handlers = stubborn.answers
    answers.no["ready?"] = "no"
    main = container(command=FOREVER, readinessProbe=asking("ready?"), livenessProbe=asking("alive?"))
    async with stubborn.worker(of := web(main)) as worker:
        worker.update(deleted(of))
        await stubborn.turn()
        answers.asked.clear()
        await stubborn.turn(5)
        assert answers.asked == ["ready?"]
        assert not stubborn.status.containerStatuses[0].ready
        answers.no.clear()
        await stubborn.turn(5)
        assert stubborn.status.containerStatuses[0].ready


async def test_a_restarted_kubelet_takes_over_what_was_started_but_not_ready(stage: Stage) -> None:
    probe = Probe(exec=ExecAction(command=["up?"]), periodSeconds=5)
    of = web(container(command=FOREVER, startupProbe=probe, readinessProbe=probe))
    async with stage.worker(of) as worker:
        (record,) = stage.records()
        of.status.containerStatuses = [
            ContainerStatus(name="main", containerID=f"docker://{record.id}", started=True, ready=False)
        ]
        assert worker._before(record.id) == Health(ready=False, started=True)


async def test_a_failed_liveness_probe_restarts_the_container(stage: Stage) -> None:
    probe = Probe(exec=ExecAction(command=["alive?"]), periodSeconds=1, failureThreshold=3)
    stage.answers.no["alive?"] = "no"
    async with stage.worker(web(container(command=FOREVER, livenessProbe=probe))):
        await stage.turn(2.5)
        assert stage.records()[-1].attempt == 1
        assert ("Normal", "Killing", "Container main failed liveness probe, will be restarted") in stage.told.events


class Polite(Simulated):
    """Containers here obey their signal and say that all went well."""

    async def signal(self, container: str, signal: str) -> None:
        self._end(container, 0)


async def test_what_a_probe_has_ended_is_restarted_even_if_it_ended_well(stage: Stage) -> None:
    stage.engine.__class__ = Polite
    probe = Probe(exec=ExecAction(command=["alive?"]), periodSeconds=1, failureThreshold=1)
    stage.answers.no["alive?"] = "no"
    async with stage.worker(web(container(command=FOREVER, livenessProbe=probe), policy="OnFailure")):
        await stage.turn(1)
        assert next((r.attempt, r.exit_code) for r in stage.records()) == (0, 0)
        assert len(stage.records()) == 2
        assert stage.status.phase == "Running"


async def test_the_other_probes_wait_for_the_startup_probe(stage: Stage) -> None:
    fields = {
        "startupProbe": Probe(exec=ExecAction(command=["started?"]), periodSeconds=1, failureThreshold=30),
        "livenessProbe": Probe(exec=ExecAction(command=["alive?"])),
    }
    stage.answers.no["started?"] = "no"
    async with stage.worker(web(container(command=FOREVER, **fields))):
        await stage.turn(3)
        assert set(stage.answers.asked) == {"started?"}
        assert stage.status.containerStatuses[0].started is False
        stage.answers.no.clear()
        await stage.turn(1)
        assert stage.answers.asked[-1] == "alive?"
        assert stage.ready


async def test_what_did_not_start_in_time_is_asked_nothing_else(stubborn: Stage) -> None:
    def asking(command: str) -> Probe:
        return Probe(exec=ExecAction(command=[command]), periodSeconds=1, failureThreshold=1)

    answers = stubborn.means.handlers = stubborn.answers
    answers.no |= {"started?": "no", "alive?": "no", "ready?": "no"}
    main = container(
        command=FOREVER,
        startupProbe=asking("started?"),
        livenessProbe=asking("alive?"),
        readinessProbe=asking("ready?"),
    )
    async with stubborn.worker(web(main)):
        await stubborn.turn(5)
        assert answers.asked == ["started?"]
        assert ("Normal", "Killing", "Container main failed startup probe, will be restarted") in stubborn.told.events


async def test_a_failed_post_start_hook_kills_the_container(stage: Stage) -> None:
    hook = Lifecycle(postStart=LifecycleHandler(exec=ExecAction(command=["hook"])))
    stage.answers.no["hook"] = "no"
    async with stage.worker(web(container(command=FOREVER, lifecycle=hook), policy="Never")):
        assert ("Warning", "FailedPostStartHook", "PostStartHook failed") in stage.told.events
        assert stage.status.phase == "Failed"


async def test_a_pod_past_its_deadline_fails(stage: Stage) -> None:
    of = web(activeDeadlineSeconds=60)
    of.status.startTime = "2023-11-14T22:13:20Z"
    async with stage.worker(of):
        assert stage.ready
        await stage.turn(61)
        assert (stage.status.phase, stage.status.reason) == ("Failed", "DeadlineExceeded")


async def test_a_pod_that_had_failed_before_its_deadline_did_not_fail_for_it(stage: Stage) -> None:
    of = web(container(command=["false"]), policy="Never", activeDeadlineSeconds=60)
    of.status.startTime = "2023-11-14T22:13:20Z"
    async with stage.worker(of) as worker:
        ended = meta.clone(of)
        ended.status = stage.status
        assert ended.status.phase == "Failed"
        worker.update(ended)
        await stage.turn(61)
        worker.wake()
        await stage.turn()
        assert (stage.status.phase, stage.status.reason) == ("Failed", "")
        assert "DeadlineExceeded" not in stage.told.reasons()


async def test_the_termination_message_is_what_the_container_wrote(stage: Stage, tmp_path: Path) -> None:
    async with stage.worker(web(container(command=["sleep", "10"]), policy="Never")):
        (tmp_path / "pods/u1/containers/main/0.log").write_text("because")
        await stage.turn(10)
        assert stage.state.terminated.message == "because"


async def test_the_last_words_of_a_log_may_stand_for_the_message(stage: Stage) -> None:
    talker = container(command=["sh", "-c", "echo help; false"], terminationMessagePolicy="FallbackToLogsOnError")
    async with stage.worker(web(talker, policy="Never")):
        assert stage.state.terminated.message == "help\n"


async def test_a_finished_pod_gives_its_address_back_and_keeps_its_containers(stage: Stage) -> None:
    async with stage.worker(web(container(command=["true"]), policy="Never")):
        assert stage.status.phase == "Succeeded"
        assert stage.means.address_of("u1") == ""
        assert [r.name for r in stage.cache.of("u1")] == ["main"]


async def test_the_engines_slots_are_not_held_by_a_waiting_pod(stage: Stage) -> None:
    stage.engine.engine.missing.add("app:1")
    async with stage.worker(web(volumes=[Volume(name="w", emptyDir=EmptyDirVolumeSource())])):
        await stage.until(lambda: "Failed" in stage.told.reasons())
        await settle(100)
        assert stage.means.starts._value == 4


async def test_a_gate_that_somebody_opens_makes_the_pod_ready(stage: Stage) -> None:
    gated = pod(container(command=FOREVER), readinessGates=[PodReadinessGate(conditionType="example.com/open")])
    async with stage.worker(gated) as worker:
        await stage.turn()
        assert not meta.is_true(Pod(status=stage.told.statuses[-1]), "Ready")
        opened = meta.clone(gated)
        opened.status.conditions = [PodCondition(type="example.com/open", status="True")]
        worker.update(opened)
        await stage.turn()
        assert meta.is_true(Pod(status=stage.told.statuses[-1]), "Ready")


async def test_a_debug_container_without_resources_is_started(stage: Stage) -> None:
    plain = pod(container(command=FOREVER))
    async with stage.worker(plain) as worker:
        debugged = meta.clone(plain)
        debugged.spec.ephemeralContainers = [EphemeralContainer(name="debug", image="debug:1", command=FOREVER)]
        worker.update(debugged)
        await stage.turn()
        (status,) = stage.told.statuses[-1].ephemeralContainerStatuses
        assert (status.name, status.state.running is not None) == ("debug", True)
