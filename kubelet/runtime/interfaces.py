"""What the kubelet needs of a container engine.

An engine keeps containers with labels and tells when they change.  Everything else (pods, sandboxes, restarts) is the
kubelet's own: an engine that can do what stands here can run pods.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from prometheus_client.registry import Collector

CLUSTER = "io.wherry.cluster"
NODE = "io.wherry.node"
KIND = "io.wherry.kind"
ATTEMPT = "io.wherry.attempt"
# Seconds that must pass after this container's end before it is started again; computed when it was created.
BACKOFF = "io.wherry.backoff"
# How often all containers of the pod had been asked to start anew when this one was made; absent is never.
ROUND = "io.wherry.round"
# On a pause container, the runtime that its pod's containers run by, if that is not the engine's default.
RUNTIME = "io.wherry.runtime"
# Of the container's spec, so that a changed spec is seen after a restart of the kubelet too.
HASH = "io.wherry.hash"
# What it was to have of cpu and memory when it was made.
AMOUNTS = "io.wherry.amounts"
# The id of the pause container that it joined; on a pause container, the pod's address.
SANDBOX = "io.wherry.sandbox"
ADDRESS = "io.wherry.address"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_NAME = "io.kubernetes.pod.name"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER = "io.kubernetes.container.name"

PAUSE = "pause"  # value of KIND; the other is "container"


class EngineError(Exception):
    """The engine refused or failed; the message is the engine's own."""


class NoSuchContainer(EngineError):
    """It is gone, or never was."""


class NoSuchImage(EngineError):
    """The image is not on this machine."""


class RegistryUnavailable(EngineError):
    """The registry of an image answers that it cannot answer."""


class EngineUnreachable(EngineError):
    """Nobody answers at the engine's socket."""


