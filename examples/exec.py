"""Runs a command in a container, as `kubectl exec` does, and exits with its exit code.

    .venv/bin/python examples/exec.py [-n NAMESPACE] [-c CONTAINER] [-i] POD COMMAND [ARGUMENT ...]
    echo hello | .venv/bin/python examples/exec.py -i POD cat

Shows: a bidirectional stream of the gRPC door.  The API server finds the pod's node and carries the messages on to its
kubelet; both speak the messages of proto/node.proto.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator

import grpc

from machinery import kubeconfigs
from machinery.channels import channel
from machinery.grpc_errors import from_rpc
from proto import node_pb2 as pb
from proto.resources_pb2_grpc import ResourcesStub
from wherry.labs import Lab


async def inputs(asked: argparse.Namespace) -> AsyncIterator[pb.ExecInput]:
    container = pb.Container(namespace=asked.namespace, pod=asked.pod, container=asked.container)
    yield pb.ExecInput(
        start=pb.ExecStart(container=container, command=asked.command, stdin=asked.stdin, stdout=True, stderr=True)
    )
    if asked.stdin:
        while data := await asyncio.to_thread(sys.stdin.buffer.read1):
            yield pb.ExecInput(stdin=data)
        yield pb.ExecInput(close_stdin=True)


async def execute(asked: argparse.Namespace) -> int:
    """The command's exit code."""
    async with channel(kubeconfigs.load(Lab.from_environment().grpc_kubeconfig)) as grpc_channel:
        async for output in ResourcesStub(grpc_channel).Exec(inputs(asked)):
            match output.WhichOneof("message"):
                case "stdout":
                    sys.stdout.buffer.write(output.stdout)
                    sys.stdout.flush()
                case "stderr":
                    sys.stderr.buffer.write(output.stderr)
                    sys.stderr.flush()
                case "exit":
                    return int(output.exit)
                case "error":
                    sys.exit(output.error)
    return 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--namespace", default="default")
    parser.add_argument("-c", "--container", default="", help="may be left out if the pod has only one")
    parser.add_argument("-i", "--stdin", action="store_true", help="send this program's input to the command")
    parser.add_argument("pod")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    try:
        sys.exit(asyncio.run(execute(parser.parse_args())))
    except grpc.aio.AioRpcError as e:
        sys.exit(f"the API server refuses: {from_rpc(e)}")
