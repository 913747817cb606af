"""An engine without containers: for a whole cluster in one process, a thousand nodes on a laptop, a day in a second.

It plays a few programs that tests and examples use and lets everything else run until it is stopped:
`true`, `false`, `sleep N`, `echo WORDS`, `exit N`, and `sh -c` of those joined by `;` or `&&`.  What else can be asked
of a container stands in `behaviours`.
Its pods are in this process's own network namespace: a port forwarded to one of them leads to this machine's loopback.
"""

import asyncio
import fnmatch
import os
import random
import shlex
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from prometheus_client.registry import Collector

from api import times
from api.types import Pod
from kubelet.runtime import behaviours
from kubelet.runtime.behaviours import Behaviour, End
from kubelet.runtime.interfaces import (
    ADDRESS,
    CLUSTER,
    CONTAINER,
    KIND,
    NODE,
    PAUSE,
    Amounts,
    Change,
    EngineError,
    EngineUnreachable,
    Image,
    Login,
    LogOptions,
    NoSuchContainer,
    NoSuchImage,
    Process,
    Record,
    Spec,
    State,
    Version,
)  # fmt: skip
from machinery.clocks import SYSTEM, Clock

SIGNALS = {"SIGKILL": 9, "SIGTERM": 15, "SIGINT": 2, "SIGQUIT": 3, "SIGHUP": 1}
CHANGES_KEPT = 10_000
FIRST_PID = 1 << 22  # the first number that no process can have


