"""What the workers of all pods share."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from api.types import Pod, Secret, Service
from kubelet.cgroups.keeping import Groups, NoGroups
from kubelet.containers.environments import Sources
from kubelet.containers.specs import Host
from kubelet.devices.preparing import Devices, NoDevices
from kubelet.images.stores import Store
from kubelet.metrics import Metrics
from kubelet.network.addresses import Pool
from kubelet.network.plumbing import Network, NotReady
from kubelet.pods.admission import Admission, Open
from kubelet.pods.allocations import Allocations
from kubelet.pods.caches import Cache
from kubelet.pods.following import Follows, NotFollowing
from kubelet.pods.handlers import Handlers
from kubelet.runtime.interfaces import Runtime
from kubelet.syncing.views import View
from kubelet.volumes.host_paths import HostPaths
from kubelet.volumes.pinning import Pinning
from kubelet.volumes.resolvers import Resolver
from machinery.clocks import Clock


class Recorder(Protocol):
    def event(self, regarding: Pod, type: str, reason: str, message: str, *, field_path: str = "") -> None: ...  # noqa: A002


class Reporter(Protocol):
    """Where a pod's status goes; `last` says that nothing of it is left on this node."""

    def report(self, view: View, *, last: bool = False) -> None: ...

    def observe(self, pod: Pod) -> None: ...

    def forget(self, uid: str) -> None: ...


async def no_secrets(pod: Pod) -> tuple[list[Secret], list[str]]:
    return [], []


async def no_runtime(name: str) -> str:
    return ""


@dataclass(kw_only=True)
class Means:
    runtime: Runtime
    cache: Cache
    network: Network
    recorder: Recorder
    reporter: Reporter
    handlers: Handlers
    images: Store
    clock: Clock
    host: Host
    host_ip: str
    root: Path
    sources: Callable[[Pod], Awaitable[Sources]]
    following: Follows = field(default_factory=NotFollowing)
    pull_secrets: Callable[[Pod], Awaitable[tuple[list[Secret], list[str]]]] = no_secrets
    handler: Callable[[str], Awaitable[str]] = no_runtime  # of the RuntimeClass of that name
    runtimes: Callable[[], tuple[str, ...]] = tuple  # the engine's; none: it takes any handler for its default
    services: Callable[[], Iterable[Service]] = tuple
    pods: Callable[[], Iterable[Pod]] = tuple  # all that are assigned to this node
    allocatable: Callable[[], Mapping[str, str]] = dict
    metrics: Metrics = field(default_factory=Metrics)
    machine: Path | None = None  # where this process sees the machine's root directory
    host_paths: HostPaths = field(default_factory=HostPaths)
    devices: Devices = field(default_factory=NoDevices)
    admission: Admission = field(default_factory=Open)
    allocations: Allocations = field(default_factory=Allocations)
    recursive_read_only: Callable[[], bool] = lambda: False
    pinning: Pinning = field(default_factory=Pinning)
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    resolver: Resolver = field(default_factory=Resolver)
    hosts: str = ""
    # The engine starts no more pods a second for being asked for all of them at once: each only takes longer.
    starts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(4))
    groups: Groups = field(default_factory=NoGroups)  # the node's own once the engine has said how it names them
    addresses: Pool | None = None  # known when the node's range of pod addresses is

    def address_of(self, uid: str) -> str:
        return self.addresses.of(uid) if self.addresses is not None else ""

    async def pool(self) -> Pool:
        """Where a new pod's address comes from.  Raises NotReady."""
        if self.addresses is None:
            raise NotReady("container runtime network not ready: the node has no pod CIDR yet")
        if problem := await self.network.problem():
            raise NotReady(problem)
        return self.addresses


async def first(*awaitables: Awaitable[object]) -> None:
    """Returns when one of them has ended; the others are cancelled.  Its exception is raised."""
    tasks = [asyncio.ensure_future(a) for a in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


@contextlib.asynccontextmanager
async def aside(semaphore: asyncio.Semaphore) -> AsyncIterator[None]:
    """Let others have one's place while waiting for something slow."""
    semaphore.release()
    try:
        yield
    finally:
        await semaphore.acquire()
