"""Whether an image is there for a pod's container, and fetching it where the pull policy says so.
https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from api import errors
from api.types import Container, ImageVolumeSource, Pod
from kubelet.images import names
from kubelet.images.credentials import Key, keys
from kubelet.images.pulling import Pulled
from kubelet.images.records import must_verify
from kubelet.pods.means import Means, aside, first
from kubelet.runtime.interfaces import EngineError, EngineUnreachable, Image, RegistryUnavailable
from kubelet.syncing.restarts import LONGEST, milliseconds
from kubelet.syncing.views import Fault

FIRST_WAIT = 10.0
FORGIVEN_AFTER = 2 * LONGEST


class ImageFault(Exception):
    """The image cannot be had now; `fault` says what to show and when to try again."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(slots=True)
class _Refusal:
    """The last pull of an image that came to nothing."""

    at: float
    wait: float
    reason: str
    message: str


@dataclass(slots=True)
class Images:
    """The images of one pod's containers, with the back-off of each."""

    means: Means
    leaving: asyncio.Event
    _refusals: dict[str, _Refusal] = field(default_factory=dict)

    async def ensure(self, pod: Pod, container: Container) -> Image:
        """The image, pulled if need be, with the events of that.  Raises ImageFault, or EngineUnreachable."""
        return await self._ensure(pod, container, self._teller(pod, field_path(pod, container)))

    async def ensure_volume(self, pod: Pod, source: ImageVolumeSource) -> Image:
        """The same, of one whose files are a volume.  Its events are the pod's, not a container's."""
        wanted = Container(image=source.reference, imagePullPolicy=source.pullPolicy)
        return await self._ensure(pod, wanted, self._teller(pod, ""))

    async def _ensure(self, pod: Pod, container: Container, tell: Callable[[str, str, str], None]) -> Image:
        try:
            name = names.tagged(container.image)
        except names.InvalidName as e:
            spelt = f'"{container.image}"'
            why = f"Failed to apply default image tag {spelt}: couldn't parse image name {spelt}: {e}"
            raise self._refused(tell, "InspectFailed", "InvalidImageName", why) from e
        try:
            present = await self.means.runtime.image(name)
        except EngineUnreachable:
            raise
        except EngineError as e:
            why = f'Failed to inspect image "{container.image}": {e}'
            raise self._refused(tell, "InspectFailed", "ImageInspectError", why) from e
        if present is not None and not _must_ask(container, present) and await self._may_use(pod, name, present):
            words = "already present on machine and can be accessed by the pod"
            tell("Normal", "Pulled", f'Container image "{container.image}" {words}')
            return present
        if container.imagePullPolicy == "Never":
            why = f'Container image "{container.image}" is not present with pull policy of Never'
            raise self._refused(tell, "ErrImageNeverPull", "ErrImageNeverPull", why)
        return await self._pull(pod, container, name, tell)

    def _teller(self, pod: Pod, path: str) -> Callable[[str, str, str], None]:
        recorder = self.means.recorder
        return lambda kind, reason, message: recorder.event(pod, kind, reason, message, field_path=path)

    def _refused(self, tell: Callable[[str, str, str], None], event: str, reason: str, why: str) -> ImageFault:
        """Nothing was asked of a registry."""
        tell("Warning", event, why)
        tell("Warning", "Failed", f"Error: {reason}")
        now = self.means.clock.now()
        return ImageFault(Fault(reason, why, now, now + FIRST_WAIT))

    async def _may_use(self, pod: Pod, name: str, present: Image) -> bool:
        known = self.means.images.records.of(present.id)
        if not must_verify(self.means.images.policy, known is not None):
            return True
        access = (known or {}).get(names.repository(name))
        if access is None or access.everybody:
            return access is not None
        return access.admits(await self._keys(pod, name))

    async def _keys(self, pod: Pod, name: str) -> list[Key]:
        """Raises EngineError where upstream's kubelet could not have asked either: the API server does not answer."""
        if not pod.spec.imagePullSecrets:
            return keys((), self.means.images.root, name)
        try:
            secrets, missing = await self.means.pull_secrets(pod)
        except errors.ApiError as e:
            raise EngineError(f"reading the pod's imagePullSecrets: {e}") from e
        if missing:
            why = "attempting to pull the image may not succeed."
            message = f"Unable to retrieve some image pull secrets ({', '.join(missing)}); {why}"
            self.means.recorder.event(pod, "Warning", "FailedToRetrieveImagePullSecret", message)
        return keys(secrets, self.means.images.root, name)

    async def _pull(
        self, pod: Pod, container: Container, name: str, tell: Callable[[str, str, str], None]
    ) -> Image:  # fmt: skip
        means, clock = self.means, self.means.clock
        self._wait_for_turn(container, name, tell)
        tell("Normal", "Pulling", f'Pulling image "{container.image}"')
        began = clock.monotonic()
        found: list[Pulled] = []

        async def fetch() -> None:
            found.append(await self.means.images.puller.pull(name, await self._keys(pod, name)))

        try:
            async with aside(means.starts):
                await first(fetch(), self.leaving.wait())
        except EngineError as e:
            raise ImageFault(self._failed(container, name, tell, e)) from e
        if not found:
            raise ImageFault(self._failed(container, name, tell, EngineError("pull canceled")))
        image, key, seconds = found[0].image, found[0].key, found[0].seconds
        self.means.images.records.add(image.id, names.repository(name), key, clock.now())
        took, waited = milliseconds(seconds), milliseconds(clock.monotonic() - began)
        words = f"in {took} ({waited} including waiting). Image size: {image.size} bytes."
        tell("Normal", "Pulled", f'Successfully pulled image "{container.image}" {words}')
        return image

    def _wait_for_turn(self, container: Container, name: str, tell: Callable[[str, str, str], None]) -> None:
        """Another container of this pod may have been refused the same image a moment ago."""
        last, clock = self._refusals.get(name), self.means.clock
        left = last.at + last.wait - clock.monotonic() if last is not None else 0.0
        if last is None or left <= 0:
            return
        words = f'Back-off pulling image "{container.image}"'
        tell("Normal", "BackOff", words)
        tell("Warning", "Failed", "Error: ImagePullBackOff")
        message = f"{words}: {last.reason}: {last.message}"
        now = clock.now()
        raise ImageFault(Fault("ImagePullBackOff", message, now, now + left))

    def _failed(
        self, container: Container, name: str, tell: Callable[[str, str, str], None], why: EngineError
    ) -> Fault:  # fmt: skip
        tell("Warning", "Failed", f'Failed to pull image "{container.image}": {why}')
        reason, message = "ErrImagePull", str(why)
        if isinstance(why, RegistryUnavailable):
            reason = "RegistryUnavailable"
            message = f"image pull failed for {container.image} because the registry is unavailable: {why}"
        tell("Warning", "Failed", f"Error: {reason}")
        now, steady, last = self.means.clock.now(), self.means.clock.monotonic(), self._refusals.get(name)
        again = last is not None and steady - last.at <= FORGIVEN_AFTER
        wait = min(LONGEST, 2 * last.wait) if last is not None and again else FIRST_WAIT
        self._refusals[name] = _Refusal(steady, wait, reason, message)
        return Fault(
            reason, message, now, now + wait,
            "ImagePullBackOff", f'Back-off pulling image "{container.image}": {reason}: {message}',
        )  # fmt: skip


def _must_ask(container: Container, present: Image) -> bool:
    """`Always` asks the registry whether the name stands for something newer.  An image that was built or imported on
    this machine has no digest of any registry: there is nobody to ask, and it is used as it is."""
    return container.imagePullPolicy == "Always" and any("@sha256:" in n for n in present.names)


def field_path(pod: Pod, container: Container) -> str:
    """Where a container stands in its pod's spec: spec.containers{web}."""
    for name in ("initContainers", "ephemeralContainers"):
        if any(c.name == container.name for c in getattr(pod.spec, name)):
            return f"spec.{name}{{{container.name}}}"
    return f"spec.containers{{{container.name}}}"
