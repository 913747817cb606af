"""Whether the proxy does its work: every change that it has seen stands in the kernel within a minute.

https://kubernetes.io/docs/reference/networking/virtual-ips/ and KEP-3836 (`/healthz` also tells balancers to look
elsewhere while the node is going, `/livez` does not).
"""

from datetime import UTC, datetime

from api.types import Node
from kube_proxy.http_ports import Answer
from machinery.clocks import Clock

PATIENCE_SECONDS = 60.0
GOING = "ToBeDeletedByClusterAutoscaler"


class Health:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting_since: float | None = None
        self._updated = ""
        self.eligible = True

    def queued(self) -> None:
        """There is something to be programmed."""
        if self._waiting_since is None:
            self._waiting_since = self._clock.monotonic()

    def ready(self, is_ready: bool = True) -> None:
        """Whether all that was queued before is programmed."""
        if is_ready:
            self._waiting_since = None
            self._updated = _text(self._clock.now())
        else:
            self.queued()

    def see(self, node: Node | None) -> None:
        """This node's object has changed."""
        if node is not None:
            taints = (taint.key for taint in node.spec.taints)
            self.eligible = not node.metadata.deletionTimestamp and GOING not in taints

    @property
    def well(self) -> bool:
        since = self._waiting_since
        return since is None or self._clock.monotonic() - since < PATIENCE_SECONDS

    def healthz(self) -> Answer:
        return self._answer(self.well and self.eligible, f', "nodeEligible": {str(self.eligible).lower()}')

    def livez(self) -> Answer:
        return self._answer(self.well, "")

    def _answer(self, good: bool, more: str) -> Answer:
        now = _text(self._clock.now())
        updated = now if good else self._updated
        body = f'{{"lastUpdated": "{updated}","currentTime": "{now}"{more}}}'
        return Answer(body.encode(), "200 OK" if good else "503 Service Unavailable")


def _text(seconds: float) -> str:
    """As Go writes times when nobody says how."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")
