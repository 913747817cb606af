"""What is compiled out of the published schema."""

from api import kinds
from apiserver.patching.schemas import ANYTHING, UNTRACKED, Node, node_of, tracked


def at(node: Node, *path: str) -> Node:
    for step in path:
        node = node.element or ANYTHING if step == "*" else node.child(step)
    return node


def test_lists_are_maps_sets_or_atomic() -> None:
    pod = node_of("Pod")
    assert at(pod, "spec", "containers", "*", "ports").keys == ("containerPort", "protocol")
    assert at(pod, "spec", "containers").merge_key == "name"
    finalizers = at(pod, "metadata", "finalizers")
    assert (finalizers.atomic, finalizers.keys, finalizers.strategy) == (False, (), "merge")
    assert at(pod, "spec", "containers", "*", "args").atomic
    assert at(pod, "spec", "tolerations").atomic


def test_a_reference_may_override_what_it_refers_to() -> None:
    assert node_of("ObjectReference").atomic
    assert not at(node_of("PersistentVolume"), "spec", "claimRef").atomic
    assert at(node_of("PodDisruptionBudget"), "spec", "selector").strategy == "replace"


def test_a_schema_may_contain_itself() -> None:
    version = at(node_of("CustomResourceDefinition"), "spec", "versions", "*", "schema", "openAPIV3Schema")
    assert at(version, "properties", "*") is version


def test_quantities_and_ports_may_be_strings_or_numbers() -> None:
    assert at(node_of("Container"), "resources", "limits", "*").scalar == ""
    assert at(node_of("ServicePort"), "targetPort").scalar == ""
    assert at(node_of("ServicePort"), "port").scalar == "number"


def test_the_servers_own_metadata_is_untracked_at_the_top_only() -> None:
    root = tracked("Deployment")
    assert at(root, "metadata", "name") is UNTRACKED
    assert at(root, "spec", "template", "metadata", "name") is not UNTRACKED
    assert at(root, "status") is UNTRACKED
    assert at(tracked("Deployment", "status"), "spec") is UNTRACKED
    assert at(tracked("Deployment", "status"), "status") is not UNTRACKED


def test_every_built_in_kind_compiles() -> None:
    for kind in kinds.BUILT_IN:
        assert tracked(kind.type.__name__).fields["kind"][1] is UNTRACKED, kind
