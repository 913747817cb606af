"""What a manifest stands for."""

from typing import Any

import msgspec
import pytest

from api.types import Node, ObjectMeta
from kubelet.statics.manifests import (
    FILE,
    HASH,
    MIRROR,
    SOURCE,
    URL,
    ManifestFault,
    is_mirror,
    is_static,
    local_uid,
    mirror,
    static_pods,
)  # fmt: skip


def manifest(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "app:1"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": containers, **spec}}


def read(document: Any, source: str = FILE, origin: str = "/m/web.yaml", node: str = "n1") -> Any:
    return static_pods(msgspec.json.encode(document), source, origin, node, 1.0)


def test_the_same_manifest_is_the_same_pod_and_any_difference_another() -> None:
    (pod,) = read(manifest())
    assert read(manifest())[0].metadata.uid == pod.metadata.uid
    others = [read(manifest(hostNetwork=True)), read(manifest(), origin="/m/b.yaml"), read(manifest(), node="n2")]
    assert len({pod.metadata.uid, *(found[0].metadata.uid for found in others)}) == 4


def test_a_static_pod_is_named_for_its_node_and_has_the_defaults_of_any_other() -> None:
    (pod,) = read(manifest(priorityClassName="system-node-critical"))
    assert (pod.metadata.name, pod.metadata.namespace, pod.spec.nodeName) == ("web-n1", "default", "n1")
    assert (pod.spec.restartPolicy, pod.spec.containers[0].imagePullPolicy) == ("Always", "IfNotPresent")
    assert (pod.spec.priority, pod.status.phase) == (2_000_001_000, "Pending")
    assert pod.metadata.annotations[SOURCE] == "file"


def test_a_url_may_give_a_list_and_a_file_may_not() -> None:
    second = manifest() | {"metadata": {"name": "b"}}
    listed = {"apiVersion": "v1", "kind": "PodList", "items": [manifest(), second]}
    assert [pod.metadata.name for pod in read(listed, URL, "http://x")] == ["web-n1", "b-n1"]
    assert read(manifest(), URL, "http://x")[0].spec.tolerations == []
    with pytest.raises(ManifestFault, match="its kind is 'PodList'"):
        read(listed)


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (manifest(serviceAccountName="builder"), "static pods may not reference serviceaccounts"),
        (manifest(imagePullSecrets=[{"name": "s"}]), "static pods may not reference secrets"),
        (manifest(volumes=[{"name": "c", "configMap": {"name": "c"}}]), "static pods may not reference configmaps"),
        (manifest(containers=[]), "it needs a name and containers"),
        (manifest(hostNetwork="perhaps"), "invalid pod: Expected `bool"),
        ([], "its kind is None"),
    ],
)
def test_what_is_no_pod_or_needs_the_api_server_is_refused(document: Any, fault: str) -> None:
    with pytest.raises(ManifestFault, match=fault):
        read(document)


def test_a_mirror_is_the_nodes_and_leads_back_to_its_pod() -> None:
    (pod,) = read(manifest())
    made = mirror(pod, Node(metadata=ObjectMeta(name="n1", uid="node-uid")))
    assert made.metadata.annotations[MIRROR] == made.metadata.annotations[HASH] == pod.metadata.uid
    assert [(o.kind, o.uid, o.controller) for o in made.metadata.ownerReferences] == [("Node", "node-uid", True)]
    assert (is_static(pod), is_mirror(pod), is_static(made), is_mirror(made)) == (True, False, False, True)
    made.metadata.uid = "given by the API server"
    assert local_uid(made) == local_uid(pod) == pod.metadata.uid


def test_a_field_that_is_null_says_nothing() -> None:
    container = {"name": "main", "image": "app:1", "env": None, "resources": {"limits": None}}
    document = {
        "kind": "Pod", "metadata": {"name": "web", "creationTimestamp": None},
        "spec": {"containers": [container], "tolerations": None}, "status": None,
    }  # fmt: skip
    (pod,) = read(document)
    assert pod.spec.containers[0].env == []


@pytest.mark.parametrize(
    "text",
    [
        "kind: Pod\nsince: 2024-13-45",
        "kind: Pod\nsize: " + "9" * 5000,
        "kind: Pod\nmetadata: " + "[" * 5000 + "]" * 5000,
        "kind: Pod\nmetadata: {name: web}\nspec: &spec {containers: [{name: main, image: app:1}], again: *spec}",
        "kind: List\nitems: 5",
    ],
)
def test_whatever_a_manifest_says_it_is_a_fault_of_its_own(text: str) -> None:
    with pytest.raises(ManifestFault):
        static_pods(text.encode(), URL, "http://x", "n1", 1.0)
