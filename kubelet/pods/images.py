"""Whether an image is there, and fetching it where the pull policy says so.
https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy
"""

import asyncio

from api import errors
from api.types import Container, Pod, Secret
from kubelet.pods.credentials import logins
from kubelet.pods.means import Means, aside, first
from kubelet.runtime.interfaces import EngineError, Image
from kubelet.syncing.restarts import LONGEST, duration
from kubelet.syncing.views import Fault

FIRST_WAIT = 10.0
NO_REFERENCE = "invalid reference format"  # the engine's words for a name that can be nobody's


class ImageFault(Exception):
    """The image cannot be had now; `fault` says what to show and when to try again."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Images:
    """The images of one pod's containers, with the back-off of each."""

    def __init__(self, means: Means, leaving: asyncio.Event) -> None:
        self._means = means
        self._leaving = leaving
        self._waits: dict[str, float] = {}

    async def ensure(self, pod: Pod, container: Container) -> Image:
        """The image, pulled if need be, with the events of that.  Raises ImageFault."""
        name, means = container.image, self._means
        path = field_path(pod, container)
        try:
            present = await means.runtime.image(name)
        except EngineError as e:
            if NO_REFERENCE not in str(e):
                raise
            raise ImageFault(self._misspelt(pod, container, path)) from e
        if present is not None and not _must_pull(container, present):
            means.recorder.event(
                pod, "Normal", "Pulled",
                f'Container image "{name}" already present on machine and can be accessed by the pod', field_path=path,
            )  # fmt: skip
            return present
        if container.imagePullPolicy == "Never":
            why = f'Container image "{name}" is not present with pull policy of Never'
            means.recorder.event(pod, "Warning", "ErrImageNeverPull", why, field_path=path)
            means.recorder.event(pod, "Warning", "Failed", "Error: ErrImageNeverPull", field_path=path)
            now = means.clock.now()
            raise ImageFault(Fault("ErrImageNeverPull", why, now, now + FIRST_WAIT))
        return await self._pull(pod, container, path)

    def _misspelt(self, pod: Pod, container: Container, path: str) -> Fault:
        name, recorder = container.image, self._means.recorder
        why = f'Failed to apply default image tag "{name}": couldn\'t parse image name "{name}": {NO_REFERENCE}'
        recorder.event(pod, "Warning", "InspectFailed", why, field_path=path)
        recorder.event(pod, "Warning", "Failed", "Error: InvalidImageName", field_path=path)
        now = self._means.clock.now()
        return Fault("InvalidImageName", why, now, now + FIRST_WAIT)

    async def _pull(self, pod: Pod, container: Container, path: str) -> Image:
        name, means = container.image, self._means
        means.recorder.event(pod, "Normal", "Pulling", f'Pulling image "{name}"', field_path=path)
        began = means.clock.monotonic()
        try:
            async with aside(means.starts):
                await first(self._fetch(pod, name, path), self._leaving.wait())
            image = await means.runtime.image(name)
        except EngineError as e:
            raise ImageFault(self._failed(pod, container, path, str(e))) from e
        if image is None:
            raise ImageFault(self._failed(pod, container, path, "pull canceled"))
        self._waits.pop(container.name or "", None)
        took = _took(means.clock.monotonic() - began)
        means.recorder.event(
            pod, "Normal", "Pulled",
            f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size: {image.size} bytes.',
            field_path=path,
        )  # fmt: skip
        return image

    async def _fetch(self, pod: Pod, name: str, path: str) -> None:
        """With each of the pod's logins for it, without one where there is none.  Raises EngineError."""
        means = self._means
        secrets: list[Secret] = []
        if pod.spec.imagePullSecrets:
            try:
                secrets, missing = await means.pull_secrets(pod)
            except errors.ApiError as e:
                raise EngineError(f"reading the pod's imagePullSecrets: {e}") from e
            if missing:
                why = "attempting to pull the image may not succeed."
                message = f"Unable to retrieve some image pull secrets ({', '.join(missing)}); {why}"
                means.recorder.event(pod, "Warning", "FailedToRetrieveImagePullSecret", message)
        tries = [*logins(secrets, name), None]
        for login in tries[:-1] or tries:
            try:
                await means.runtime.pull(name, login)
            except EngineError as e:
                refused = e
            else:
                return
        raise refused

    def _failed(self, pod: Pod, container: Container, path: str, why: str) -> Fault:
        name, recorder = container.image, self._means.recorder
        key = container.name or ""
        wait = min(LONGEST, 2 * self._waits[key]) if key in self._waits else FIRST_WAIT
        self._waits[key] = wait
        recorder.event(pod, "Warning", "Failed", f'Failed to pull image "{name}": {why}', field_path=path)
        recorder.event(pod, "Warning", "Failed", "Error: ErrImagePull", field_path=path)
        now = self._means.clock.now()
        return Fault(
            "ErrImagePull", why, now, now + wait,
            "ImagePullBackOff", f'Back-off pulling image "{name}": ErrImagePull: {why}',
        )  # fmt: skip


def _must_pull(container: Container, present: Image) -> bool:
    """`Always` asks the registry whether the name stands for something newer.  An image that was built or imported on
    this machine has no digest of any registry: there is nobody to ask, and it is used as it is."""
    return container.imagePullPolicy == "Always" and any("@sha256:" in n for n in present.names)


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}s" if seconds < 60 else duration(seconds)


def field_path(pod: Pod, container: Container) -> str:
    """Where a container stands in its pod's spec: spec.containers{web}."""
    for name in ("initContainers", "ephemeralContainers"):
        if any(c.name == container.name for c in getattr(pod.spec, name)):
            return f"spec.{name}{{{container.name}}}"
    return f"spec.containers{{{container.name}}}"
