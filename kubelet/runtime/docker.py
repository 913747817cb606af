"""The Docker engine, 20.10 or newer, through its HTTP API.
https://docs.docker.com/reference/api/engine/version/v1.41/

Short questions go through `connections`; what lasts (events, logs, exec, attach, pulls) through `streams`.
"""

import asyncio
import json
import logging
import posixpath
import socket
import struct
import tarfile
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec
from prometheus_client.registry import Collector

from kubelet.runtime import archives, documents, streams
from kubelet.runtime.connections import Connections
from kubelet.runtime.identities import identity
from kubelet.runtime.interfaces import (
    CLUSTER,
    KIND,
    NODE,
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
    Version,
)  # fmt: skip
from kubelet.runtime.operations import Operations
from machinery.clocks import SYSTEM, Clock

RECONNECT = 0.5
LARGEST_FILE, MOST_LINKS = 1 << 20, 8
RECURSIVE_API, MOUNT_SETATTR = (1, 44), (5, 12)  # from when on mounts below a read-only one can be read-only too
CHANGES = {"start": Change.STARTED, "die": Change.ENDED, "destroy": Change.GONE}

log = logging.getLogger("runtime.docker")


class Docker:
    """Implements `interfaces.Runtime` for the containers of one cluster and node.  `close` it at the end."""

    def __init__(self, endpoint: str, cluster: str, node: str, *, clock: Clock = SYSTEM) -> None:
        self._socket = endpoint.removeprefix("unix://")
        self._labels = [f"{CLUSTER}={cluster}", f"{NODE}={node}"]
        self._clock = clock
        self._operations = Operations(clock)
        self._engine = Connections(self._socket, self._operations)

    @property
    def collectors(self) -> Sequence[Collector]:
        return self._operations.collectors

    def close(self) -> None:
        self._engine.close()

    async def version(self) -> Version:
        info, about = await asyncio.gather(self._engine.call("GET", "/info"), self._engine.call("GET", "/version"))
        recursive = _numbers(about["ApiVersion"]) >= RECURSIVE_API and _numbers(about["KernelVersion"]) >= MOUNT_SETATTR
        return Version(
            "docker", str(info["ServerVersion"]), str(info.get("CgroupDriver") or "cgroupfs"), recursive,
            str(info.get("DockerRootDir") or ""), tuple(sorted(info.get("Runtimes") or ())),
        )  # fmt: skip

    async def containers(self) -> list[Record]:
        query = urlencode({"all": 1, "filters": json.dumps({"label": self._labels})})
        found = await self._engine.call("GET", f"/containers/json?{query}")
        records = await asyncio.gather(*(self._inspect_or_none(each["Id"]) for each in found))
        return [r for r in records if r is not None]

    async def _inspect_or_none(self, container: str) -> Record | None:
        try:
            return await self.inspect(container)
        except NoSuchContainer:
            return None

    async def inspect(self, container: str) -> Record:
        record = documents.record(await self._engine.call("GET", f"{_path(container)}/json"))
        return replace(record, identity=identity(record.pid, record.id)) if record.running else record

    async def create(self, spec: Spec) -> str:
        try:
            return await self._create(spec, spec.name)
        except EngineError as e:
            if "is already in use" not in str(e):
                raise
            old = await self.inspect(spec.name)
            if not old.running:
                await self.remove(old.id)
                return await self._create(spec, spec.name)
            if old.labels.items() >= spec.labels.items():
                raise  # it is this very container: a second one would do the same work twice
        return await self._create(spec, f"{spec.name}_{old.id[:12]}")

    async def _create(self, spec: Spec, name: str) -> str:
        path = f"/containers/create?{urlencode({'name': name})}"
        made = await self._engine.call("POST", path, documents.container(spec))
        return str(made["Id"])

    async def start(self, container: str) -> None:
        await self._engine.call("POST", f"{_path(container)}/start")

    async def update(self, container: str, amounts: Amounts) -> None:
        await self._engine.call("POST", f"{_path(container)}/update", documents.update(amounts))

    async def signal(self, container: str, signal: str) -> None:
        try:
            await self._engine.call("POST", f"{_path(container)}/kill?{urlencode({'signal': signal})}")
        except NoSuchContainer:
            return
        except EngineError as e:
            if "is not running" not in str(e):
                raise

    async def remove(self, container: str) -> None:
        try:
            await self._engine.call("DELETE", f"{_path(container)}?force=true&v=true")
        except NoSuchContainer:
            return
        except EngineError as e:
            if "is already in progress" not in str(e):
                raise

    async def changes(self) -> AsyncIterator[tuple[Change, str]]:
        filters = {"type": ["container"], "event": [*CHANGES], "label": self._labels}
        path = "/events?" + urlencode({"filters": json.dumps(filters)})
        while True:
            try:
                async with streams.opened(self._socket, "GET", path) as answer:
                    # Only now that events are being kept for us does a list say everything that came before.
                    yield Change.RELIST, ""
                    async for line in streams.lines(answer.chunks()):
                        event = msgspec.json.decode(line)
                        if change := CHANGES.get(event.get("Action", "")):
                            yield change, event["Actor"]["ID"]
            except EngineError as e:
                log.warning("the engine's events: %s", e)
            await self._clock.sleep(RECONNECT)

    async def image(self, name: str) -> Image | None:
        try:
            return documents.image(await self._engine.call("GET", f"/images/{quote(name, safe='/:@')}/json"))
        except (NoSuchImage, NoSuchContainer):
            return None

    async def pull(self, name: str, login: Login | None = None) -> Image:
        fields = {"X-Registry-Auth": documents.login(login)}
        path = f"/images/create?{urlencode(documents.pull(name))}"
        with self._operations.counted("POST", path):
            async with streams.opened(self._socket, "POST", path, fields=fields) as answer:
                async for line in streams.lines(answer.chunks()):
                    documents.check_pull(msgspec.json.decode(line))
        image = await self.image(name)
        if image is None:
            raise NoSuchImage(f"No such image: {name}")
        return image

    async def images(self) -> list[Image]:
        return [documents.listed_image(i) for i in await self._engine.call("GET", "/images/json")]

    async def used_images(self) -> set[str]:
        return {str(each["ImageID"]) for each in await self._engine.call("GET", "/containers/json?all=1")}

    async def remove_image(self, image: Image) -> None:
        # By its id the engine removes only an image with one name, unless it is forced to take it from containers too.
        for name in image.names or (image.id,):
            try:
                await self._engine.call("DELETE", f"/images/{quote(name, safe='/:@')}")
            except (NoSuchImage, NoSuchContainer):
                continue

    async def unpack(self, image: str, directory: Path) -> None:
        async with self._never_started(image) as made:
            try:
                with tempfile.TemporaryFile(dir=directory.parent) as archive:
                    async with streams.opened(self._socket, "GET", f"{_path(made)}/export") as answer:
                        async for data in answer.chunks():
                            archive.write(data)
                    archive.seek(0)
                    await asyncio.to_thread(archives.extract, archive, directory)
            except (OSError, tarfile.TarError) as e:
                raise EngineError(f"unpacking image {image}: {e}") from e

    async def files(self, image: str, paths: Sequence[str]) -> list[bytes]:
        async with self._never_started(image) as made:
            return [await self._file(made, path) for path in paths]

    @asynccontextmanager
    async def _never_started(self, image: str) -> AsyncIterator[str]:
        """A container of the image: the engine gives its files in no other way."""
        document = {"Image": image, "Cmd": ["none"], "Labels": {KIND: "image"}, "HostConfig": {"NetworkMode": "none"}}
        made = str((await self._engine.call("POST", "/containers/create", document))["Id"])
        try:
            yield made
        finally:
            await self.remove(made)

    async def _file(self, container: str, path: str) -> bytes:
        for _ in range(MOST_LINKS):
            archive = bytearray()
            try:
                query = urlencode({"path": path})
                async with streams.opened(self._socket, "GET", f"{_path(container)}/archive?{query}") as answer:
                    async for data in answer.chunks():
                        archive += data
                        if len(archive) > LARGEST_FILE:
                            raise EngineError(f"{path} is too large to be read")
                link, content = archives.only(bytes(archive))
            except NoSuchContainer:
                return b""
            except tarfile.TarError as e:
                raise EngineError(f"reading {path}: {e}") from e
            if not link:
                return content
            path = posixpath.join(posixpath.dirname(path), link)  # the engine keeps what this leads to within the image
        raise EngineError(f"{path} is a link to a link, and so on")

    async def logs(self, container: str, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]:
        tty = (await self.inspect(container)).tty if options.tty is None else options.tty
        query = {
            "stdout": int(options.stdout), "stderr": int(options.stderr), "follow": int(options.follow),
            "timestamps": int(options.timestamps), "tail": "all" if options.tail is None else options.tail,
        }  # fmt: skip
        if options.since:
            query["since"] = f"{options.since:.9f}"
        async with streams.opened(self._socket, "GET", f"{_path(container)}/logs?{urlencode(query)}") as answer:
            split = streams.unframed if tty else streams.frames
            async for piece in split(answer.chunks()):
                yield piece

    @asynccontextmanager
    async def execute(self, container: str, process: Process) -> AsyncIterator["Connection"]:
        made = await self._engine.call("POST", f"{_path(container)}/exec", documents.execution(process))
        start = {"Detach": False, "Tty": process.tty}
        async with streams.opened(self._socket, "POST", f"/exec/{made['Id']}/start", start, hijack=True) as answer:
            yield Connection(self, answer, f"/exec/{made['Id']}", process.tty)

    @asynccontextmanager
    async def attach(self, container: str, *, stdin: bool) -> AsyncIterator["Connection"]:
        record = await self.inspect(container)
        query = urlencode({"stream": 1, "stdin": int(stdin), "stdout": 1, "stderr": 1})
        path = _path(container)
        async with streams.opened(self._socket, "POST", f"{path}/attach?{query}", hijack=True) as answer:
            yield Connection(self, answer, path, record.tty)

    async def written(self, container: str) -> int:
        return int((await self._engine.call("GET", f"{_path(container)}/json?size=true")).get("SizeRw") or 0)

    async def volume(self, name: str) -> str:
        return str((await self._engine.call("GET", f"/volumes/{quote(name)}"))["Mountpoint"])

    async def remove_volumes(self, prefix: str) -> None:
        query = urlencode({"filters": json.dumps({"name": [prefix]})})
        for volume in (await self._engine.call("GET", f"/volumes?{query}")).get("Volumes") or []:
            if volume["Name"].startswith(prefix):
                await self._engine.call("DELETE", f"/volumes/{quote(volume['Name'])}?force=true")

    def process(self) -> int | None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self._socket)
                peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError as e:
            raise EngineUnreachable(f"cannot connect to the Docker daemon at unix://{self._socket}: {e}") from e
        process: int = struct.unpack("3i", peer)[0]
        return process or None  # 0: it lives where this process cannot see it

    async def resize(self, path: str, width: int, height: int) -> None:
        query = urlencode({"w": width, "h": height})
        await self._engine.call("POST", f"{path}/resize?{query}")

    async def exec_exit_code(self, path: str) -> int:
        return int((await self._engine.call("GET", f"{path}/json")).get("ExitCode") or 0)


class Connection:
    """Implements `interfaces.Stream` on a hijacked connection."""

    def __init__(self, engine: Docker, answer: streams.Answer, path: str, tty: bool) -> None:
        self._engine, self._answer, self._path, self._tty = engine, answer, path, tty

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        return (streams.unframed if self._tty else streams.frames)(self._answer.chunks())

    async def write(self, data: bytes) -> None:
        self._answer.writer.write(data)
        await self._answer.writer.drain()

    async def close_input(self) -> None:
        self._answer.writer.write_eof()

    async def resize(self, width: int, height: int) -> None:
        await self._engine.resize(self._path, width, height)

    async def exit_code(self) -> int:
        return await self._engine.exec_exit_code(self._path)


def _path(container: str) -> str:
    return f"/containers/{quote(container)}"


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)
