"""An engine without containers: for a whole cluster in one process, a thousand nodes on a laptop, a day in a second.

It plays a few programs that tests and examples use and lets everything else run until it is stopped:
`true`, `false`, `sleep N`, `echo WORDS`, `exit N`, and `sh -c` of those joined by `;` or `&&`.
Its pods are in this process's own network namespace: a port forwarded to one of them leads to this machine's loopback.
"""

import asyncio
import os
import shlex
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from api import times
from api.types import Pod
from kubelet.runtime.interfaces import (
    ADDRESS,
    CLUSTER,
    NODE,
    Amounts,
    Change,
    EngineError,
    Image,
    Login,
    LogOptions,
    NoSuchContainer,
    Process,
    Record,
    Spec,
    State,
    Version,
)  # fmt: skip
from machinery.clocks import SYSTEM, Clock

SIGNALS = {"SIGKILL": 9, "SIGTERM": 15, "SIGINT": 2, "SIGQUIT": 3, "SIGHUP": 1}
CHANGES_KEPT = 10_000


class Simulated:
    """Implements `interfaces.Runtime`. `delay` is how long each start takes."""

    def __init__(self, cluster: str, node: str, *, clock: Clock = SYSTEM, delay: float = 0.0) -> None:
        self.missing: set[str] = set()  # images that are not there and cannot be pulled
        self.logins: list[Login | None] = []  # with which pulls were tried
        self.sizes: dict[str, int] = {}  # what containers have written, by their ids
        self._labels = {CLUSTER: cluster, NODE: node}
        self._clock = clock
        self._delay = delay
        self._records: dict[str, Record] = {}
        self._specs: dict[str, Spec] = {}
        self._programs: dict[str, asyncio.Task[None]] = {}
        self._logs: defaultdict[str, list[tuple[int, bytes, float]]] = defaultdict(list)
        self._ended: dict[str, asyncio.Event] = {}
        self._listeners: list[asyncio.Queue[tuple[Change, str]]] = []
        self._count = 0

    def close(self) -> None:
        for program in self._programs.values():
            program.cancel()

    async def version(self) -> Version:
        return Version("simulated", "1.0")

    async def containers(self) -> list[Record]:
        return [r for r in self._records.values() if self._labels.items() <= r.labels.items()]

    async def inspect(self, container: str) -> Record:
        record = self._records.get(container)
        if record is None:
            raise NoSuchContainer(f"No such container: {container}")
        return record

    async def create(self, spec: Spec) -> str:
        for old in [i for i, s in self._specs.items() if s.name == spec.name]:
            if self._records[old].state is not State.CREATED:
                raise EngineError(
                    f'Conflict. The container name "/{spec.name}" is already in use by container "{old}".'
                )
            await self.remove(old)
        if spec.image in self.missing:
            raise EngineError(f"No such image: {spec.image}")
        self._count += 1
        identity = f"{self._count:064x}"
        self._specs[identity] = spec
        self._ended[identity] = asyncio.Event()
        self._records[identity] = Record(
            id=identity, state=State.CREATED, labels=dict(spec.labels), image=spec.image,
            image_id=_image_id(spec.image),
            created_at=self._clock.now(), stop_signal=spec.stop_signal or "SIGTERM", tty=spec.tty,
            amounts=Amounts(spec.cpu_shares, spec.cpu_quota, spec.memory),
        )  # fmt: skip
        return identity

    async def start(self, container: str) -> None:
        record = await self.inspect(container)
        if record.running:
            return
        if self._delay:
            await self._clock.sleep(self._delay)
        spec = self._specs[container]
        command = [*(spec.entrypoint or ()), *(spec.arguments or ())]
        if command[:1] == ["/no/such/program"]:
            why = f'exec: "{command[0]}": stat {command[0]}: no such file or directory: unknown'
            self._records[container] = replace(record, error=why, exit_code=127)
            raise EngineError(why)
        self._records[container] = replace(
            record, state=State.RUNNING, started_at=self._clock.now(), finished_at=0.0, pid=os.getpid()
        )
        self._programs[container] = asyncio.create_task(self._play(container, command))
        self._tell(Change.STARTED, container)

    async def _play(self, container: str, command: Sequence[str]) -> None:
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
                    self._logs[container].append((1, (" ".join(words) + "\n").encode(), self._clock.now()))
                case ["sleep", seconds] if seconds.replace(".", "").isdigit():
                    await self._clock.sleep(float(seconds))
                case _:
                    await asyncio.get_running_loop().create_future()
        self._end(container, code)

    def _end(self, container: str, code: int) -> None:
        record = self._records.get(container)
        if record is None or not record.running:
            return
        self._records[container] = replace(
            record, state=State.EXITED, exit_code=code, finished_at=self._clock.now(), pid=0
        )
        self._ended[container].set()
        self._tell(Change.ENDED, container)

    async def update(self, container: str, amounts: Amounts) -> None:
        self._records[container] = replace(await self.inspect(container), amounts=amounts)

    async def signal(self, container: str, signal: str) -> None:
        record = self._records.get(container)
        if record is None or not record.running:
            return
        self._programs[container].cancel()
        self._end(container, 128 + SIGNALS.get(signal, 15))

    async def remove(self, container: str) -> None:
        if container not in self._records:
            return
        await self.signal(container, "SIGKILL")
        if program := self._programs.pop(container, None):
            program.cancel()
        del self._records[container], self._specs[container]
        self._ended.pop(container).set()
        self._logs.pop(container, None)
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

    async def image(self, name: str) -> Image | None:
        return None if name in self.missing else Image(_image_id(name), (name,), 1_000_000)

    async def pull(self, name: str, login: Login | None = None) -> Image:
        self.logins.append(login)
        image = await self.image(name)
        if image is None:
            raise EngineError(f"pull access denied for {name}, repository does not exist or may require 'docker login'")
        return image

    async def images(self) -> list[Image]:
        return [Image(_image_id(n), (n,), 1_000_000) for n in sorted({s.image for s in self._specs.values()})]

    async def used_images(self) -> set[str]:
        return {record.image_id for record in self._records.values()}

    async def remove_image(self, image: Image) -> None:
        return

    async def unpack(self, image: str, directory: Path) -> None:
        return

    async def logs(self, container: str, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]:
        record = await self.inspect(container)
        known = [
            (c, f"{times.format_micro(at)} ".encode() + d if options.timestamps else d)
            for c, d, at in self._logs[record.id]
            if at >= options.since
        ]
        for piece in known if options.tail is None else known[len(known) - min(len(known), options.tail) :]:
            yield piece
        if options.follow and record.running:
            await self._ended[record.id].wait()

    @asynccontextmanager
    async def execute(self, container: str, process: Process) -> AsyncIterator["Played"]:
        if not (await self.inspect(container)).running:
            raise EngineError(f"Container {container} is not running")
        yield Played(process)

    @asynccontextmanager
    async def attach(self, container: str, *, stdin: bool) -> AsyncIterator["Played"]:
        await self.inspect(container)
        yield Played(Process(("true",), stdin))

    async def written(self, container: str) -> int:
        return self.sizes.get((await self.inspect(container)).id, 0)

    async def volume(self, name: str) -> str:
        raise EngineError(f"get {name}: no such volume")

    async def remove_volumes(self, prefix: str) -> None:
        return

    def process(self) -> int | None:
        return None


class Played:
    """Implements `interfaces.Stream` for the programs that say something: `echo`, and `cat` of its input."""

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


def _image_id(name: str) -> str:
    return "sha256:" + name.encode().hex().ljust(64, "0")[:64]
