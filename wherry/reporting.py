"""`wherry status` and `wherry why`: what a person asks of a running lab."""

import asyncio
import sys
from dataclasses import replace

import grpc

from machinery import kubeconfigs
from machinery.channels import channel
from proto import scheduler_pb2 as pb
from proto.scheduler_pb2_grpc import SchedulerStub
from wherry import diagnoses, engine
from wherry.kubectl import Kubectl
from wherry.labs import Lab
from wherry.troubles import Trouble

SECONDS = 10


def status(lab: Lab) -> int:
    """An exit code: 0 if every part runs and the API answers."""
    services = diagnoses.services(engine.client(), lab)
    if not services:
        print("The lab is not up: scripts/up brings it up.")
        return 1
    well = True
    for name, container in services.items():
        state = container.attrs["State"]
        health = state.get("Health", {}).get("Status", "")
        finished = name == "certificates" and state["ExitCode"] == 0
        well &= finished or container.status == "running"
        print(f"{name:22} {'done' if finished else container.status:12} {health}")
    try:
        print("\n" + Kubectl(lab)("get", "nodes", "-o", "wide"))
    except Trouble as trouble:
        print(f"\n{trouble}", file=sys.stderr)
        return 1
    return 0 if well else 1


def why(lab: Lab, namespace: str, pod: str) -> int:
    """An exit code: 0 if the pod has a node or could have one."""
    try:
        explanation = asyncio.run(explain(lab, namespace, pod))
    except (grpc.aio.AioRpcError, OSError) as e:
        said = e.details() if isinstance(e, grpc.aio.AioRpcError) else str(e)
        print(f"The scheduler does not say: {said}", file=sys.stderr)
        return 1
    print(tell(explanation))
    return 0 if explanation.node else 1


async def explain(lab: Lab, namespace: str, pod: str) -> pb.Explanation:
    access = replace(kubeconfigs.load(lab.grpc_kubeconfig), server=f"https://127.0.0.1:{lab.scheduler_port}")
    async with channel(access) as connection:
        request = pb.ExplainRequest(namespace=namespace, name=pod)
        answer: pb.Explanation = await SchedulerStub(connection).Explain(request, timeout=SECONDS)
        return answer


def tell(explanation: pb.Explanation) -> str:
    lines = [f"is on {explanation.node}" if explanation.bound else explanation.message or "waits for its turn"]
    if explanation.HasField("preemption"):
        victims = ", ".join(f"{v.namespace}/{v.name}" for v in explanation.preemption.victims)
        lines.append(f"  could go to {explanation.preemption.node} in the place of {victims}")
    for verdict in explanation.verdicts:
        if verdict.rejected_by:
            lines.append(f"  {verdict.node:12} no   {verdict.rejected_by}: {verdict.reason}")
        else:
            scores = ", ".join(f"{name} {score}" for name, score in sorted(verdict.scores.items()))
            lines.append(f"  {verdict.node:12} yes  {verdict.total} ({scores})")
    return "\n".join(lines)
