"""The pods and deployments that the benchmarks run."""

from typing import Any

Object = dict[str, Any]
IMAGE = "busybox:1.29"


def pod(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "1"}}, "spec": _spec("")}


def deployment(name: str, replicas: int, version: str) -> Object:
    """`version` differs in the pods' environment only: a new one is a new template."""
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": _spec(version)},
        },
    }  # fmt: skip


def _spec(version: str) -> Object:
    return {
        "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
        "containers": [{
            "name": "c", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"],
            "env": [{"name": "V", "value": version}],
        }],
    }  # fmt: skip


def version_of(pod: Object) -> str:
    value: str = pod["spec"]["containers"][0]["env"][0].get("value", "")
    return value


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