@dataclass(slots=True)
class Engine:
    """What there is, for all nodes that share it.  `latency` is how long a start takes, at least and at most."""

    clock: Clock = SYSTEM
    latency: tuple[float, float] = (0.0, 0.0)
    between: Callable[[float, float], float] = random.uniform
    missing: set[str] = field(default_factory=set)  # patterns of images that are not there and cannot be pulled
    reachable: Callable[[], bool] = lambda: True
    specs: dict[str, Spec] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)  # of containers → their ids
    records: dict[str, Record] = field(default_factory=dict)
    programs: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    logs: defaultdict[str, list[tuple[int, bytes, float]]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[str, asyncio.Event] = field(default_factory=dict)
    count: int = 0

    def behaviour(self, container: str) -> Behaviour:
        """Raises EngineError."""
        return _behaviour(self.specs[container])

    def uses(self, pid: int) -> tuple[int, int] | None:
        """Nanoseconds of processor since the start, and bytes of memory, of the container whose process that is."""
        record = self.records.get(_identity(pid - FIRST_PID))
        if record is None or not record.running:
            return None
        behaviour = self.behaviour(record.id)
        return int(behaviour.cpu * (self.clock.now() - record.started_at) * 1e9), behaviour.memory


class Simulated:
    """Implements `interfaces.Runtime` for the containers of one cluster and node; others may share its `engine`."""

    def __init__(self, cluster: str, node: str, *, clock: Clock = SYSTEM, engine: Engine | None = None) -> None:
        self.engine = engine or Engine(clock)
        self.logins: list[Login | None] = []  # with which pulls were tried
        self._labels = {CLUSTER: cluster, NODE: node}
        self._clock = self.engine.clock
        # What an earlier kubelet of this node has left running.
        self._mine = {i: r for i, r in self.engine.records.items() if self._labels.items() <= r.labels.items()}
        self._listeners: list[asyncio.Queue[tuple[Change, str]]] = []

    @property
    def collectors(self) -> Sequence[Collector]:
        return ()

    def close(self) -> None:
        for container in self._mine:
            if program := self.engine.programs.get(container):
                program.cancel()

    def _reach(self) -> Engine:
        if not self.engine.reachable():
            raise EngineUnreachable("cannot connect to the simulated engine: connection refused")
        return self.engine

    def _put(self, record: Record) -> None:
        self.engine.records[record.id] = record
        if self._labels.items() <= record.labels.items():
            self._mine[record.id] = record

    async def version(self) -> Version:
        self._reach()
        return Version("simulated", "1.0")

    async def containers(self) -> list[Record]:
        self._reach()
        return [*self._mine.values()]

    async def inspect(self, container: str) -> Record:
        record = self._reach().records.get(container)
        if record is None:
            raise NoSuchContainer(f"No such container: {container}")
        return record

    async def create(self, spec: Spec) -> str:
        engine = self._reach()
        if old := engine.names.get(spec.name):
            if engine.records[old].running:
                raise EngineError(
                    f'Conflict. The container name "/{spec.name}" is already in use by container "{old}".'
                )
            await self.remove(old)
        if self._is_missing(spec.image):
            raise NoSuchImage(f"No such image: {spec.image}")
        if refusal := _behaviour(spec).create_error:
            raise EngineError(refusal)
        engine.count += 1
        identity = _identity(engine.count)
        engine.specs[identity], engine.names[spec.name] = spec, identity
        engine.ended[identity] = asyncio.Event()
        self._put(Record(
            id=identity, state=State.CREATED, labels=dict(spec.labels), image=spec.image,
            image_id=_image_id(spec.image),
            created_at=self._clock.now(), stop_signal=spec.stop_signal or "SIGTERM", tty=spec.tty,
            amounts=Amounts(spec.cpu_shares, spec.cpu_quota, spec.memory),
        ))  # fmt: skip
        return identity

    async def start(self, container: str) -> None:
        record = await self.inspect(container)
        if record.running:
            return
        spec = self.engine.specs[container]
        behaviour = _behaviour(spec)
        takes = self.engine.between(*self.engine.latency) if behaviour.start is None else behaviour.start
        if takes:
            await self._clock.sleep(takes)
        command = [*(spec.entrypoint or ()), *(spec.arguments or ())]
        why = behaviour.start_error
        if command[:1] == ["/no/such/program"]:
            why = f'exec: "{command[0]}": stat {command[0]}: no such file or directory: unknown'
        if why:
            self._put(replace(record, error=why, exit_code=127))
            raise EngineError(why)
        # A port is forwarded into the network of a sandbox's process; what others use is asked by theirs.
        pid = os.getpid() if record.is_pause else FIRST_PID + int(container, 16)
        self._put(replace(record, state=State.RUNNING, started_at=self._clock.now(), finished_at=0.0, pid=pid))
        self.engine.programs[container] = asyncio.create_task(self._play(container, command, behaviour.end))
        self._tell(Change.STARTED, container)

    async def _play(self, container: str, command: Sequence[str], end: End | None) -> None:
        if end is not None:
            await self._clock.sleep(end.after)
            self._end(container, end.code, out_of_memory=end.out_of_memory)
            return
        code = 0
        for step in steps(command):
            match step:
                case ["true"]:
                    code = 0
                case ["false"]:
                    code = 1
                case ["exit", number]:
                    code = int(number)
                    break
                case ["echo", *words]:
                    said = (" ".join(words) + "\n").encode()
                    self.engine.logs[container].append((1, said, self._clock.now()))
                case ["sleep", seconds] if seconds.replace(".", "").isdigit():
                    await self._clock.sleep(float(seconds))
                case _:
                    await asyncio.get_running_loop().create_future()
        self._end(container, code)

    def _end(self, container: str, code: int, *, out_of_memory: bool = False) -> None:
        record = self.engine.records.get(container)
        if record is None or not record.running:
            return
        self._put(replace(
            record, state=State.EXITED, exit_code=code, finished_at=self._clock.now(), pid=0, oom_killed=out_of_memory
        ))  # fmt: skip
        self.engine.ended[container].set()
        self._tell(Change.ENDED, container)

    async def update(self, container: str, amounts: Amounts) -> None:
        self._put(replace(await self.inspect(container), amounts=amounts))

    async def signal(self, container: str, signal: str) -> None:
        record = self._reach().records.get(container)
        if record is None or not record.running:
            return
        self.engine.programs[container].cancel()
        self._end(container, 128 + SIGNALS.get(signal, 15))

    async def remove(self, container: str) -> None:
        engine = self._reach()
        if container not in engine.records:
            return
        await self.signal(container, "SIGKILL")
        if program := engine.programs.pop(container, None):
            program.cancel()
        self._mine.pop(container, None)
        del engine.records[container], engine.names[engine.specs.pop(container).name]
        engine.ended.pop(container).set()
        engine.logs.pop(container, None)
        self._tell(Change.GONE, container)

    def _tell(self, change: Change, container: str) -> None:
        for listener in self._listeners:
            if listener.full():  # like a real engine, it forgets; unlike one, it says so
                while not listener.empty():
                    listener.get_nowait()
                listener.put_nowait((Change.RELIST, ""))
            else:
                listener.put_nowait((change, container))

    async def changes(self) -> AsyncIterator[tuple[Change, str]]:
        queue: asyncio.Queue[tuple[Change, str]] = asyncio.Queue(CHANGES_KEPT)
        self._listeners.append(queue)
        try:
            yield Change.RELIST, ""
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    def _is_missing(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.engine.missing)

    async def image(self, name: str) -> Image | None:
        self._reach()
        return None if self._is_missing(name) else Image(_image_id(name), (name,), 1_000_000)

    async def pull(self, name: str, login: Login | None = None) -> Image:
        self.logins.append(login)
        image = await self.image(name)
        if image is None:
            raise EngineError(f"pull access denied for {name}, repository does not exist or may require 'docker login'")
        return image

    async def images(self) -> list[Image]:
        used = {s.image for s in self._reach().specs.values()}
        return [Image(_image_id(n), (n,), 1_000_000) for n in sorted(used)]

    async def used_images(self) -> set[str]:
        return {record.image_id for record in self._reach().records.values()}

    async def remove_image(self, image: Image) -> None:
        return

    async def unpack(self, image: str, directory: Path) -> None:
        return

    async def files(self, image: str, paths: Sequence[str]) -> list[bytes]:
        return [b"" for _ in paths]

    async def logs(self, container: str, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]:
        record = await self.inspect(container)
        known = [
            (c, f"{times.format_micro(at)} ".encode() + d if options.timestamps else d)
            for c, d, at in self.engine.logs.get(record.id, ())
            if at >= options.since
        ]
        for piece in known if options.tail is None else known[len(known) - min(len(known), options.tail) :]:
            yield piece
        if options.follow and record.running:
            await self.engine.ended[record.id].wait()

    @asynccontextmanager
    async def execute(self, container: str, process: Process) -> AsyncIterator["Played"]:
        if not (await self.inspect(container)).running:
            raise EngineError(f"Container {container} is not running")
        failing = self.engine.behaviour(container).never_ready
        yield Played(Process(("false",)) if failing else process)

    @asynccontextmanager
    async def attach(self, container: str, *, stdin: bool) -> AsyncIterator["Played"]:
        await self.inspect(container)
        yield Played(Process(("true",), stdin))

    async def written(self, container: str) -> int:
        return self.engine.behaviour((await self.inspect(container)).id).disk

    def is_healthy(self, container: str) -> bool:
        """What a program that can be asked over the network would answer."""
        record = self.engine.records.get(container)
        return record is not None and record.running and not self.engine.behaviour(container).never_ready

    async def volume(self, name: str) -> str:
        raise EngineError(f"get {name}: no such volume")

    async def remove_volumes(self, prefix: str) -> None:
        return

    def process(self) -> int | None:
        return None


class Played:
    """Implements `interfaces.Stream` for the programs that say something: `echo`, `yes` without end, and `cat` of its
    input."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._input: asyncio.Queue[bytes] = asyncio.Queue(1000)
        self._code = 0

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        if self._process.command == ("cat",):
            while data := await self._input.get():
                yield 1, data
            return
        for step in steps(self._process.command):
            match step:
                case ["echo", *words]:
                    yield 1, (" ".join(words) + "\n").encode()
                case ["yes"]:
                    while True:
                        yield 1, b"y\n" * 16384
                case ["false"]:
                    self._code = 1
                case ["exit", number]:
                    self._code = int(number)
                    return

    async def write(self, data: bytes) -> None:
        await self._input.put(data)

    async def close_input(self) -> None:
        await self._input.put(b"")

    async def resize(self, width: int, height: int) -> None:
        return

    async def exit_code(self) -> int:
        return self._code


class SimulatedNetwork:
    """Implements `Network`: addresses that lead nowhere."""

    async def problem(self) -> str:
        return ""

    async def prepare(self) -> None:
        return

    def known(self, sandbox: Record) -> str:
        return sandbox.labels.get(ADDRESS, "")

    async def attach(self, pod: Pod, sandbox: Record, address: str) -> str:
        return address

    async def detach(self, uid: str) -> None:
        return

    async def sweep(self, uids: Callable[[], Iterable[str]]) -> None:
        return


def steps(command: Sequence[str]) -> list[list[str]]:
    """The commands that a command line consists of."""
    if tuple(command[:2]) in (("sh", "-c"), ("/bin/sh", "-c")) and len(command) > 2:
        return [shlex.split(part) for part in command[2].replace("&&", ";").split(";") if part.strip()]
    return [list(command)]


def _behaviour(spec: Spec) -> Behaviour:
    if spec.labels.get(KIND) == PAUSE:  # with it, all containers of the pod would end and start anew
        return Behaviour()
    try:
        return behaviours.of(spec.annotations, spec.labels.get(CONTAINER, ""))
    except behaviours.Misspelt as e:
        raise EngineError(str(e)) from e


def _identity(number: int) -> str:
    return f"{number:064x}"


def _image_id(name: str) -> str:
    return "sha256:" + name.encode().hex().ljust(64, "0")[:64]
