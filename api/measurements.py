"""The definitions of the resource metrics API, which the published schema does not carry: what pods and nodes use.

https://kubernetes.io/docs/tasks/debug/debug-cluster/resource-metrics-pipeline/#metrics-api
"""

from typing import Any

GROUP_VERSION = "metrics.k8s.io/v1beta1"
_PACKAGE = "io.k8s.metrics.pkg.apis.metrics.v1beta1."
_META = "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1."
_QUANTITIES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"$ref": "#/$defs/io.k8s.apimachinery.pkg.api.resource.Quantity"},
    "description": "The amounts used, by resource: cpu, memory.",
}


def _measured(kind: str, description: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "required": ["timestamp", "window", *more],
        "properties": {
            "apiVersion": {"type": "string", "enum": [GROUP_VERSION]},
            "kind": {"type": "string", "enum": [kind]},
            "metadata": {"$ref": _META + "ObjectMeta"},
            "timestamp": {"$ref": _META + "Time", "description": "When the window ended."},
            "window": {"type": "string", "description": "How long it was measured: 15s."},
            **more,
        },
        "x-kubernetes-group-version-kind": [{"group": "metrics.k8s.io", "version": "v1beta1", "kind": kind}],
    }


def _list_of(kind: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "enum": [GROUP_VERSION]},
            "kind": {"type": "string", "enum": [f"{kind}List"]},
            "metadata": {"$ref": _META + "ListMeta"},
            "items": {"type": "array", "items": {"$ref": "#/$defs/" + _PACKAGE + kind}},
        },
        "x-kubernetes-group-version-kind": [{"group": "metrics.k8s.io", "version": "v1beta1", "kind": f"{kind}List"}],
    }


DEFINITIONS: dict[str, dict[str, Any]] = {
    _PACKAGE + "ContainerMetrics": {
        "type": "object",
        "description": "What a container uses.",
        "required": ["name", "usage"],
        "properties": {"name": {"type": "string"}, "usage": _QUANTITIES},
    },
    _PACKAGE + "NodeMetrics": _measured("NodeMetrics", "What a node uses.", usage=_QUANTITIES),
    _PACKAGE + "NodeMetricsList": _list_of("NodeMetrics"),
    _PACKAGE + "PodMetricsList": _list_of("PodMetrics"),
    _PACKAGE + "PodMetrics": _measured(
        "PodMetrics",
        "What the containers of a pod use.",
        containers={"type": "array", "items": {"$ref": "#/$defs/" + _PACKAGE + "ContainerMetrics"}},
    ),
}
