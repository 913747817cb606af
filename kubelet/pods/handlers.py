"""What probes and lifecycle hooks do: run a command, get a page, open a connection.

A success answers with the output, everything else raises HandlerFailed with upstream's words.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from api.types import Container, ExecAction, GRPCAction, HTTPGetAction, TCPSocketAction
from kubelet.pods import grpc_health
from kubelet.runtime.interfaces import EngineError, Process, Runtime

OUTPUT_LIMIT = 10 * 1024
MOST_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
AS_WRITTEN = "%/?#[]@!$&'()*+,;=:"  # what else stands in a path and a query; a % may begin a character that is encoded
USER_AGENT = "kube-probe/1.37"


class HandlerFailed(Exception):
    """The answer was no: an exit code, a status, a refusal."""


class Warned(str):
    """An answer that counts as a success, but that somebody should look at."""


class Action(Protocol):
    """What probes and hooks have in common."""

    exec: ExecAction | None
    httpGet: HTTPGetAction | None
    tcpSocket: TCPSocketAction | None


class Handlers:
    """Carries actions out; `run` owns the HTTP session and must be running."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Keeps the session until cancelled."""
        # Connections are not kept: a probe asks whether a new client would be served.
        connector = aiohttp.TCPConnector(ssl=False, force_close=True, limit=0)
        async with aiohttp.ClientSession(connector=connector, headers={"User-Agent": USER_AGENT}) as self._session:
            await asyncio.get_running_loop().create_future()

    async def perform(
        self, action: Action, container: Container, container_id: str, address: str, timeout: float
    ) -> str:
        """Raises HandlerFailed, also when `timeout` seconds are over."""
        try:
            async with asyncio.timeout(timeout):
                if action.exec is not None:
                    return await self._execute(action.exec.command, container_id)
                if action.httpGet is not None:
                    return await self._get(action.httpGet, container, address)
                if action.tcpSocket is not None:
                    tcp = action.tcpSocket
                    return await _connect(tcp.host or address, port_number(tcp.port, container))
                grpc: GRPCAction | None = getattr(action, "grpc", None)
                if grpc is not None:
                    return await self._check(grpc, address, timeout)
        except TimeoutError as e:
            raise HandlerFailed(_late(action, container, address, timeout)) from e
        return ""

    async def _check(self, grpc: GRPCAction, address: str, timeout: float) -> str:
        try:
            await grpc_health.check(f"{address}:{grpc.port}", grpc.service, timeout)
        except grpc_health.Unhealthy as e:
            raise HandlerFailed(str(e)) from e
        return "service healthy"

    async def _execute(self, command: list[str], container_id: str) -> str:
        output = bytearray()
        try:
            async with self._runtime.execute(container_id, Process(tuple(command))) as stream:
                async for _, data in stream.output():
                    output += data[: OUTPUT_LIMIT - len(output)]
                code = await stream.exit_code()
        except EngineError as e:
            raise HandlerFailed(str(e)) from e
        text = output.decode(errors="replace")
        if code != 0:
            raise HandlerFailed(text)
        return text

    async def _get(self, get: HTTPGetAction, container: Container, address: str) -> str:
        assert self._session is not None
        target = url(get, container, address)
        headers = [(h.name or "", h.value or "") for h in get.httpHeaders]
        try:
            return await self._follow(URL(target, encoded=True), headers)
        # A ValueError is of what no request can say: a host, a header's value, a place that the server leads to.
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise HandlerFailed(f'Get "{target}": {_reason(e, target)}') from e

    async def _follow(self, target: URL, headers: Sequence[tuple[str, str]]) -> str:
        """A redirect is followed on the same host only; one that leads elsewhere counts as a success."""
        assert self._session is not None
        host = target.host
        for _ in range(MOST_REDIRECTS):
            async with self._session.get(target, headers=headers, allow_redirects=False) as answer:
                text = (await answer.content.read(OUTPUT_LIMIT)).decode(errors="replace")
            if answer.status not in REDIRECTS or "Location" not in answer.headers:
                if not 200 <= answer.status < 400:
                    raise HandlerFailed(f"HTTP probe failed with statuscode: {answer.status}")
                return text
            target = target.join(URL(answer.headers["Location"]))
            if target.host != host:
                return Warned(f"Probe terminated redirects, Response body: {text}")
        raise HandlerFailed(f'Get "{target}": stopped after {MOST_REDIRECTS} redirects')


def url(get: HTTPGetAction, container: Container, address: str) -> str:
    scheme = (get.scheme or "HTTP").lower()
    path = quote(get.path if get.path.startswith("/") else f"/{get.path}", safe=AS_WRITTEN)
    host = get.host or address
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port_number(get.port, container)}{path}"


def port_number(port: int | str | None, container: Container) -> int:
    """A port by number, or by its name among the container's ports."""
    if isinstance(port, int):
        return port
    found = next((p.containerPort for p in container.ports if p.name == port), None)
    if found is None:
        raise HandlerFailed(f"couldn't find port: {port} in container {container.name}")
    return found


async def _connect(host: str, port: int) -> str:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as e:
        raise HandlerFailed(f"dial tcp {host}:{port}: connect: {_plain(e)}") from e
    except UnicodeError as e:
        raise HandlerFailed(_no_name(host)) from e
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ""


def _late(action: Action, container: Container, address: str, timeout: float) -> str:
    if action.httpGet is not None:
        target = url(action.httpGet, container, address)
        return f'Get "{target}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    if action.tcpSocket is not None:
        host = action.tcpSocket.host or address
        return f"dial tcp {host}:{port_number(action.tcpSocket.port, container)}: i/o timeout"
    return f'command timed out: "{" ".join(action.exec.command) if action.exec else ""}" timed out after {timeout:g}s'


def _reason(error: Exception, target: str) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError):
        host = target.split("/")[2]
        return f"dial tcp {host}: connect: {_plain(cause)}"
    if isinstance(error, UnicodeError):
        return _no_name(target.split("/")[2].rpartition(":")[0])
    return "EOF" if isinstance(error, aiohttp.ServerDisconnectedError) else str(error)


def _no_name(host: str) -> str:
    """Nothing that could be asked for, such as a label of more than 63 characters."""
    return f"dial tcp: lookup {host}: no such host"


def _plain(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return (error.strerror or str(error)).lower()
