"""Making and starting the containers of one pod: its sandbox, then one after the other."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from api import errors
from api.types import ConfigMap, Container, LifecycleHandler, Pod, Secret
from kubelet.containers import security, specs
from kubelet.containers.accounts import Accounts
from kubelet.containers.environments import Sources, environment, file_references, service_variables
from kubelet.containers.fields import ConfigError, Place
from kubelet.devices.claims import ClaimFault
from kubelet.network.addresses import Exhausted
from kubelet.network.plumbing import NotReady
from kubelet.pods.following import Reference
from kubelet.pods.handlers import HandlerFailed
from kubelet.pods.images import ImageFault, Images, field_path
from kubelet.pods.means import Means, aside, first
from kubelet.runtime.interfaces import EngineError, EngineUnreachable, Image, LogOptions, Record, Spec
from kubelet.syncing import restarts
from kubelet.syncing.plans import Start
from kubelet.syncing.views import Fault
from kubelet.volumes import resolvers
from kubelet.volumes.contents import VolumeFault, is_made_of_files, words
from kubelet.volumes.layouts import Layout

RETRY = 10.0
REFRESH = 60.0
"""Tokens and certificates grow old without a word; of what else volumes show, its watch tells."""
FIRST_SANDBOX_RETRY, LONGEST_SANDBOX_RETRY = 1.0, 60.0
FIRST_MOUNT_RETRY, LONGEST_MOUNT_RETRY = 0.5, 122.0
FIRST_DEVICE_RETRY, LONGEST_DEVICE_RETRY = 1.0, 10.0
HOOK_TIMEOUT = 3600.0
PAUSE_TIMEOUT = 10.0


class Starting:
    """`faults` says, by container name, why the last try failed; "" stands for the sandbox and the volumes."""

    def __init__(self, means: Means, layout: Layout) -> None:
        self.faults: dict[str, Fault] = {}
        self._means = means
        self._layout = layout
        # Set when the pod is to end: nobody waits for a pull or a hook then.
        self.leaving = asyncio.Event()
        self._images = Images(means, self.leaving)
        self._sources = Sources()
        self._volumes_ready = False
        self._without_devices = False  # the last try to prepare the pod's claims came to nothing
        self._waits: dict[str, float] = {}

    def place(self, pod: Pod) -> Place:
        means = self._means
        return Place(means.host.node, means.host_ip, means.address_of(pod.metadata.uid), means.allocatable())

    async def volumes(self, pod: Pod, *, again: bool = False) -> bool:
        """Set the pod's volumes up; `again` brings them up to date.  False, with a fault, if that cannot be done."""
        if self._volumes_ready and not again:
            return True
        try:
            sources = await self._means.sources(pod)
            if pod.spec.volumes:
                await asyncio.to_thread(self._layout.set_up, pod, sources, self.place(pod))
        except (VolumeFault, errors.ApiError) as e:
            self._means.recorder.event(pod, "Warning", "FailedMount", str(e))
            if not self._volumes_ready:
                self._later("", "ContainerCreating", "", FIRST_MOUNT_RETRY, LONGEST_MOUNT_RETRY)
            return self._volumes_ready
        self._sources = sources
        self._volumes_ready = True
        self._clear("")
        return True

    async def devices(self, pod: Pod, *, again: bool) -> bool:
        """Prepare the pod's claims; `again` also if that was done before.  False, with a fault, if that cannot be."""
        means = self._means
        if not pod.spec.resourceClaims or (not again and means.devices.ready(pod)):
            return True
        try:
            async with aside(means.starts):
                await first(means.devices.prepare(pod), self.leaving.wait())
        except ClaimFault as e:
            message = f"Failed to prepare dynamic resources: {e}"
            means.recorder.event(pod, "Warning", "FailedPrepareDynamicResources", message)
            self._without_devices = True
            self._later("", "ContainerCreating", "", FIRST_DEVICE_RETRY, LONGEST_DEVICE_RETRY)
            return False
        self._without_devices = False
        return not self.leaving.is_set()

    async def sandbox(self, pod: Pod, attempt: int) -> Record | None:
        """A running pause container that is connected; None, with a fault, if that failed."""
        means, uid = self._means, pod.metadata.uid
        if attempt:
            message = "Pod sandbox changed, it will be killed and re-created."
            means.recorder.event(pod, "Normal", "SandboxChanged", message)
        made = ""
        try:
            pool = None if pod.spec.hostNetwork else await means.pool()
            address = pool.allocate(uid) if pool is not None else ""
            self._layout.pod.mkdir(parents=True, exist_ok=True)
            self._write_hosts(pod, address)
            wanted = resolvers.resolver(pod, means.resolver, means.cluster_dns, means.cluster_domain)
            self._layout.resolver.write_text(wanted.text())
            memory = self._layout.memory_mounts(pod)
            group = means.groups.ensure(pod)
            runtime = await self._runtime(pod)
            spec = specs.pause(
                means.host, pod, attempt, address, memory, means.cluster_domain, parent=group, runtime=runtime
            )
            means.metrics.started_pods.add()
            made = await means.runtime.create(spec)
            await means.runtime.start(made)
            means.groups.started(pod)
            if specs.leaves_network(means.host, pod):
                await self._left_network(made)
            record = await means.cache.refresh(made)
            if record is None or not record.running:
                raise EngineError(f"the pod's sandbox {made[:12]} did not stay alive")
            if pool is not None:
                given = await means.network.attach(pod, record, address)
                if given != address:
                    pool.adopt(uid, given)
                    self._write_hosts(pod, given)
        except (ConfigError, EngineError, OSError, Exhausted, NotReady) as e:
            if isinstance(e, NotReady):
                means.recorder.event(pod, "Warning", "NetworkNotReady", f"network is not ready: {e}")
            else:
                means.metrics.started_pods_errors.add()
                why = words(e) if isinstance(e, OSError) else e
                means.recorder.event(pod, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {why}")
            self._later("", "ContainerCreating", "", FIRST_SANDBOX_RETRY, LONGEST_SANDBOX_RETRY)
            if made:
                await means.runtime.remove(made)
                means.cache.forget(made)
            return None
        self._clear("")
        return record

    async def _runtime(self, pod: Pod) -> str:
        """The runtime of the engine that the pod's class names.  Raises ConfigError."""
        if not pod.spec.runtimeClassName:
            return ""
        try:
            handler = await self._means.handler(pod.spec.runtimeClassName)
        except errors.ApiError as e:
            raise ConfigError(f"failed to get sandbox runtime: {e.message}") from e
        known = self._means.runtimes()
        if handler and known and handler not in known:
            raise ConfigError(f'failed to get sandbox runtime: no runtime for "{handler}" is configured')
        return handler if known else ""

    def _write_hosts(self, pod: Pod, address: str) -> None:
        means = self._means
        text = resolvers.hosts(pod, address, specs.hostname(pod), means.cluster_domain, means.hosts)
        self._layout.hosts.write_text(text)

    async def _left_network(self, made: str) -> None:
        """Nothing may join the sandbox before its program has said that it is in a network namespace of its own."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_TIMEOUT):
                async for _, data in self._means.runtime.logs(made, LogOptions(follow=True, tty=False)):
                    if b"ready" in data:
                        return
        raise EngineError(f"the pause program of {made[:12]} did not leave the machine's network")

    async def container(self, pod: Pod, start: Start, sandbox: Record) -> Record | None:
        """A started container; None, with a fault, if that failed."""
        c = start.container
        name = c.name or ""
        self._means.metrics.container_started(pod, name)
        try:
            record = await self._created(pod, start, await self._spec(pod, start, sandbox))
        except ImageFault as e:
            self.faults[name] = e.fault
            self._means.metrics.container_failed(pod, name, e.fault.reason)
            return None
        except (ConfigError, VolumeFault, errors.ApiError) as e:
            self._fail(pod, c, "CreateContainerConfigError", str(e))
            return None
        finally:
            if _has_parts(c):
                await asyncio.to_thread(self._layout.release, c)
        if record is not None and c.lifecycle is not None and c.lifecycle.postStart is not None:
            return await self._post_start(pod, c, record, c.lifecycle.postStart)
        return record

    async def _created(self, pod: Pod, start: Start, spec: Spec) -> Record | None:
        c, means = start.container, self._means
        try:
            spec = self._with_profile(pod, c, spec)
            if c.resources.claims:
                spec = await means.devices.given(pod, c, spec)
            made = await means.runtime.create(spec)
        except EngineError as e:
            self._fail(pod, c, "CreateContainerError", str(e))
            return None
        self._tell(pod, c, "Normal", "Created", "Container created")
        try:
            await means.runtime.start(made)
        except EngineError as e:
            await means.cache.refresh(made)
            self._not_started(pod, start, str(e))
            return None
        self._tell(pod, c, "Normal", "Started", "Container started")
        self._clear(c.name or "")
        return await means.cache.refresh(made)

    def _with_profile(self, pod: Pod, c: Container, spec: Spec) -> Spec:
        """With the seccomp profile that the node has in a file.  Raises EngineError: upstream's engine reads it."""
        if not (name := security.seccomp_file(pod, c)):
            return spec
        path = self._means.root / "seccomp" / name
        try:
            profile = path.read_text()
        except OSError as e:
            why = f"{'read' if isinstance(e, IsADirectoryError) else 'open'} {words(e)}"
            raise EngineError(f'cannot load seccomp profile "{path}": {why}') from e
        except UnicodeDecodeError as e:
            raise EngineError(f'cannot load seccomp profile "{path}": {e}') from e
        return replace(spec, security=(*spec.security, f"seccomp={profile}"))

    def knows(self, reference: Reference, version: str) -> bool:
        """Whether that version of a source, "" if there is none, is what was read last, or what will be."""
        if not self._volumes_ready and "" not in self.faults:
            return True
        read: Mapping[str, ConfigMap | Secret] = self._sources.config_maps
        if reference.what is Secret:
            read = self._sources.secrets
        found = read.get(reference.name)
        return version == (found.metadata.resourceVersion if found is not None else "")

    def reconsider(self) -> None:
        """What the pod shows has changed: what it could not be configured by, or made of, may be there now."""
        for name, fault in self.faults.items():
            lacking = self._without_devices or not self._volumes_ready
            if fault.reason == "CreateContainerConfigError" or (not name and lacking):
                self.faults[name] = replace(fault, retry_at=self._means.clock.now())

    async def _spec(self, pod: Pod, start: Start, sandbox: Record) -> Spec:
        c, means = start.container, self._means
        image = await self._images.ensure(pod, c)
        security.check_non_root(pod, c, image.user)
        if any((c.envFrom, *(e.valueFrom for e in c.env))):
            await self._read_again(pod, start)
        await self._image_volumes(pod, c)
        memory = await self._memory_volumes(pod, c)
        sources = self._sources
        if file_references(c):
            sources = replace(sources, files=await asyncio.to_thread(self._layout.env_files, pod, c, memory))
        env = environment(pod, c, self.place(pod), sources, service_variables(pod, means.services()))
        mount = partial(
            self._layout.mounts, pod, c, start.attempt, env, memory, recursive=means.recursive_read_only()
        )  # fmt: skip
        mounts = await asyncio.to_thread(mount) if _has_parts(c) else mount()
        parent, target = means.groups.ensure(pod), self._target(pod, start.target)
        return specs.container(
            means.host, pod, start, sandbox, env, mounts, parent=parent, target=target, image_user=image.user,
            accounts=await self._accounts(pod, c, image),
        )  # fmt: skip

    async def _read_again(self, pod: Pod, start: Start) -> None:
        """What was read with the volumes is too old for another try, and knows nothing of a debugging container.

        While the API server does not answer it stands, so that what has ended is not kept from starting anew.
        """
        debugging = start.container.name in (e.name for e in pod.spec.ephemeralContainers)
        if not (start.attempt or start.container.name in self.faults or debugging):
            return
        try:
            self._sources = await self._means.sources(pod)
        except errors.ApiError:
            if debugging:
                raise

    async def _accounts(self, pod: Pod, c: Container, image: Image) -> Accounts | None:
        if not security.needs_accounts(pod, c, image.user):
            return None
        try:
            return await self._means.images.users.of(image.id)
        except EngineUnreachable:
            raise
        except EngineError as e:
            raise ConfigError(f"failed to read the users of image {image.id}: {e}") from e

    def _target(self, pod: Pod, name: str) -> str:
        """The id of the container of that name.  Raises ConfigError."""
        found = [r for r in self._means.cache.of(pod.metadata.uid) if r.name == name and r.running and not r.is_pause]
        if name and not found:
            raise ConfigError(f"unable to find target container {name}")
        return found[0].id if found else ""

    async def _image_volumes(self, pod: Pod, c: Container) -> None:
        mounted = {m.name for m in c.volumeMounts}
        for volume in pod.spec.volumes:
            if volume.image is None or volume.name not in mounted:
                continue
            image = await self._images.ensure_volume(pod, volume.image)
            directory = self._layout.volume(volume)
            if not directory.exists():
                part = self._layout.unpacking(volume)
                async with aside(self._means.starts):
                    await self._means.runtime.unpack(image.id, part)
                part.rename(directory)

    async def _memory_volumes(self, pod: Pod, c: Container) -> dict[str, str]:
        """Where those are of which the container needs a part."""
        parts = {m.name for m in c.volumeMounts if m.subPath or m.subPathExpr} | {v for v, _ in file_references(c)}
        return {
            v.name or "": await self._means.runtime.volume(self._layout.memory_volume(v))
            for v in pod.spec.volumes
            if v.name in parts and v.emptyDir is not None and v.emptyDir.medium == "Memory"
        }

    async def _post_start(self, pod: Pod, c: Container, record: Record, hook: LifecycleHandler) -> Record | None:
        """The container counts as running when its hook has ended well, and is killed when it has not."""
        means = self._means
        address = means.address_of(pod.metadata.uid) or means.host_ip
        try:
            async with aside(means.starts):
                await first(run_hook(means, hook, c, record, address, HOOK_TIMEOUT), self.leaving.wait())
        except HandlerFailed:
            self._tell(pod, c, "Warning", "FailedPostStartHook", "PostStartHook failed")
            await means.runtime.signal(record.id, "SIGKILL")
            await means.cache.ended(record.id)
            self._tell(pod, c, "Normal", "Killing", "FailedPostStartHook")
            return None
        return record

    def _not_started(self, pod: Pod, start: Start, why: str) -> None:
        c = start.container
        self._tell(pod, c, "Warning", "Failed", f"Error: {why}")
        self._means.metrics.container_failed(pod, c.name or "", "RunContainerError")
        now = self._means.clock.now()
        later = ("", "")
        if start.backoff:
            message = (
                f"back-off {restarts.duration(start.backoff)} restarting failed container={c.name} "
                f"pod={pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
            )
            later = ("CrashLoopBackOff", message)
        retry = now + max(start.backoff, Fault.LATER)
        self.faults[c.name or ""] = Fault("RunContainerError", why, now, retry, *later)

    def _fail(self, pod: Pod, c: Container, reason: str, why: str) -> None:
        self._tell(pod, c, "Warning", "Failed", f"Error: {why}")
        self._means.metrics.container_failed(pod, c.name or "", reason)
        now = self._means.clock.now()
        self.faults[c.name or ""] = Fault(reason, why, now, now + RETRY)

    def _later(self, name: str, reason: str, message: str, first: float, longest: float) -> None:
        wait = self._waits[name] = min(longest, 2 * self._waits[name]) if name in self._waits else first
        now = self._means.clock.now()
        self.faults[name] = Fault(reason, message, now, now + wait)

    def _clear(self, name: str) -> None:
        self.faults.pop(name, None)
        self._waits.pop(name, None)

    def _tell(self, pod: Pod, c: Container, kind: str, reason: str, message: str) -> None:
        self._means.recorder.event(pod, kind, reason, message, field_path=field_path(pod, c))


async def run_hook(
    means: Means, hook: LifecycleHandler, c: Container, record: Record, address: str, timeout: float
) -> None:  # fmt: skip
    """Raises HandlerFailed."""
    if hook.sleep is not None:
        await means.clock.sleep(min(float(hook.sleep.seconds or 0), timeout))
        return
    await means.handlers.perform(hook, c, record.id, address, timeout)


def _has_parts(c: Container) -> bool:
    """Does it mount parts of volumes?"""
    return any(m.subPath or m.subPathExpr for m in c.volumeMounts)


def refresh_period(pod: Pod) -> float | None:
    """Seconds between two looks at what the pod's volumes show; None if nothing in them may change while it runs."""
    return REFRESH if any(is_made_of_files(v) for v in pod.spec.volumes) else None


def by_name(pod: Pod) -> Mapping[str, Container]:
    return {c.name or "": c for c in (*pod.spec.initContainers, *pod.spec.containers)}
