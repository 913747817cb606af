"""Asking a container for its health by gRPC.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from kubelet.syncing.restarts import duration

# A probe asks whether a new client would be served: it shares no connection, not even the wait after a failed one.
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.enable_http_proxy", 0),
    ("grpc.primary_user_agent", "kube-probe/1.37"),
)
HEADSTART = 0.05  # before the caller's own limit, so that this one's words are heard


class Unhealthy(Exception):
    """The answer was no, or there was none; upstream's words."""


async def check(target: str, service: str, timeout: float) -> None:
    """Raises Unhealthy."""
    within, ends = duration(timeout), asyncio.get_running_loop().time() + timeout - HEADSTART
    async with grpc.aio.insecure_channel(target, OPTIONS) as channel:
        try:
            async with asyncio.timeout_at(ends):
                await channel.channel_ready()
        except TimeoutError as e:
            why = "context deadline exceeded"
            raise Unhealthy(f'timeout: failed to connect service "{target}" within {within}: {why}') from e
        request = health_pb2.HealthCheckRequest(service=service)
        left = max(0.0, ends - asyncio.get_running_loop().time())
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=left)
        except grpc.aio.AioRpcError as e:
            raise Unhealthy(_refused(e, within)) from e
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    if status != "SERVING":
        raise Unhealthy(f'service unhealthy (responded with "{status}")')


def _refused(error: grpc.aio.AioRpcError, within: str) -> str:
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            why = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
            return f"{why}: {error.details()}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"timeout: health rpc did not complete within {within}"
    code = "".join(word.title() for word in error.code().name.split("_"))
    return f"error: health rpc probe failed: rpc error: code = {code} desc = {error.details()}"
