"""Pods as policies know them, followed with the informer that the proxy follows them with."""

import asyncio
from typing import Any

from kube_proxy.policies.members import PolicyPod, Status, member
from machinery.informers import Informer
from tests.unit.machinery.resources import connected


def pod(uid: str, address: str = "") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "x", "uid": uid},
        "status": {"podIP": address},
    }


async def test_a_pod_is_followed_while_it_changes_and_when_another_takes_its_name():
    async with connected() as (service, client):
        informer = Informer(client, PolicyPod)
        told: list[tuple[str | None, str | None]] = []
        done = asyncio.Event()

        def note(old: PolicyPod | None, new: PolicyPod | None) -> None:
            told.append((old and old.status.podIP, new and new.status.podIP))
            if new is not None and new.status.podIP == "10.244.0.9":
                done.set()

        informer.on_change(note)
        running = asyncio.create_task(informer.run())
        await informer.synced()
        await service.put("pods", pod("1"))
        await service.put("pods", pod("1", "10.244.0.8"))
        await service.put("pods", pod("2", "10.244.0.9"))
        waiting = asyncio.create_task(done.wait())
        async with asyncio.timeout(10):
            await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        ended = running.done()
        for task in (running, waiting):
            task.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert not ended
        assert told == [(None, ""), ("", "10.244.0.8"), ("10.244.0.8", None), (None, "10.244.0.9")]


def test_what_is_no_address_is_no_member():
    assert member(PolicyPod()) is None
    assert member(PolicyPod(status=Status(podIP="10.244.0.8 }\n{ 0.0.0.x"))) is None
    told = member(PolicyPod(status=Status(podIP="10.244.0.011")))
    assert told is not None
    assert told.address == "10.244.0.11"
