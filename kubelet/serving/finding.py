"""Which container a caller means."""

from api import errors
from api.types import ContainerStateWaiting, Pod
from kubelet.pods.caches import Cache
from kubelet.runtime.interfaces import Record
from kubelet.statics.manifests import local_uid
from kubelet.syncing.views import debugging
from machinery.informers import Informer
from proto import node_pb2 as pb

WAITING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}
"""What upstream says instead of a reason."""


class Finder:
    def __init__(self, pods: Informer[Pod], cache: Cache) -> None:
        self._pods = pods
        self._cache = cache

    def pod(self, namespace: str, name: str, uid: str = "") -> Pod:
        """Raises NotFound."""
        found = self._pods.get(namespace, name)
        if found is None or (uid and found.metadata.uid != uid):
            raise errors.not_found("pods", name)
        return found

    def sandbox(self, pod: Pod) -> Record:
        """Raises NotFound."""
        for record in self._cache.of(local_uid(pod)):
            if record.is_pause and record.running:
                return record
        raise errors.NotFound(f"pod not found ({pod.metadata.name}_{pod.metadata.namespace})")

    def container(self, wanted: pb.Container, *, previous: bool = False) -> Record:
        """The newest instance that ran, or the one before.  Raises NotFound, BadRequest."""
        pod = self.pod(wanted.namespace, wanted.pod, wanted.pod_uid)
        specs = [*pod.spec.containers, *pod.spec.initContainers, *debugging(pod)]
        name = wanted.container or next((c.name or "" for c in pod.spec.containers), "")
        if all(c.name != name for c in specs):
            raise errors.BadRequest(f"container {name} is not valid for pod {wanted.pod}")
        mine = [r for r in self._cache.of(local_uid(pod)) if not r.is_pause and r.name == name]
        ran = sorted((r for r in mine if r.started_at), key=lambda r: r.attempt, reverse=True)
        if previous:
            ended = [r for r in ran if r.ended]
            # While the next one is waited for, the newest of all is the one before.
            followed = bool(ended) and (ran[0].running or _waiting(pod, name) is not None)
            before = ended if followed else ended[1:] or ended
            if not before or (not followed and len(ran) == 1 and ran[0].attempt == 0):
                raise errors.BadRequest(f'previous terminated container "{name}" in pod "{wanted.pod}" not found')
            return before[0]
        if not ran:
            raise errors.BadRequest(
                f'container "{name}" in pod "{wanted.pod}" is waiting to start: {_reason(pod, name)}'
            )
        return ran[0]

    def running(self, wanted: pb.Container) -> Record:
        """Raises NotFound, BadRequest."""
        record = self.container(wanted)
        if not record.running:
            raise errors.NotFound(f'container not found ("{record.name}")')
        return record

    def everything(self) -> list[Record]:
        """Every running container but the pause containers."""
        records = [r for uid in self._cache.uids() for r in self._cache.of(uid)]
        return [r for r in records if r.running and not r.is_pause]


def _waiting(pod: Pod, name: str) -> ContainerStateWaiting | None:
    statuses = [*pod.status.containerStatuses, *pod.status.initContainerStatuses]
    return next((s.state.waiting for s in statuses if s.name == name), None)


def _reason(pod: Pod, name: str) -> str:
    waiting = _waiting(pod, name)
    reason = (waiting.reason if waiting is not None else "") or "ContainerCreating"
    return WAITING.get(reason, reason)
