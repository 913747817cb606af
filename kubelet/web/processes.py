"""The pages about single containers: /containerLogs and /run, with upstream's refusals."""

import contextlib
from collections.abc import Mapping

from aiohttp import web

from api import errors
from api.errors import ApiError
from kubelet.runtime.interfaces import EngineError, Process, Runtime
from kubelet.serving.finding import Finder
from kubelet.serving.logs import Logs
from kubelet.syncing.views import debugging
from kubelet.web.pages import NOT_FOUND
from proto import node_pb2 as pb

STREAMS = ("All", "Stdout", "Stderr")
OUTPUT = 16 << 20
"""Bytes of a command's output that are told; the rest is thrown away, as upstream's runtimes do."""
LEAST = {"tailLines": 0, "limitBytes": 1, "sinceSeconds": 1}


class Processes:
    def __init__(self, runtime: Runtime, finder: Finder, logs: Logs) -> None:
        self._runtime = runtime
        self._finder = finder
        self._logs = logs

    async def logs(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET /containerLogs/NAMESPACE/POD/CONTAINER"""
        parts = request.path.split("/")[2:]
        if len(parts) != 3 or not all(parts):
            return web.Response(status=404, text=NOT_FOUND)
        namespace, pod, container = parts
        try:
            wanted = log_request(request.query, pb.Container(namespace=namespace, pod=pod, container=container))
        except ValueError:
            return web.Response(status=400, text='{"message": "Unable to decode query."}')
        if wanted is None:
            return web.Response(status=422, text='{"message": "Invalid request."}')
        if refusal := self._unknown(namespace, pod, container):
            return web.Response(status=404, text=refusal)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        try:
            async with contextlib.aclosing(self._logs.read(wanted)) as pieces:  # type: ignore[type-var]
                # What refuses the whole request comes instead of the first piece.
                first = await anext(pieces, b"")
                await response.prepare(request)
                await response.write(first)
                async for piece in pieces:
                    await response.write(piece)
        except (ApiError, EngineError) as e:
            if response.prepared:
                raise
            return web.Response(status=400, text=str(e))
        await response.write_eof()
        return response

    def _unknown(self, namespace: str, name: str, container: str) -> str:
        try:
            pod = self._finder.pod(namespace, name)
        except errors.NotFound:
            return f'pod "{name}" does not exist'
        specs = (*pod.spec.containers, *pod.spec.initContainers, *debugging(pod))
        return "" if any(c.name == container for c in specs) else f'container "{container}" not found in pod "{name}"'

    async def run(self, request: web.BaseRequest) -> web.Response:
        """POST /run/NAMESPACE/POD[/UID]/CONTAINER?cmd=WORDS"""
        parts = request.path.split("/")[2:]
        if len(parts) not in (3, 4) or not all(parts):
            return web.Response(status=404, text=NOT_FOUND)
        namespace, pod, *uid, container = parts
        try:
            self._finder.pod(namespace, pod)
        except errors.NotFound:
            return web.Response(status=404, text="pod does not exist")
        wanted = pb.Container(namespace=namespace, pod=pod, container=container, pod_uid=uid[0] if uid else "")
        try:
            output, code = await self._execute(wanted, request.query.get("cmd", "").split(" "))
        except (ApiError, EngineError) as e:
            return web.Response(status=500, text=str(e))
        if code:
            said = output.decode(errors="replace")
            return web.Response(status=500, text=f"command '{request.query.get('cmd', '')}' exited with {code}: {said}")
        return web.Response(body=output, headers={"Content-Type": "application/json"})

    async def _execute(self, wanted: pb.Container, words: list[str]) -> tuple[bytes, int]:
        record = self._finder.running(wanted)
        async with self._runtime.execute(record.id, Process(tuple(words))) as stream:
            output = bytearray()
            async for _, data in stream.output():
                output += data[: OUTPUT - len(output)]
            return bytes(output), await stream.exit_code()


def log_request(query: Mapping[str, str], container: pb.Container) -> pb.LogsRequest | None:
    """None if what it asks for cannot be.  Raises ValueError for what is no number."""
    wanted = pb.LogsRequest(
        container=container, since_time=query.get("sinceTime", ""), stream=query.get("stream", ""),
        **{name: _truth(query.get(name)) for name in ("follow", "previous", "timestamps")},
    )  # fmt: skip
    numbers = {name: int(query[name]) for name in LEAST if name in query}
    if (tail := query.get("tail")) is not None:
        numbers |= {"tailLines": int(tail)} if tail != "all" else {}
    for name, value in numbers.items():
        if value < LEAST[name]:
            return None
    if "tailLines" in numbers:
        wanted.tail_lines = numbers["tailLines"]
    if "limitBytes" in numbers:
        wanted.limit_bytes = numbers["limitBytes"]
    if "sinceSeconds" in numbers:
        wanted.since_seconds = numbers["sinceSeconds"]
    exclusive = wanted.stream not in ("", "All") and "tailLines" in numbers
    both = wanted.since_time and "sinceSeconds" in numbers
    return None if exclusive or both or wanted.stream not in ("", *STREAMS) else wanted


def _truth(text: str | None) -> bool:
    """As upstream reads truth in queries: whatever is not said to be false is true."""
    return text is not None and text.lower() not in ("false", "0")
