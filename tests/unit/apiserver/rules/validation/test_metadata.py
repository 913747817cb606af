import pytest

from api import kinds
from api.paths import refusal
from api.types import ReplicationController
from apiserver.rules import LARGEST, MOST, validate
from tests.unit.apiserver.rules.manifests import DROP, MANIFESTS, faults, made, update_faults

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_good_object_is_good(name):
    assert faults(name) == []


def test_the_broken_controller_is_refused_with_every_fault_in_one_message():
    obj = made("ReplicationController", {"metadata/name": "test 1", "spec/selector": {"app": "test 1"}})
    error = refusal("", "ReplicationController", "test 1", validate(kinds.of(ReplicationController), obj))
    assert error.message == (
        f'ReplicationController "test 1" is invalid: [metadata.name: Invalid value: "test 1": {SUBDOMAIN}, '
        f'spec.selector: Invalid value: "test 1": {LABEL_VALUE}, '
        'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`]'
    )
    assert error.code == 422
    assert [c["field"] for c in error.details["causes"]] == [
        "metadata.name",
        "spec.selector",
        "spec.template.metadata.labels",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metadata/name": "A_b"}, f'metadata.name: Invalid value: "A_b": {SUBDOMAIN}'),
        ({"metadata/name": DROP}, "metadata.name: Required value: name or generateName is required"),
        ({"metadata/name": "x" * 254}, f'metadata.name: Invalid value: "{"x" * 254}": must be no more than 253 bytes'),
        ({"metadata/generateName": "A-"}, f'metadata.generateName: Invalid value: "A-": {SUBDOMAIN}'),
        ({"metadata/namespace": DROP}, "metadata.namespace: Required value"),
        ({"metadata/labels": {"a": "b c"}}, f'metadata.labels: Invalid value: "b c": {LABEL_VALUE}'),
        ({"metadata/labels": {"/x": "y"}}, 'metadata.labels: Invalid value: "/x": prefix part must be non-empty'),
        (
            {"metadata/annotations": {"a": "x" * 262144}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            {"metadata/finalizers": ["x"]},
            'metadata.finalizers[0]: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified',
        ),
        (
            {"metadata/finalizers": ["orphan", "foregroundDeletion"]},
            'metadata.finalizers: Invalid value: ["orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set',
        ),
        (
            {"metadata/ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]},
            'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
        ),
        (
            {"metadata/ownerReferences": [{"apiVersion": "", "kind": "Pod", "name": "p", "uid": "u"}]},
            'metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty',
        ),
    ],
)
def test_metadata_in_bad_form(changes, said):
    assert said in faults("ConfigMap", changes)


def test_annotation_keys_may_have_capitals_and_generated_prefixes_may_end_in_a_dash():
    assert faults("ConfigMap", {"metadata/annotations": {"Upper.Case/Key": "x"}, "metadata/generateName": "a-"}) == []


def test_no_more_faults_are_looked_for_than_are_told():
    labels = {f"!{n}": "" for n in range(2 * MOST)}
    assert len(faults("ConfigMap", {"metadata/labels": labels})) == MOST
    assert len(update_faults("ConfigMap", {"metadata/labels": labels})) == MOST


def test_faults_that_show_a_whole_list_each_are_no_more_than_a_megabyte_together():
    owners = [{"apiVersion": "v1", "kind": "K", "name": n, "uid": n, "controller": True} for n in map(str, range(2000))]
    found = faults("ConfigMap", {"metadata/ownerReferences": owners})
    assert LARGEST < sum(map(len, found)) < 1.5 * LARGEST


def test_only_one_owner_can_be_the_controller():
    owners = [{"apiVersion": "v1", "kind": "K", "name": n, "uid": n, "controller": True} for n in "ab"]
    found = faults("ConfigMap", {"metadata/ownerReferences": owners})
    assert len(found) == 1
    assert found[0].endswith(
        'Only one reference can have Controller set to true. Found "true" in references for K/a and K/b'
    )


def test_a_cluster_wide_object_has_no_namespace():
    assert faults("Namespace", {"metadata/namespace": "x"}) == [
        "metadata.namespace: Forbidden: not allowed on this type"
    ]


@pytest.mark.parametrize(("kind", "name"), [("ClusterRole", "system:node/x"), ("ClusterRole", "a%b")])
def test_names_of_roles_are_only_kept_out_of_paths(kind, name):
    assert faults(kind, {"metadata/name": name}) == [
        f"metadata.name: Invalid value: \"{name}\": may not contain '{'/' if '/' in name else '%'}'"
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metadata/name": "other"}, 'metadata.name: Invalid value: "other": field is immutable'),
        ({"metadata/uid": "other"}, 'metadata.uid: Invalid value: "other": field is immutable'),
        ({"metadata/labels": {"a": "b c"}}, f'metadata.labels: Invalid value: "b c": {LABEL_VALUE}'),
    ],
)
def test_identity_does_not_change(changes, said):
    assert update_faults("ConfigMap", changes, {"metadata/uid": "u"}) == [said]


def test_no_finalizer_is_added_to_what_is_being_deleted():
    before = {"metadata/deletionTimestamp": "2026-01-01T00:00:00Z", "metadata/finalizers": ["a.b/c"]}
    assert update_faults("ConfigMap", {"metadata/finalizers": ["a.b/c", "a.b/d"]}, before) == [
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
        '[]string{"a.b/d"}'
    ]
