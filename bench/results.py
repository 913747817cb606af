"""What a benchmark found, and how it is shown."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from bench.attacks import ATTACKS, NODE_ATTACKS, STREAM_ATTACKS


class Result(msgspec.Struct, omit_defaults=True):
    """One figure. `goal` is what is to be reached, `reference` what Kubernetes 1.20.2 reached on such a machine,
    `floor` what the engine alone needs, measured in the same run."""

    name: str
    value: float
    unit: str
    better: Literal["lower", "higher"] = msgspec.field(default="lower")
    goal: float | None = None
    reference: float | None = None
    floor: float | None = None

    @property
    def reached(self) -> bool | None:
        """None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal


# name → (unit, better, goal, reference). Goals are issue 2's where it names one, else those of shared/bench.
KNOWN: dict[str, tuple[str, Literal["lower", "higher"], float | None, float | None]] = {
    "start.api": ("s", "lower", 1.5, 5.2),
    "start.nodes": ("s", "lower", 3.0, 18.5),
    "start.pod": ("s", "lower", 8.0, 19.5),
    "pods.start.p50": ("s", "lower", 0.6, 1.0),
    "pods.start.p90": ("s", "lower", 0.7, 1.35),
    "pods.start.ratio": ("×", "lower", 1.25, None),
    "pods.delete.p50": ("s", "lower", None, None),
    "pods.burst.last": ("s", "lower", None, None),
    "pods.burst.ratio": ("×", "lower", 1.15, None),
    "pods.burst.median": ("×", "lower", 0.5, None),
    "pods.burst.delete": ("s", "lower", None, None),
    "pods.burst.delete.ratio": ("×", "lower", None, None),
    "node.memory": ("MB", "lower", 90, 86),
    "node.idle": ("%", "lower", 1.0, None),
    "scale.up": ("s", "lower", 12.0, 16.8),
    "scale.rollout": ("s", "lower", 15.0, 21.0),
    "scale.down": ("s", "lower", 0.8, 0.75),
    "api.create": ("/s", "higher", 276, 274),
    "api.get": ("/s", "higher", 2000, 1950),
    "api.patch": ("/s", "higher", 990, 900),
    "api.list.p50": ("s", "lower", 0.07, 0.08),
    "api.watch.p50": ("s", "lower", 0.0045, 0.0045),
    "api.watch.p99": ("s", "lower", 0.0115, 0.0115),
    "api.watchers.p50": ("s", "lower", None, None),
    "api.watchers.p99": ("s", "lower", 0.1, None),
    "api.large.list": ("s", "lower", 0.06, None),
    "api.large.list.gzip": ("s", "lower", None, None),
    "api.large.memory": ("MB", "lower", 250, None),
    "controllers.burst": ("s", "lower", 2.0, None),
    "controllers.namespaces": ("s", "lower", 20.0, None),
    "controllers.idle": ("%", "lower", 2.0, None),
    "controllers.metrics.memory": ("MB", "lower", None, None),
    "scheduler.algorithm.5000_nodes": ("/s", "higher", 5000, 680),
    "scheduler.spread.5000_nodes": ("/s", "higher", 1000, 500),
    "scheduler.anti_affinity.5000_nodes": ("/s", "higher", 500, 60),
    "scheduler.devices.1000_nodes": ("/s", "higher", 1000, None),
    "scheduler.end_to_end.1000_nodes": ("/s", "higher", 800, 146),
    "scheduler.preemption": ("/s", "higher", 100, None),
    "scheduler.idle": ("%", "lower", 2.0, None),
    "proxy.throughput": ("", "higher", 0.97, None),
    "proxy.throughput.processor": ("", "higher", 0.97, None),
    "proxy.connections.processor": ("", "higher", 0.90, None),
    "proxy.connections": ("", "higher", 0.90, None),
    "proxy.setup.growth": ("", "lower", None, None),
    "proxy.first.p50": ("s", "lower", 0.02, None),
    "proxy.first.p99": ("s", "lower", 0.1, None),
    "proxy.first.growth": ("", "lower", 1.5, None),
    "proxy.change.endpoint": ("s", "lower", 0.002, None),
    "proxy.change.service": ("s", "lower", 0.002, None),
    "proxy.start.processor": ("s", "lower", 2.0, None),
    "proxy.start": ("s", "lower", 2.0, None),
    "fleet.nodes": ("s", "lower", None, None),
    "fleet.pods": ("s", "lower", None, None),
    "fleet.memory": ("MB", "lower", None, None),
    "fleet.idle": ("%", "lower", None, None),
    "dns.queries": ("/s", "higher", 5000, None),
    "dns.queries.distinct": ("/s", "higher", 5000, None),
    "dns.p50": ("s", "lower", None, None),
    "dns.p99": ("s", "lower", 0.005, None),
    "rolling.lost": ("requests", "lower", 0, None),
    "rolling.requests": ("/s", "higher", 480, None),
    **{
        f"overload.{kind}{without}.{what}": (unit, "lower", goal if not without else None, None)
        for kind in ("lists", "watches", "writes")
        for without in ("", ".without")
        for what, unit, goal in (
            ("heartbeat.p50", "s", None),
            ("heartbeat.p99", "s", 1.0),
            ("binding.p99", "s", 1.0),
            ("memory", "MB", 250),
        )
    },
    **{
        f"overload.{attack}.{what}": (unit, "lower", None, None)
        for attack in (*ATTACKS, *(f"kubelet.{name}" for name in NODE_ATTACKS), *STREAM_ATTACKS)
        for what, unit in (("memory", "MB"), ("processor", "%"), ("p99", "s"))
    },
    "memory.apiserver": ("MB", "lower", 120, 347),
    "memory.controller-manager": ("MB", "lower", 70, 89),
    "memory.scheduler": ("MB", "lower", 60, 42),
    "memory.etcd": ("MB", "lower", 45, 45),
    "memory.node": ("MB", "lower", 90, 86),
}


def result(name: str, value: float, floor: float | None = None) -> Result:
    unit, better, goal, reference = KNOWN[name]
    return Result(name, round(value, 5), unit, better, goal, reference, floor and round(floor, 5))


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(results: Sequence[Result]) -> str:
    """The results as text, one line each; the ratio is ours to the reference, so that below 1 is better if lower is."""
    head = ("measure", "here", "goal", "reference", "ratio", "floor", "")
    rows = [head]
    for r in results:
        ratio = f"{r.value / r.reference:.2f}" if r.reference else ""
        verdict = {True: "reached", False: "missed", None: ""}[r.reached]
        rows.append((
            r.name, _show(r.value, r.unit), _show(r.goal, r.unit), _show(r.reference, r.unit), ratio,
            _show(r.floor, r.unit), verdict,
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _show(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "s" and value < 0.1:
        return f"{value * 1000:.1f} ms"
    return f"{value:.2f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def document(results: Sequence[Result]) -> bytes:
    rows = [{"better": r.better} | msgspec.to_builtins(r) for r in results]
    order = ("name", "value", "unit", "better", "goal", "reference", "floor")
    return msgspec.json.format(
        msgspec.json.encode({"results": [{k: row[k] for k in order if row.get(k) is not None} for row in rows]})
    )
