"""A kubelet's service without a node: it echoes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from api import errors
from api.nodes import GRPC_PORT_ANNOTATION
from machinery.grpc_errors import abort
from proto import node_pb2 as pb
from proto.node_pb2_grpc import NodeServicer, add_NodeServicer_to_server


class EchoKubelet(NodeServicer):
    def __init__(self) -> None:
        self.asked = []
        self.resized = []

    async def Ping(self, request, context):
        return pb.PingResponse()

    async def Logs(self, request, context):
        self.asked.append(request)
        if request.previous:
            await abort(context, errors.BadRequest('previous terminated container "c" in pod "a" not found'))
        for line in (b"one\n", b"two\n"):
            yield pb.Chunk(data=line)

    async def Exec(self, requests, context):
        """`cat` echoes its input; `exit N` ends with that code; `fail` cannot run; else the command is echoed."""
        start = (await anext(requests)).start
        self.asked.append(start)
        await context.send_initial_metadata(())
        match list(start.command):
            case ["cat"]:
                async for message in requests:
                    match message.WhichOneof("message"):
                        case "stdin":
                            yield pb.ExecOutput(stdout=message.stdin)
                        case "resize":
                            self.resized.append((message.resize.width, message.resize.height))
                        case "close_stdin":
                            break
            case ["exit", code]:
                yield pb.ExecOutput(stderr=b"oops")
                yield pb.ExecOutput(exit=int(code))
                return
            case ["fail"]:
                yield pb.ExecOutput(error="no such file")
                return
            case words:
                yield pb.ExecOutput(stdout=" ".join(words).encode())
        yield pb.ExecOutput(exit=0)

    Attach = Exec

    async def PortForward(self, requests, context):
        """Port 1 refuses, 2 hangs up at once; any other sends back what it gets, in capitals."""
        start = (await anext(requests)).start
        self.asked.append(start)
        if start.port == 1:
            await abort(context, errors.InternalError("connection refused"))
        await context.send_initial_metadata(())
        if start.port == 2:
            return
        async for message in requests:
            if message.WhichOneof("message") == "close":
                return
            yield pb.Chunk(data=message.data.upper())


@asynccontextmanager
async def running(kubelet: EchoKubelet) -> AsyncIterator[int]:
    server = grpc.aio.server()
    add_NodeServicer_to_server(kubelet, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


def node(grpc_port: int, port: int = 10250) -> dict:
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    metadata = {"name": "n1", "annotations": {GRPC_PORT_ANNOTATION: str(grpc_port)}}
    return {"kind": "Node", "apiVersion": "v1", "metadata": metadata, "status": status}
