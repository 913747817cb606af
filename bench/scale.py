"""A Deployment from nothing to forty pods, to a new template, and back to nothing."""

import time

from bench.rest import Object, Rest, namespace
from bench.results import Result, result
from bench.workloads import deployment, is_ready, version_of

PODS = 40


async def run(rest: Rest) -> list[Result]:
    async with namespace(rest) as ns:
        pods, deployments = f"/api/v1/namespaces/{ns}/pods", f"/apis/apps/v1/namespaces/{ns}/deployments"

        def rolled(items: dict[str, Object]) -> bool:
            return len(items) == PODS and all(is_ready(p) and version_of(p) == "b" for p in items.values())

        began = time.monotonic()
        await rest.request("POST", deployments, deployment("d", PODS, "a"))
        up = await rest.until(pods, lambda items: sum(map(is_ready, items.values())) >= PODS) - began
        began = time.monotonic()
        await rest.request("PATCH", f"{deployments}/d", deployment("d", PODS, "b"), type_="merge-patch")
        rollout = await rest.until(pods, rolled, 600) - began
        began = time.monotonic()
        await rest.request("PATCH", f"{deployments}/d", {"spec": {"replicas": 0}}, type_="merge-patch")
        down = await rest.until(pods, lambda items: not items) - began
    return [result("scale.up", up), result("scale.rollout", rollout), result("scale.down", down)]
