"""pods/exec and pods/attach: a process's standard streams, whatever carries them to the client."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Protocol

import grpc

from api import paths
from api.errors import ApiError, InternalError
from api.paths import Fault, Path
from apiserver import connects
from apiserver.nodes.conversations import conversation
from apiserver.nodes.places import Place
from apiserver.rest import options
from apiserver.rest.options import Query
from machinery.grpc_errors import from_rpc
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeStub

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
"""The channels, as every protocol numbers them."""


class Terminal(Protocol):
    """The client's end."""

    def inputs(self) -> AsyncIterator[pb.ExecInput]:
        """What comes from the client, until it goes."""
        ...

    async def write(self, channel: int, data: bytes) -> None:
        """Raises ConnectionError once the client has gone."""
        ...

    async def finish(self, status: dict[str, Any]) -> None:
        """Say how it ended, on the error channel, and close."""
        ...


def start(query: Query, commands: list[str], place: Place, subresource: str) -> pb.ExecStart:
    """The first message to the kubelet.  Raises Invalid."""
    wanted = pb.ExecStart(
        container=place.message(),
        command=commands,
        stdin=options.truth(query, "stdin"),
        # Upstream's defaults where the query says nothing.
        stdout=options.truth(query, "stdout") if "stdout" in query or subresource == "exec" else True,
        stderr=options.truth(query, "stderr") if "stderr" in query or subresource == "exec" else True,
        tty=options.truth(query, "tty"),
    )
    faults: list[Fault] = []
    if subresource == "exec" and not commands:
        faults.append(paths.required(Path("command")))
    if wanted.tty and options.truth(query, "stderr"):
        faults.append(paths.forbidden(Path("stderr"), "tty and stderr cannot both be true"))
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        faults.append(paths.forbidden(Path(""), "you must specify at least one of stdin, stdout, stderr"))
    if faults:
        kind = "PodExecOptions" if subresource == "exec" else "PodAttachOptions"
        raise paths.refusal("", kind, "", faults)
    return wanted


def shown(first: pb.ExecStart, subresource: str) -> Any:
    """The same as the object that admission looks at."""
    streams = {name: bool(getattr(first, name)) for name in ("stdin", "stdout", "stderr", "tty")}
    return connects.terminal(subresource, streams, first.container.container, first.command)


async def run(kubelet: NodeStub, subresource: str, first: pb.ExecStart, terminal: Terminal) -> None:
    """Carry the streams until the process ends or the client goes."""

    async def inputs() -> AsyncGenerator[pb.ExecInput, None]:
        yield pb.ExecInput(start=first)
        async for each in terminal.inputs():
            yield each

    method: Any = kubelet.Exec if subresource == "exec" else kubelet.Attach  # the stubs describe the synchronous API
    status = failure(InternalError("the kubelet ended the stream without saying how the process ended"))
    try:
        async with conversation(method, inputs()) as call:
            async for output in call:
                match output.WhichOneof("message"):
                    case "stdout":
                        await terminal.write(STDOUT, output.stdout)
                    case "stderr":
                        await terminal.write(STDERR, output.stderr)
                    case "exit":
                        # Who attaches has not started the process, and looks into the pod for how it ended.
                        status = exited(output.exit if subresource == "exec" else 0)
                    case "error":
                        status = failure(InternalError(output.error))
    except grpc.aio.AioRpcError as e:
        status = failure(from_rpc(e))
    await terminal.finish(status)


def exited(code: int) -> dict[str, Any]:
    """The Status that says with which code a process ended: clients exit with it, too."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(error: ApiError) -> dict[str, Any]:
    return error.to_status()
