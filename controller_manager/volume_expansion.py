"""Claims that ask for more than their volume has: who is to see to it.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#expanding-persistent-volumes-claims . This project's own
volumes are grown by the binder.  Of others, as upstream since its own drivers are gone, no more is said than that they
wait for their driver.
"""

from api import meta, quantities, volumes
from api.meta import Key
from api.types import PersistentVolume, PersistentVolumeClaim
from controller_manager.contexts import Context
from machinery.controllers import Controller

COMPONENT = "volume_expand"
EXTERNAL = "waiting for an external controller to expand this PVC"


def new(context: Context) -> Controller:
    return ExpandController(context).controller


class ExpandController:
    """Its keys are claims."""

    def __init__(self, context: Context) -> None:
        self._claims = context.informers(PersistentVolumeClaim)
        self._volumes = context.informers(PersistentVolume)
        self._events = context.recorder(COMPONENT)
        self.controller = Controller(
            "persistentvolume-expander-controller", self.reconcile, informers=(self._claims, self._volumes)
        )
        self._claims.on_change(self._claim_changed)

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        if new is not None and (old is None or volumes.requested(old) != volumes.requested(new)) and wants_more(new):
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> None:
        claim = self._claims.get(*key)
        volume = self._volumes.get("", claim.spec.volumeName) if claim is not None else None
        if claim is None or volume is None or not wants_more(claim):
            return
        csi = volume.spec.csi
        if csi is None or csi.driver != volumes.LOCAL_DRIVER:
            self._events.event(claim, "Normal" if csi is not None else "Warning", "ExternalExpanding", EXTERNAL)


def wants_more(claim: PersistentVolumeClaim) -> bool:
    has = claim.status.capacity.get("storage", "")
    return (
        claim.status.phase == "Bound"
        and bool(has)
        and (quantities.parse(volumes.requested(claim)) > quantities.parse(has))
    )
