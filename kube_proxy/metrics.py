"""What the proxy counts, under upstream's names for its nftables mode.

https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from collections.abc import Callable, Iterable, Mapping, Sized
from functools import partial

from api.meta import Key
from machinery.metrics import Counter, Exposition, Gauge, Histogram, Labels

SECONDS = tuple(0.001 * 2**n for n in range(15))
LONG = (0, 0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30))
FAMILY = ("ip_family",)
IPV4: Labels = ("IPv4",)
RULES = "kubeproxy_sync_proxy_rules"


class Metrics:
    """`seconds` is the time of day."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._started = seconds()
        self._queued = self._synced = 0.0
        self._triggers: list[float] = []
        self._pending: dict[str, set[Key]] = {"service": set(), "endpoint": set()}
        self._totals = {
            kind: Counter(f"{RULES}_{kind}_changes", f"Cumulative proxy rules {kind.capitalize()} changes")
            for kind in self._pending
        }
        self._syncs, self._full, self._partial = (
            Histogram(f"kubeproxy_sync_{which}proxy_rules_duration_seconds", help_, FAMILY, SECONDS)
            for which, help_ in (
                ("", "SyncProxyRules latency in seconds"),
                ("full_", "SyncProxyRules latency in seconds for full resyncs"),
                ("partial_", "SyncProxyRules latency in seconds for partial resyncs"),
            )
        )
        self._programming = Histogram(
            "kubeproxy_network_programming_duration_seconds", "In Cluster Network Programming Latency in seconds",
            FAMILY, LONG,
        )  # fmt: skip
        self._failures = Counter(f"{RULES}_nftables_sync_failures", "Cumulative proxy nftables sync failures", FAMILY)
        self._flows = Counter(
            "kubeproxy_conntrack_reconciler_deleted_entries",
            "Cumulative conntrack flows deleted by conntrack reconciler", FAMILY,
        )  # fmt: skip
        self._searches = Histogram(
            "kubeproxy_conntrack_reconciler_sync_duration_seconds", "ReconcileConntrackFlowsLatency latency in seconds",
            FAMILY, SECONDS,
        )  # fmt: skip
        self.health = Counter("kubeproxy_proxy_healthz", "Cumulative proxy healthz HTTP status", ("code",))
        self.life = Counter("kubeproxy_proxy_livez", "Cumulative proxy livez HTTP status", ("code",))
        self.without_local: dict[Key, frozenset[str]] = {}
        """The services whose policy `internal` or `external` is Local while only other nodes have endpoints."""

    def changed(self, kind: str, service: Key) -> None:
        """A service, or ("endpoint") a slice of one, is another than before."""
        self._queued = self._seconds()
        self._totals[kind].add()
        self._pending[kind].add(service)

    def triggered(self, at: float) -> None:
        """A slice comes with the time of what caused it; what happened before the proxy was there does not count."""
        if at >= self._started:
            self._triggers.append(at)

    def synced(self, took: float, *, full: bool) -> None:
        self._synced = self._seconds()
        for histogram in (self._syncs, self._full if full else self._partial):
            histogram.observe(took, IPV4)
        for at in self._triggers:
            self._programming.observe(self._synced - at, IPV4)
        self._triggers.clear()
        for pending in self._pending.values():
            pending.clear()

    def failed(self) -> None:
        self._failures.add(IPV4)

    def searched(self, took: float, deleted: int) -> None:
        """Connection tracking was searched for stale flows."""
        self._searches.observe(took, IPV4)
        self._flows.add(IPV4, deleted)

    def exposition(self) -> Exposition:
        return Exposition([
            self._syncs, self._full, self._partial, self._programming, self._failures, self._flows, self._searches,
            self.health, self.life, *self._totals.values(), *self._gauges(),
        ])  # fmt: skip

    def _gauges(self) -> Iterable[Gauge]:
        for kind, pending in self._pending.items():
            help_ = f"Pending proxy rules {kind.capitalize()} changes"
            yield Gauge(f"{RULES}_{kind}_changes_pending", help_, (), partial(_size, pending))
        yield Gauge(
            f"{RULES}_last_timestamp_seconds", "The last time proxy rules were successfully synced", FAMILY,
            lambda: {IPV4: self._synced},
        )  # fmt: skip
        yield Gauge(
            f"{RULES}_last_queued_timestamp_seconds", "The last time a sync of proxy rules was queued", FAMILY,
            lambda: {IPV4: self._queued},
        )  # fmt: skip
        yield Gauge(
            f"{RULES}_no_local_endpoints_total", "Number of services with a Local traffic policy and no endpoints",
            ("traffic_policy", "ip_family"), self._counted,
        )  # fmt: skip

    def _counted(self) -> dict[Labels, float]:
        found = [policy for policies in self.without_local.values() for policy in policies]
        return {(policy, *IPV4): found.count(policy) for policy in ("internal", "external")}


def _size(of: Sized) -> Mapping[Labels, float]:
    return {(): len(of)}
