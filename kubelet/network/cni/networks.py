"""The pod network as the plug-ins make it."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from api import quantities
from api.types import Pod
from kubelet.network import links, ways
from kubelet.network.cni import configurations
from kubelet.network.cni.attachments import INTERFACE, Attachment, configuration
from kubelet.network.cni.plugins import Call, PluginFailed, execute
from kubelet.network.netlink import Netlink, netlink_in, open_namespace
from kubelet.network.plumbing import NotReady, close
from kubelet.runtime.interfaces import ADDRESS, Record

ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
INGRESS, EGRESS = "kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"
# Upstream's runtimes hand this on as the burst: without a number of one's own, as much as there may be.
BURST = 2**31 - 1

log = logging.getLogger("network")


class Plugins:
    """Implements `Network`. `records` is the directory of attachments, one file for each pod."""

    def __init__(
        self, configuration: Path, path: tuple[str, ...], records: Path, unreachable: Iterable[str],
        opened: Callable[[], Netlink] = Netlink,
    ) -> None:  # fmt: skip
        self._configuration = configuration
        self._path = path
        self._records = records
        self._unreachable = tuple(unreachable)
        self._opened = opened

    async def problem(self) -> str:
        network = configurations.find(self._configuration)
        if network is None:
            return _not_ready("cni plugin not initialized")
        if network.collects:
            try:
                for plugin in network.plugins:
                    await execute("STATUS", Call(), configuration(network, plugin, None), self._path)
            except PluginFailed as e:
                return _not_ready(str(e))
        return ""

    async def prepare(self) -> None:
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        """Ways to other nodes are the plug-ins' affair now; those that this kubelet made before are not."""
        with self._opened() as nl:
            close(nl, self._unreachable)
            links.delete_link(nl, ways.DEVICE)
            ways.settle(nl, ())

    def known(self, sandbox: Record) -> str:
        attachment = self._recorded(sandbox.uid)
        if attachment is None or attachment.container != sandbox.id or ADDRESS in sandbox.labels:
            return ""
        return attachment.address

    async def attach(self, pod: Pod, sandbox: Record, address: str) -> str:
        before = self._recorded(pod.metadata.uid)
        if before is not None and before.container == sandbox.id and before.result is not None:
            await before.check()
            return before.address
        if before is not None:
            await self.detach(pod.metadata.uid)
        if (problem := await self.problem()) or (network := configurations.find(self._configuration)) is None:
            raise NotReady(problem or _not_ready("cni plugin not initialized"))
        inode = await asyncio.to_thread(_raise_loopback, sandbox.pid)
        attachment = Attachment(
            network, self._path, sandbox.id, sandbox.pid, inode, arguments(pod, sandbox.id), capabilities(pod)
        )
        return await self._add(pod.metadata.uid, attachment)

    async def _add(self, uid: str, attachment: Attachment) -> str:
        attachment.save(self._file(uid))
        try:
            made = await attachment.add()
            made.save(self._file(uid))
            return made.address
        except PluginFailed as e:
            try:
                await self.detach(uid)
            except PluginFailed as again:
                # The record stays: the next try begins with it.
                log.warning("undoing what was done for pod %s: %s", uid, again)
            raise PluginFailed(f'failed to setup network for sandbox "{attachment.container}": {e}') from e

    async def detach(self, uid: str) -> None:
        attachment = self._recorded(uid)
        if attachment is not None:
            await attachment.delete()
            self._file(uid).unlink(missing_ok=True)

    async def sweep(self, uids: Callable[[], Iterable[str]]) -> None:
        await abandon(self._records, keep=uids())
        network = configurations.find(self._configuration)
        if network is None or not network.collects_garbage:
            return
        kept = [a for a in map(self._recorded, _uids(self._records)) if a is not None]
        valid = [{"containerID": a.container, "ifname": INTERFACE} for a in kept]
        for plugin in network.plugins:
            told = configuration(network, plugin, None, **{"cni.dev/valid-attachments": valid})
            try:
                await execute("GC", Call(), told, self._path)
            except PluginFailed as e:
                log.warning("%s", e)

    def _recorded(self, uid: str) -> Attachment | None:
        return recorded(self._file(uid))

    def _file(self, uid: str) -> Path:
        return self._records / f"{uid}.json"


async def abandon(records: Path, keep: Iterable[str] = ()) -> None:
    """Undo the attachments of all pods but these, as far as their plug-ins do."""
    for uid in _uids(records) - set(keep):
        file = records / f"{uid}.json"
        attachment = recorded(file)
        try:
            if attachment is not None:
                log.info("detaching the sandbox of pod %s, which this node has no more", uid)
                await attachment.delete()
            file.unlink()
        except PluginFailed as e:
            log.warning("%s", e)


def recorded(file: Path) -> Attachment | None:
    try:
        return Attachment.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, configurations.Unusable) as e:
        log.warning("the record %s is unreadable: %s", file, e)
        return None


def _uids(records: Path) -> set[str]:
    return {file.stem for file in records.glob("[!.]*.json")}


def arguments(pod: Pod, container: str) -> str:
    """https://github.com/containerd/containerd/blob/main/docs/cri/config.md#cni-config-template"""
    m = pod.metadata
    told = {
        "IgnoreUnknown": "1", "K8S_POD_NAMESPACE": m.namespace, "K8S_POD_NAME": m.name,
        "K8S_POD_INFRA_CONTAINER_ID": container, "K8S_POD_UID": m.uid,
    }  # fmt: skip
    return ";".join(f"{name}={value}" for name, value in told.items())


def capabilities(pod: Pod) -> dict[str, Any]:
    """What plug-ins that say that they can are told of the pod.  Raises PluginFailed.
    https://www.cni.dev/docs/conventions/#dynamic-plugin-specific-fields-capabilities--runtime-configuration
    """
    found: dict[str, Any] = {ANNOTATIONS: dict(pod.metadata.annotations)}
    ports = [
        {"hostPort": p.hostPort, "containerPort": p.containerPort, "protocol": (p.protocol or "TCP").lower()}
        | ({"hostIP": p.hostIP} if p.hostIP else {})
        for c in pod.spec.containers
        for p in c.ports
        if p.hostPort
    ]
    if ports:
        found["portMappings"] = ports
    bandwidth: dict[str, int] = {}
    for annotation, direction in ((INGRESS, "ingress"), (EGRESS, "egress")):
        if rate := pod.metadata.annotations.get(annotation):
            try:
                bandwidth |= {f"{direction}Rate": quantities.value(rate), f"{direction}Burst": BURST}
            except ValueError as e:
                raise PluginFailed(f"failed to get pod bandwidth: {annotation}: {e}") from e
    if bandwidth:
        found["bandwidth"] = bandwidth
    return found


def _raise_loopback(pid: int) -> int:
    """The loopback device is no network of a list; runtimes see to it.  The namespace's inode.  Raises OSError."""
    namespace = open_namespace(pid)
    try:
        with netlink_in(namespace) as inside:
            links.set_up(inside, links.link_index(inside, "lo"))
        return os.fstat(namespace).st_ino
    finally:
        os.close(namespace)


def _not_ready(why: str) -> str:
    said = f"Network plugin returns error: {why}"
    return f"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{said}"
