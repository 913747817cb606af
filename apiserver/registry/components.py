"""ComponentStatus: how the control plane's parts are, asked for and stored nowhere.

Deprecated upstream since v1.19, and still what `kubectl get componentstatuses` shows.  Upstream asks the health pages
of a scheduler and a controller manager on its own machine; here their leases say whether they live, wherever they run.
"""

from collections.abc import Callable

from api import errors, kinds, labels, meta, times
from api.types import ComponentCondition, ComponentStatus, Lease, ObjectMeta
from apiserver.registry.objects import Objects
from apiserver.requests import Item, Listing, ListOptions, Request
from apiserver.storage.worlds import World
from machinery.clocks import Clock

STATUSES, LEASES = kinds.of(ComponentStatus), kinds.of(Lease)
LEASED = {"scheduler": "kube-scheduler", "controller-manager": "kube-controller-manager"}
Check = Callable[[], str]
"""What is wrong; "" if nothing."""


class Components:
    def __init__(self, world: World, objects: Objects, clock: Clock) -> None:
        self._world = world
        self._objects = objects
        self._clock = clock

    async def get(self, request: Request) -> bytes:
        """Raises NotFound."""
        return self._document(request.name)

    async def list(self, request: Request, options: ListOptions) -> Listing:
        # They have no labels: a selector that asks for any finds none of them.
        found = [*LEASED, "etcd-0"] if labels.parse(options.label_selector).matches({}) else []
        return Listing(str(self._world.revision), [Item("", name, 0, self._document(name)) for name in found])

    def _document(self, name: str) -> bytes:
        wrong = self._wrong(name)
        condition = ComponentCondition(type="Healthy", status="False" if wrong else "True", message=wrong or "ok")
        return meta.encode(ComponentStatus(metadata=ObjectMeta(name=name), conditions=[condition]))

    def _wrong(self, name: str) -> str:
        if name == "etcd-0":
            return "" if self._world.following else "etcd does not tell of changes"
        if name not in LEASED:
            raise errors.not_found(STATUSES.group_resource, name)
        lease: Lease | None = self._objects.get_cached(LEASES, "kube-system", LEASED[name])
        if lease is None or not lease.spec.renewTime:
            return f"nobody has ever held the lease kube-system/{LEASED[name]}"
        ends = times.parse(lease.spec.renewTime) + (lease.spec.leaseDurationSeconds or 0)
        if ends < self._clock.now():
            return f"the lease kube-system/{LEASED[name]} was last renewed at {lease.spec.renewTime}"
        return "" if lease.spec.holderIdentity else f"the lease kube-system/{LEASED[name]} was given up"
