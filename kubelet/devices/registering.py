"""Finding drivers: whoever listens at a socket in the directory is asked what he is.
https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/#device-plugin-registration
"""

import asyncio
import contextlib
import logging
import stat
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc

from kubelet.devices.drivers import OPTIONS, Driver, Drivers, Refused, code, service, words
from kubelet.devices.metrics import Metrics
from kubelet.statics.watching import changes
from machinery.clocks import Clock
from proto import pluginregistration_pb2 as pb
from proto.pluginregistration_pb2_grpc import RegistrationStub

TYPE = "DRAPlugin"
PERIOD = 10.0  # seconds between two looks, where nobody tells: into directories below, on odd file systems
CONNECT_TIMEOUT, ASK_TIMEOUT, TELL_TIMEOUT = 10.0, 1.0, 5.0
FIRST_RETRY, LONGEST_RETRY = 0.5, 122.0

log = logging.getLogger("devices")


class Socket(NamedTuple):
    """One that was made anew at the same path is another one."""

    path: Path
    inode: int
    made_at: int


class Registry:
    """Keeps `drivers` to those whose sockets are in the directory.  `real` says where an endpoint's path is."""

    def __init__(
        self, directory: Path, drivers: Drivers, metrics: Metrics, clock: Clock,
        real: Callable[[str], str] = lambda path: path,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._drivers = drivers
        self._metrics = metrics
        self._clock = clock
        self._real = real
        self._kept: dict[Socket, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        told = changes(self._directory, PERIOD, self._clock, created=True)
        async with asyncio.TaskGroup() as tasks, contextlib.aclosing(told):
            async for _ in told:
                there = set(sockets(self._directory))
                gone = [self._kept.pop(socket) for socket in self._kept.keys() - there]
                for task in gone:
                    task.cancel()
                if gone:  # one that is replaced at the same path leaves before its successor registers
                    await asyncio.wait(gone)
                for new in there - self._kept.keys():
                    self._kept[new] = tasks.create_task(self._keep(new.path))

    async def _keep(self, socket: Path) -> None:
        """The driver of one socket, registered until this is cancelled."""
        wait = FIRST_RETRY
        while True:
            try:
                async with AsyncExitStack() as undone:
                    driver = await self._registered(socket, undone)
                    log.info("driver %s is registered, at %s", driver.name, driver.endpoint)
                    await driver.follow(partial(self._drivers.on_change, driver.name))
            except (Refused, grpc.aio.AioRpcError) as e:
                why = words(e) if isinstance(e, grpc.aio.AioRpcError) else e
                log.warning("registering the plugin at %s: %s", socket, why)
                await self._clock.sleep(wait)
                wait = min(2 * wait, LONGEST_RETRY)

    async def _registered(self, socket: Path, undone: AsyncExitStack) -> Driver:
        """It leaves again with `undone`.  Raises Refused, AioRpcError."""
        async with grpc.aio.insecure_channel(f"unix:{socket}", OPTIONS) as channel:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await channel.channel_ready()
            except TimeoutError as e:
                raise Refused(f"failed to dial socket {socket}, err: context deadline exceeded") from e
            stub = RegistrationStub(channel)
            info = await stub.GetInfo(pb.InfoRequest(), timeout=ASK_TIMEOUT)
            try:
                driver = self._add(info, str(socket), undone)
            except Refused as e:
                status = pb.RegistrationStatus(plugin_registered=False, error=f"RegisterPlugin error -- {e}")
                await stub.NotifyRegistrationStatus(status, timeout=TELL_TIMEOUT)
                raise
            try:
                status = pb.RegistrationStatus(plugin_registered=True)
                await stub.NotifyRegistrationStatus(status, timeout=TELL_TIMEOUT)
            except grpc.aio.AioRpcError as e:  # it has been registered all the same, as upstream has it
                log.warning("telling driver %s that it is registered: %s", driver.name, code(e))
            return driver

    def _add(self, info: pb.PluginInfo, socket: str, undone: AsyncExitStack) -> Driver:
        """Raises Refused."""
        if info.type != TYPE:
            raise Refused(f"no handler registered for plugin type: {info.type} at socket {socket}")
        endpoint = self._real(info.endpoint) if info.endpoint else socket
        try:
            chosen = service(info.name, endpoint, info.supported_versions)
        except Refused as e:
            raise Refused(f"plugin validation failed with err: {e}") from e
        driver = Driver(info.name, endpoint, chosen, self._metrics)
        undone.push_async_callback(driver.close)
        try:
            self._drivers.add(driver)
        except Refused as e:
            raise Refused(f"plugin registration failed with err: {e}") from e
        undone.callback(self._remove, driver)
        return driver

    def _remove(self, driver: Driver) -> None:
        log.info("driver %s at %s is gone", driver.name, driver.endpoint)
        self._drivers.remove(driver)


def sockets(directory: Path) -> Iterator[Socket]:
    """Those in the directory and below whose names begin with no dot."""
    for path in directory.rglob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.lstat()
            if stat.S_ISSOCK(found.st_mode):
                yield Socket(path, found.st_ino, found.st_mtime_ns)  # a change of its mode changes neither
