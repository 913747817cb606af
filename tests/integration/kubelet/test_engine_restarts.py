"""What becomes of pods when their engine stops, crashes and comes back."""

import asyncio
from collections.abc import Callable
from typing import Any

from api import meta
from api.types import Pod
from tests.integration.kubelet.engines import PrivateEngine


def ready(pod: Pod) -> bool:
    return meta.is_true(pod, "Ready")


def restarts(pod: Pod) -> int:
    return pod.status.containerStatuses[0].restartCount if pod.status.containerStatuses else 0


async def in_thread(do: Callable[[], None]) -> None:
    await asyncio.to_thread(do)


async def test_pods_keep_their_names_and_addresses_when_the_engine_is_killed(
    own_lab: Any, private_engine: PrivateEngine, pods: Any
) -> None:
    async with own_lab.kubelet():
        await own_lab.create(pods("web"))
        before = await own_lab.until("web", ready)
        await in_thread(private_engine.kill)
        await in_thread(private_engine.start)
        after = await own_lab.until("web", lambda pod: ready(pod) and restarts(pod) == 1)
    assert after.metadata.uid == before.metadata.uid
    assert after.status.podIP == before.status.podIP
    assert after.status.containerStatuses[0].lastState.terminated is not None
