"""The pages that only show what the kubelet knows."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from api import meta
from api.types import Pod
from kubelet.runtime.interfaces import POD_NAME, POD_NAMESPACE, Record
from machinery.monitoring import Check, health

NOT_FOUND = "404 page not found\n"


def healthz(request: web.BaseRequest, checks: Mapping[str, Check]) -> web.Response:
    """All of them, or the one that the path names."""
    name = request.path.removeprefix("/healthz").strip("/")
    if not name:
        return health(checks, verbose="verbose" in request.query)
    if name != "ping" and name not in checks:
        return web.Response(status=404, text=NOT_FOUND)
    if name != "ping" and not checks[name]():
        return web.Response(status=500, text=f"internal server error: {name} failed\n")
    return web.Response(text="ok")


def pods(assigned: Iterable[Pod]) -> web.Response:
    """Those that this node is to run, as a PodList."""
    return document({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [*map(_bare, assigned)]})


def _bare(pod: Pod) -> dict[str, Any]:
    """As items of a list stand in it."""
    return {key: value for key, value in meta.tree(pod).items() if key not in ("kind", "apiVersion")}


def running_pods(records: Iterable[Record]) -> web.Response:
    """Those that the engine runs, as far as it knows them."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        pod = found.get(record.uid)
        if pod is None:
            names = {"name": record.labels.get(POD_NAME, ""), "namespace": record.labels.get(POD_NAMESPACE, "")}
            metadata = {**names, "uid": record.uid, "creationTimestamp": None}
            pod = found[record.uid] = {"metadata": metadata, "spec": {"containers": []}, "status": {}}
        pod["spec"]["containers"].append({"name": record.name, "image": record.image, "resources": {}})
    return document({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [*found.values()]})


def document(body: object) -> web.Response:
    return web.Response(body=meta.encode(body), headers={"Content-Type": "application/json"})
