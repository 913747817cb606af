"""The Docker engine, 20.10 or newer, through the docker library.

Its blocking calls run in a pool of a few threads; what lasts (events, logs, exec, attach) stands in `streams`.
"""

import asyncio
import functools
import json
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import docker
import msgspec
import requests
from docker import errors as docker_errors

from kubelet.runtime import documents, streams
from kubelet.runtime.interfaces import (
    CLUSTER,
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
    State,
    Usage,
    Version,
)  # fmt: skip
from machinery.clocks import SYSTEM, Clock

T = TypeVar("T")
THREADS = 8
PULLS = 2
TIMEOUT = 120
RECONNECT = 0.5
CHANGES = {"start": Change.STARTED, "die": Change.ENDED, "destroy": Change.GONE}

log = logging.getLogger("runtime.docker")


class Docker:
    """Implements `interfaces.Runtime` for the containers of one cluster and node.  `close` it at the end."""

    def __init__(self, endpoint: str, cluster: str, node: str, *, clock: Clock = SYSTEM) -> None:
        self._socket = endpoint.removeprefix("unix://")
        self._labels = [f"{CLUSTER}={cluster}", f"{NODE}={node}"]
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, "docker")
        # Pulls take minutes: they must not use up the threads that stop containers.
        self._pulls = ThreadPoolExecutor(PULLS, "docker-pull")
        self._library: docker.APIClient | None = None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._pulls.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[[docker.APIClient], T], pool: ThreadPoolExecutor | None = None) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool or self._threads, functools.partial(self._translated, function))

    def _translated(self, function: Callable[[docker.APIClient], T]) -> T:
        try:
            if self._library is None:
                # The library asks for the engine's API version here, so the engine must be there.
                self._library = docker.APIClient(f"unix://{self._socket}", version="auto", timeout=TIMEOUT)
            return function(self._library)
        except docker_errors.ImageNotFound as e:
            raise NoSuchImage(_explanation(e)) from e
        except docker_errors.NotFound as e:
            raise NoSuchContainer(_explanation(e)) from e
        except docker_errors.APIError as e:
            raise EngineError(_explanation(e)) from e
        except (docker_errors.DockerException, requests.RequestException) as e:
            raise EngineUnreachable(f"cannot talk to the Docker daemon at unix://{self._socket}: {e}") from e

    async def version(self) -> Version:
        info = await self._call(lambda c: c.info())
        return Version("docker", str(info["ServerVersion"]), int(info.get("CgroupVersion", 1)))

    async def containers(self) -> list[Record]:
        found = await self._call(lambda c: c.containers(all=True, filters={"label": self._labels}))
        records = await asyncio.gather(*(self._inspect_or_none(each["Id"]) for each in found))
        return [r for r in records if r is not None]

    async def _inspect_or_none(self, container: str) -> Record | None:
        try:
            return await self.inspect(container)
        except NoSuchContainer:
            return None

    async def inspect(self, container: str) -> Record:
        return documents.record(await self._call(lambda c: c.inspect_container(container)))

    async def create(self, spec: Spec) -> str:
        document = documents.container(spec)
        try:
            return await self._call(lambda c: _create(c, document, spec.name))
        except EngineError as e:
            if "is already in use" not in str(e):
                raise
            old = await self.inspect(spec.name)
            if old.state is not State.CREATED:
                raise
            await self.remove(old.id)
            return await self._call(lambda c: _create(c, document, spec.name))

    async def start(self, container: str) -> None:
        await self._call(lambda c: c.start(container))

    async def update(self, container: str, amounts: Amounts) -> None:
        body = documents.update(amounts)
        async with streams.opened(self._socket, "POST", f"/containers/{quote(container)}/update", body):
            pass

    async def signal(self, container: str, signal: str) -> None:
        try:
            await self._call(lambda c: c.kill(container, signal))
        except NoSuchContainer:
            return
        except EngineError as e:
            if "is not running" not in str(e):
                raise

    async def remove(self, container: str) -> None:
        try:
            await self._call(lambda c: c.remove_container(container, force=True, v=True))
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
            return documents.image(await self._call(lambda c: _inspect_image(c, name)))
        except (NoSuchImage, NoSuchContainer):
            return None

    async def pull(self, name: str, login: Login | None = None) -> Image:
        await self._call(lambda c: _pull(c, name, login), self._pulls)
        image = await self.image(name)
        if image is None:
            raise NoSuchImage(f"No such image: {name}")
        return image

    async def images(self) -> list[Image]:
        return [documents.listed_image(i) for i in await self._call(lambda c: c.images())]

    async def logs(self, container: str, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]:
        record = await self.inspect(container)
        query = {
            "stdout": int(options.stdout), "stderr": int(options.stderr), "follow": int(options.follow),
            "timestamps": int(options.timestamps), "tail": "all" if options.tail is None else options.tail,
        }  # fmt: skip
        if options.since:
            query["since"] = f"{options.since:.9f}"
        async with streams.opened(self._socket, "GET", f"/containers/{container}/logs?{urlencode(query)}") as answer:
            split = streams.unframed if record.tty else streams.frames
            async for piece in split(answer.chunks()):
                yield piece

    @asynccontextmanager
    async def execute(self, container: str, process: Process) -> AsyncIterator["Connection"]:
        made = await self._call(
            lambda c: c.exec_create(container, list(process.command), stdin=process.stdin, tty=process.tty)
        )
        start = {"Detach": False, "Tty": process.tty}
        async with streams.opened(self._socket, "POST", f"/exec/{made['Id']}/start", start, hijack=True) as answer:
            yield Connection(self, answer, f"/exec/{made['Id']}", process.tty)

    @asynccontextmanager
    async def attach(self, container: str, *, stdin: bool) -> AsyncIterator["Connection"]:
        record = await self.inspect(container)
        query = urlencode({"stream": 1, "stdin": int(stdin), "stdout": 1, "stderr": 1})
        path = f"/containers/{quote(container)}"
        async with streams.opened(self._socket, "POST", f"{path}/attach?{query}", hijack=True) as answer:
            yield Connection(self, answer, path, record.tty)

    async def usage(self, container: str) -> Usage:
        # One look (`one-shot`); the engine's default answer compares two, a second apart.
        path = f"/v1.41/containers/{quote(container)}/stats?stream=false&one-shot=true"
        async with streams.opened(self._socket, "GET", path) as answer:
            return documents.usage(await streams.document(answer))

    async def written(self, container: str) -> int:
        async with streams.opened(self._socket, "GET", f"/containers/{quote(container)}/json?size=true") as answer:
            return int((await streams.document(answer)).get("SizeRw") or 0)

    async def remove_volumes(self, prefix: str) -> None:
        found = await self._call(lambda c: c.volumes({"name": prefix}))
        for volume in found.get("Volumes") or []:
            if volume["Name"].startswith(prefix):
                await self._call(functools.partial(_remove_volume, name=volume["Name"]))

    async def resize(self, path: str, width: int, height: int) -> None:
        query = urlencode({"w": width, "h": height})
        async with streams.opened(self._socket, "POST", f"{path}/resize?{query}"):
            pass

    async def exec_exit_code(self, path: str) -> int:
        found = await self._call(lambda c: c.exec_inspect(path.rsplit("/", 1)[1]))
        return int(found.get("ExitCode") or 0)


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


def _create(client: docker.APIClient, document: dict[str, Any], name: str) -> str:
    return str(client.create_container_from_config(document, name)["Id"])  # type: ignore[no-untyped-call]


def _inspect_image(client: docker.APIClient, name: str) -> dict[str, Any]:
    return client.inspect_image(name)  # type: ignore[no-any-return, no-untyped-call]


def _remove_volume(client: docker.APIClient, *, name: str) -> None:
    client.remove_volume(name, force=True)


def _pull(client: docker.APIClient, name: str, login: Login | None) -> None:
    # Without an answer of ours the library would look for the logins of whoever runs this process.
    auth = {"username": login.user, "password": login.password, "identitytoken": login.token} if login else {}
    for line in client.pull(name, stream=True, decode=True, auth_config=auth):
        if "error" in line:
            raise EngineError(str(line["error"]))


def _explanation(error: docker_errors.APIError) -> str:
    return str(error.explanation or error)
