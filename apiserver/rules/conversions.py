"""Kinds that are served in two versions and stored in one: what either form is in the other.

Events are stored as core/v1 and autoscalers as autoscaling/v2.  A version that cannot say something of the stored one
keeps it in an annotation, under upstream's names, so that nothing is lost on the way there and back.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from api import kinds
from api.kinds import Kind

Tree = dict[str, Any]
Turn = Callable[[Tree], Tree]

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_EVENT_NAMES = {
    "regarding": "involvedObject", "note": "message", "deprecatedSource": "source", "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp", "deprecatedLastTimestamp": "lastTimestamp",
    "reportingController": "reportingComponent",
}  # fmt: skip
_SERVED_EVENT_NAMES = {core: modern for modern, core in _EVENT_NAMES.items()}


def stored_kind(kind: Kind) -> Kind:
    """The kind as which objects of `kind` are stored: nearly always itself."""
    found = _TWINS.get((kind.api_version, kind.name))
    return found[0] if found else kind


def to_stored(kind: Kind, obj: Any) -> Any:
    """An object of `kind` as one of its stored kind."""
    found = _TWINS.get((kind.api_version, kind.name))
    if found is None:
        return obj
    stored, into, _ = found
    tree = {name: value for name, value in into(msgspec.to_builtins(obj)).items() if value is not None}
    return msgspec.convert({**tree, **_identity(stored)}, stored.type)


def to_served(kind: Kind, tree: Tree) -> Tree:
    """A document of the stored kind as one of `kind`."""
    found = _TWINS.get((kind.api_version, kind.name))
    return {**_identity(kind), **found[2](tree), **_identity(kind)} if found else tree


def document(kind: Kind, stored: bytes) -> bytes:
    """The same for an encoded document; a Status stays what it is."""
    if (kind.api_version, kind.name) not in _TWINS:
        return stored
    tree = msgspec.json.decode(stored)
    if tree.get("kind") != kind.name:
        return stored
    return msgspec.json.encode(to_served(kind, tree))


def field_selector(kind: Kind, text: str) -> str:
    """A field selector in the names of the stored kind."""
    if kind.api_version != "events.k8s.io/v1":
        return text
    for modern, core in (("regarding.", "involvedObject."), ("reportingController", "reportingComponent")):
        text = text.replace(modern, core)
    return text


def _identity(kind: Kind) -> Tree:
    return {"apiVersion": kind.api_version, "kind": kind.name}


# --- events


def _core_event(tree: Tree) -> Tree:
    return {_EVENT_NAMES.get(name, name): value for name, value in tree.items()}


def _modern_event(tree: Tree) -> Tree:
    return {_SERVED_EVENT_NAMES.get(name, name): value for name, value in tree.items()}


# --- autoscalers


def _autoscaler_v2(tree: Tree) -> Tree:
    """From v1: the goal for the CPU is the first metric, the others come from the annotation."""
    metadata, spec, status = (dict(tree.get(part) or {}) for part in ("metadata", "spec", "status"))
    annotations = dict(metadata.get("annotations") or {})
    metrics = [_metric_v2(m) for m in _listed(annotations.pop(METRICS, ""))]
    goal = spec.pop("targetCPUUtilizationPercentage", None)
    if goal is not None:
        target = {"type": "Utilization", "averageUtilization": goal}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if behavior := _read(annotations.pop(BEHAVIOR, "")):
        spec["behavior"] = behavior
    if conditions := _listed(annotations.pop(CONDITIONS, "")):
        status["conditions"] = conditions
    used = status.pop("currentCPUUtilizationPercentage", None)
    if used is not None:
        current = {"averageUtilization": used}
        status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    return {**tree, "metadata": {**metadata, "annotations": annotations}, "spec": spec, "status": status}


def _autoscaler_v1(tree: Tree) -> Tree:
    """From v2: the first goal for the utilization of the CPU, and the rest in annotations."""
    metadata, spec, status = (dict(tree.get(part) or {}) for part in ("metadata", "spec", "status"))
    annotations = dict(metadata.get("annotations") or {})
    rest = []
    for metric in spec.pop("metrics", None) or []:
        goal = _cpu(metric, "target")
        if goal is not None and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = goal
        else:
            rest.append(_metric_v1(metric))
    behavior, conditions = spec.pop("behavior", None), status.pop("conditions", None)
    for name, value in ((METRICS, rest), (BEHAVIOR, behavior), (CONDITIONS, conditions)):
        if value:
            annotations[name] = msgspec.json.encode(value).decode()
    for metric in status.pop("currentMetrics", None) or []:
        used = _cpu(metric, "current")
        if used is not None:
            status["currentCPUUtilizationPercentage"] = used
    if annotations:
        metadata["annotations"] = annotations
    return {**tree, "metadata": metadata, "spec": spec, "status": status}


def _cpu(metric: Tree, part: str) -> int | None:
    resource = metric.get("resource") or {}
    used: int | None = (resource.get(part) or {}).get("averageUtilization")
    return used if metric.get("type") == "Resource" and resource.get("name") == "cpu" else None


_SOURCES = {
    "Resource": "resource", "ContainerResource": "containerResource", "Pods": "pods", "Object": "object",
    "External": "external",
}  # fmt: skip


def _metric_v1(metric: Tree) -> Tree:
    """v2 has a metric and a target in each source, v1 has their parts side by side."""
    source = _SOURCES.get(metric.get("type", ""), "")
    old = dict(metric.get(source) or {})
    target, named = old.pop("target", None) or {}, old.pop("metric", None) or {}
    described = old.pop("describedObject", None)
    selector = "metricSelector" if source == "external" else "selector"
    value = "averageValue" if source == "object" else "targetAverageValue"
    new = {
        **old, "metricName": named.get("name"), selector: named.get("selector"), "target": described,
        "targetValue": target.get("value"), value: target.get("averageValue"),
        "targetAverageUtilization": target.get("averageUtilization"),
    }  # fmt: skip
    return {"type": metric.get("type"), source: {k: v for k, v in new.items() if v is not None}}


def _metric_v2(metric: Tree) -> Tree:
    source = _SOURCES.get(metric.get("type", ""), "")
    old = dict(metric.get(source) or {})
    parts = {
        "value": old.pop("targetValue", None), "averageUtilization": old.pop("targetAverageUtilization", None),
        "averageValue": old.pop("averageValue" if source == "object" else "targetAverageValue", None),
    }  # fmt: skip
    target = {k: v for k, v in parts.items() if v is not None}
    sort = "Utilization" if "averageUtilization" in target else "Value" if "value" in target else "AverageValue"
    new = {"target": {"type": sort, **target}}
    if "target" in old:
        new["describedObject"] = old.pop("target")
    named = {
        "name": old.pop("metricName", None),
        "selector": old.pop("metricSelector", None) or old.pop("selector", None),
    }
    if named["name"]:
        new["metric"] = {k: v for k, v in named.items() if v is not None}
    return {"type": metric.get("type"), source: {**old, **new}}


def _read(text: str) -> Any:
    """What an annotation holds; what cannot be read counts as nothing, as upstream has it."""
    try:
        return msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _listed(text: str) -> list[Tree]:
    found = _read(text)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _kind(group: str, version: str, plural: str) -> Kind:
    kind = kinds.by_resource(group, version, plural)
    assert kind is not None
    return kind


_TWINS: dict[tuple[str, str], tuple[Kind, Turn, Turn]] = {
    ("events.k8s.io/v1", "Event"): (_kind("", "v1", "events"), _core_event, _modern_event),
    ("autoscaling/v1", "HorizontalPodAutoscaler"): (
        _kind("autoscaling", "v2", "horizontalpodautoscalers"), _autoscaler_v2, _autoscaler_v1,
    ),
}  # fmt: skip
"""(apiVersion, kind) served → as what it is stored, into that form, and out of it."""
