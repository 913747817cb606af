"""Asks the scheduler why pods have no node: which plug-in rejects which node, or what each node would score.

    .venv/bin/python examples/why_pending.py [NAMESPACE/]POD      one pod, placed or not
    .venv/bin/python examples/why_pending.py                      every pod that waits for a node

Shows: components serve gRPC themselves (`proto/scheduler.proto`), with the same certificates as the API server.  Try it
on a pod that fits nowhere:

    kubectl run big --image=hewon16/image1:1 --overrides='{"spec":{"nodeSelector":{"disk":"ssd"}}}'
"""

import asyncio
import sys
from dataclasses import replace

import grpc

from api.errors import ApiError
from api.types import Pod
from machinery import kubeconfigs
from machinery.channels import channel
from machinery.client import connect
from machinery.kubeconfigs import Access
from proto import scheduler_pb2 as pb
from proto.scheduler_pb2_grpc import SchedulerStub
from wherry.labs import Lab


async def waiting(access: Access) -> list[tuple[str, str]]:
    """Namespace and name of the pods without a node."""
    async with connect(access) as client:
        try:
            found = await client.list(Pod, field_selector="spec.nodeName=")
        except ApiError as e:
            sys.exit(f"{e.code} {e.reason}: {e}")
    return [(p.metadata.namespace, p.metadata.name) for p in found.items]


def tell(namespace: str, name: str, explanation: pb.Explanation) -> None:
    print(f"{namespace}/{name}: {explanation.message or f'on {explanation.node}'}")
    for verdict in explanation.verdicts:
        if verdict.rejected_by:
            print(f"  {verdict.node:12} {verdict.rejected_by}: {verdict.reason}")
        else:
            scores = ", ".join(f"{plugin} {score}" for plugin, score in sorted(verdict.scores.items()))
            print(f"  {verdict.node:12} scores {verdict.total} ({scores})")


async def main(pod: str = "") -> None:
    lab = Lab.from_environment()
    access = kubeconfigs.load(lab.grpc_kubeconfig)
    namespace, _, name = pod.rpartition("/")
    wanted = [(namespace or "default", name)] if pod else await waiting(access)
    if not wanted:
        print("Every pod has a node.")
    async with channel(replace(access, server=f"https://127.0.0.1:{lab.scheduler_port}")) as connection:
        scheduler = SchedulerStub(connection)
        for namespace, name in wanted:
            try:
                request = pb.ExplainRequest(namespace=namespace, name=name)
                tell(namespace, name, await scheduler.Explain(request, timeout=10))
            except grpc.aio.AioRpcError as e:
                print(f"{namespace}/{name}: {e.code().name}: {e.details()}", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
