"""A manifest → the static pod that it asks for; a static pod → the mirror pod that shows it.  Pure."""

import hashlib
from typing import Any

import msgspec
import yaml

from api import meta, pod_defaults, times
from api.types import Node, OwnerReference, Pod, Toleration
from kubelet.containers import environments
from kubelet.volumes import contents

HASH = "kubernetes.io/config.hash"
SOURCE = "kubernetes.io/config.source"
SEEN = "kubernetes.io/config.seen"
MIRROR = "kubernetes.io/config.mirror"
FILE, URL = "file", "http"
# What admission would look up for a pod that comes through the API server.
PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


class ManifestFault(Exception):
    """It is no pod, or one that cannot be run without the API server."""


def static_pods(manifest: bytes, source: str, origin: str, node: str, now: float) -> list[Pod]:
    """`source` is FILE or URL, `origin` the path or the address.  Only what comes from a URL may be a list of pods.

    The same manifest always gives the same uid, and a changed one another, so that a change is another pod.
    """
    try:
        document = yaml.safe_load(manifest)
    # A date or a number that there is not is a ValueError of YAML's, and what is nested too deep is none of its errors.
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise ManifestFault(f"couldn't parse as pod({e})") from e
    kind = document.get("kind") if isinstance(document, dict) else None
    listed = source == URL and kind in ("PodList", "List")
    if not listed and kind != "Pod":
        raise ManifestFault(f"invalid pod: its kind is {kind!r}")
    found = document.get("items") or [] if listed else [document]
    if not isinstance(found, list):
        raise ManifestFault("couldn't parse as pod(its items are no list)")
    return [_static_pod(each, source, origin, node, now) for each in found]


def _static_pod(document: Any, source: str, origin: str, node: str, now: float) -> Pod:
    try:
        pod = meta.decode(msgspec.json.encode(_said(document)), Pod)
    except (ValueError, TypeError, RecursionError) as e:
        raise ManifestFault(f"invalid pod: {e}") from e
    if not pod.metadata.name or not pod.spec.containers:
        raise ManifestFault("invalid pod: it needs a name and containers")
    if what := _api_reference(pod):
        raise ManifestFault(f"static pods may not reference {what}")
    metadata = pod.metadata
    if not metadata.uid:
        places = f"host:{node}file:{origin}" if source == FILE else f"url:{origin}"
        metadata.uid = hashlib.md5(places.encode() + meta.encode(pod), usedforsecurity=False).hexdigest()
    metadata.name = f"{metadata.name}-{node}"
    metadata.namespace = metadata.namespace or "default"
    metadata.annotations |= {HASH: metadata.uid, SOURCE: source, SEEN: times.format_micro(now)}
    pod.spec.nodeName = node
    if pod.spec.priority is None:
        pod.spec.priority = PRIORITIES.get(pod.spec.priorityClassName)
    if source == FILE:
        # Trouble of the node is no reason to end what may be there to mend it.
        pod.spec.tolerations.append(Toleration(operator="Exists", effect="NoExecute"))
    pod_defaults.pod(pod)
    return pod


def _said(document: Any) -> Any:
    """Without the fields that are null, which say nothing: `kubectl` writes some, and so does a key without a value."""
    if isinstance(document, dict):
        return {name: _said(value) for name, value in document.items() if value is not None}
    return [_said(each) for each in document] if isinstance(document, list) else document


def _api_reference(pod: Pod) -> str:
    """The first kind of objects that the pod needs of the API server, "" for none."""
    spec = pod.spec
    from_env = environments.references([*spec.initContainers, *spec.containers])
    from_volumes = contents.references(spec.volumes)
    wanted = {
        "serviceaccounts": spec.serviceAccountName or spec.serviceAccount,
        "secrets": spec.imagePullSecrets or from_env[1] | from_volumes[1],
        "configmaps": from_env[0] | from_volumes[0],
        "persistentvolumeclaims": [v for v in spec.volumes if v.persistentVolumeClaim or v.ephemeral],
        "resourceclaims": spec.resourceClaims,
    }
    return next((kind for kind, needs in wanted.items() if needs), "")


def is_static(pod: Pod) -> bool:
    return pod.metadata.annotations.get(SOURCE, "api") != "api" and MIRROR not in pod.metadata.annotations


def is_mirror(pod: Pod) -> bool:
    return MIRROR in pod.metadata.annotations


def local_uid(pod: Pod) -> str:
    """The uid under which this node knows an API server's pod: a mirror pod has one of its own there."""
    return pod.metadata.annotations.get(MIRROR) or pod.metadata.uid


def mirror(pod: Pod, node: Node) -> Pod:
    """What to create for a static pod.  It goes with its node."""
    made = meta.clone(pod)
    made.metadata.uid = ""
    made.metadata.annotations[MIRROR] = pod.metadata.annotations[HASH]
    owner = OwnerReference(
        apiVersion="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid, controller=True
    )  # fmt: skip
    made.metadata.ownerReferences = [owner]
    return made