class State(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Amounts:
    """Of cpu and memory, in the engine's units; 0 is without limit."""

    shares: int = 0
    quota: int = 0  # microseconds in 100 milliseconds
    memory: int = 0  # bytes

    @classmethod
    def parse(cls, text: str) -> "Amounts | None":
        """What `str` makes of them."""
        return cls(*map(int, text.split(","))) if text else None

    def __str__(self) -> str:
        return f"{self.shares},{self.quota},{self.memory}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is to the kernel, by numbers."""

    user: int
    group: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One container as the engine knows it.  Times are seconds since the epoch, 0 where there is none."""

    id: str
    state: State
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    image_id: str = ""
    pid: int = 0
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    oom_killed: bool = False
    log_path: str = ""  # on the machine; "" where the engine keeps no file
    error: str = ""  # why the engine could not start it
    stop_signal: str = "SIGTERM"
    tty: bool = False
    amounts: Amounts = field(default_factory=Amounts)
    identity: Identity | None = None  # of its first process while that runs, where it can be known
    again: bool = False  # the kubelet ended it so that another instance follows, whatever the exit code
    message: str = ""  # the termination message, filled in by the kubelet once the container has ended

    @property
    def uid(self) -> str:
        return self.labels.get(POD_UID, "")

    @property
    def name(self) -> str:
        """The container's name within its pod."""
        return self.labels.get(CONTAINER, "")

    @property
    def is_pause(self) -> bool:
        return self.labels.get(KIND) == PAUSE

    @property
    def attempt(self) -> int:
        return int(self.labels.get(ATTEMPT, "0"))

    @property
    def round(self) -> int:
        return int(self.labels.get(ROUND, "0"))

    @property
    def backoff(self) -> float:
        return float(self.labels.get(BACKOFF, "0"))

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING

    @property
    def ended(self) -> bool:
        """It ran and stopped, or could not be started."""
        return self.state is State.EXITED or (self.state is State.CREATED and bool(self.error))


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` is a path on the machine that must exist, or with `create` is made a directory where it is missing; or,
    with `tmpfs`, the name of a volume in memory of at most `size` bytes, if that is not 0; or, with `device`, a
    device, which is given to the container under another name."""

    source: str
    target: str
    read_only: bool = False
    tmpfs: bool = False
    create: bool = False
    device: bool = False
    size: int = 0
    group: int | None = None  # of a volume in memory, whose members may write there
    propagation: str = ""  # "" private, rslave, rshared
    recursive: str = ""  # recursiveReadOnly, of one that is read-only: "" means Disabled
    permissions: str = ""  # of a device: r, w, m; "" is all, or r of one that is read-only


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A container to be created.  None in `entrypoint` and `arguments` means the image's own."""

    name: str
    image: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)  # the pod's
    entrypoint: tuple[str, ...] | None = None
    arguments: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    network: str = ""  # none, host, container:ID
    ipc: str = ""  # shareable, host, container:ID
    pid: str = ""  # "" its own, host, container:ID
    mounts: tuple[Mount, ...] = ()
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    cpu_shares: int = 0
    cpu_quota: int = 0  # microseconds in 100 milliseconds; 0 without limit
    memory: int = 0  # bytes; 0 without limit
    cgroup_parent: str = ""  # the control group to stand in; "" is the engine's own choice
    oom_score: int = 0
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    privileged: bool = False
    all_devices: bool = False
    security: tuple[str, ...] = ()
    read_only_root: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    runtime: str = ""  # one of the engine's; "" is its default


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    names: tuple[str, ...]
    size: int
    user: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """What a registry asks for: a name and a password, or a token."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Version:
    name: str  # docker
    version: str
    cgroup_driver: str = "cgroupfs"
    recursive_read_only: bool = False  # can it make read-only what is mounted below a mount?
    directory: str = ""  # of the machine's, where images and containers are kept; "" if that is nowhere
    runtimes: tuple[str, ...] = ()  # the handlers that a RuntimeClass may name; none: whatever it names


class Change(StrEnum):
    """What an engine's stream of changes says."""

    RELIST = "relist"  # anything may have changed: the stream has just begun, or events were lost
    STARTED = "started"
    ENDED = "ended"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Process:
    """A process to be started inside a running container, by `Runtime.execute`."""

    command: tuple[str, ...]
    stdin: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class LogOptions:
    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: float = 0.0  # seconds since the epoch
    stdout: bool = True
    stderr: bool = True
    tty: bool | None = None  # whether the container has one, for who knows; None: the engine is asked


class Stream(Protocol):
    """The connection to a process: what it writes, what it reads."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(1, what it wrote to stdout) or (2, to stderr), until it closes both.  With a tty all is stdout."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def close_input(self) -> None:
        """The process reads end of file; its output goes on."""
        ...

    async def resize(self, width: int, height: int) -> None: ...

    async def exit_code(self) -> int:
        """Of an executed process, once its output has ended."""
        ...


class Runtime(Protocol):
    """Safe to call from any number of tasks.  Every method raises EngineError or one of its kinds."""

    @property
    def collectors(self) -> Sequence[Collector]:
        """What it counts of its own work."""
        ...

    async def version(self) -> Version: ...

    async def containers(self) -> list[Record]:
        """Every container of this cluster and node, ended ones included."""
        ...

    async def inspect(self, container: str) -> Record: ...

    async def create(self, spec: Spec) -> str:
        """The new container's id.

        A container of that name that does not run is replaced.  One that runs and is somebody else's keeps the name,
        and the new one gets another; if it has all the labels of the new one, it is that one, and this is refused.
        """
        ...

    async def start(self, container: str) -> None: ...

    async def update(self, container: str, amounts: Amounts) -> None:
        """Give a running container these, at once."""
        ...

    async def signal(self, container: str, signal: str) -> None:
        """Nothing happens if it is not running."""
        ...

    async def remove(self, container: str) -> None:
        """Kills it first where it runs.  It is no error if it is gone."""
        ...

    def changes(self) -> AsyncIterator[tuple[Change, str]]:
        """(what, id), beginning with RELIST; reconnects by itself, and says RELIST again then.  Never ends."""
        ...

    async def image(self, name: str) -> Image | None: ...

    async def pull(self, name: str, login: Login | None = None) -> Image:
        """Fetches it from its registry."""
        ...

    async def images(self) -> list[Image]:
        """All that the engine has, whoever they belong to."""
        ...

    async def used_images(self) -> set[str]:
        """The ids of those that containers have, whoever made them and whether or not they run."""
        ...

    async def remove_image(self, image: Image) -> None:
        """All its names, and itself with the last.  Refused for one that a container has; no error if it is gone."""
        ...

    async def unpack(self, image: str, directory: Path) -> None:
        """Write the files of an image that is there into an empty directory."""
        ...

    async def files(self, image: str, paths: Sequence[str]) -> list[bytes]:
        """What some small files of an image that is there contain; b"" for one that it does not have."""
        ...

    def logs(self, container: str, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]: ...

    def execute(self, container: str, process: Process) -> AbstractAsyncContextManager[Stream]: ...

    def attach(self, container: str, *, stdin: bool) -> AbstractAsyncContextManager[Stream]: ...

    async def written(self, container: str) -> int:
        """Bytes of files that it has changed or added, outside of all mounts."""
        ...

    async def volume(self, name: str) -> str:
        """Where, in the engine's mount namespace, a volume in memory is that something has mounted."""
        ...

    async def remove_volumes(self, prefix: str) -> None:
        """The volumes in memory whose names begin so."""
        ...

    def process(self) -> int | None:
        """The engine's own, which makes mounts in its mount namespace; None if there is none that can be known."""
        ...
