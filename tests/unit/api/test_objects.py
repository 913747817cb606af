import msgspec
import pytest

from api import kinds, meta, schema, times, types
from api.types import Deployment, DeploymentCondition, ObjectMeta, Pod, PodSpec, ReplicaSet


@pytest.mark.parametrize("kind", kinds.BUILT_IN, ids=str)
def test_every_kind_has_a_type_that_knows_what_it_is(kind):
    empty = kind.type()
    assert (empty.apiVersion, empty.kind) == (kind.api_version, kind.name)
    assert kinds.of(kind.type) is kind
    assert kinds.by_resource(kind.group, kind.version, kind.plural) is kind
    assert meta.decode(meta.encode(empty), kind.type) == empty


def test_kinds_as_messages_name_them():
    deployments, pods = kinds.of(Deployment), kinds.of(Pod)
    assert (deployments.group_resource, deployments.group_kind, pods.group_resource) == (
        "deployments.apps",
        "Deployment.apps",
        "pods",
    )
    assert "deletecollection" not in kinds.by_name("v1", "Namespace").verbs
    assert kinds.by_name("v1", "Nothing") is None


def test_nothing_is_written_for_what_is_not_set_but_identity_and_embedded_structs_are():
    assert msgspec.json.decode(meta.encode(Pod())) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {},
        "spec": {"containers": []},
        "status": {},
    }


def test_zero_and_false_are_written_where_they_differ_from_nothing():
    assert (
        msgspec.json.decode(meta.encode(Deployment(spec=types.DeploymentSpec(replicas=0, paused=False))))["spec"][
            "replicas"
        ]
        == 0
    )
    assert types.DeploymentStatus().replicas == 0
    assert b"replicas" not in meta.encode(types.DeploymentStatus())


def test_python_keywords_get_an_underscore():
    assert meta.encode(types.NetworkPolicyIngressRule(from_=[types.NetworkPolicyPeer()])) == b'{"from":[{}]}'


def test_integers_have_the_bounds_of_their_type():
    with pytest.raises(msgspec.ValidationError):
        meta.decode(b'{"spec":{"replicas":2147483648}}', Deployment)
    assert schema.attribute("from") == "from_"


def test_a_type_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no type Nothing"):
        types.Nothing  # noqa: B018


def test_a_clone_shares_nothing():
    pod = Pod(metadata=ObjectMeta(name="p", labels={"a": "b"}))
    copy = meta.clone(pod)
    assert copy == pod
    copy.metadata.labels["a"] = "c"
    assert pod.metadata.labels == {"a": "b"}


def test_owners():
    owner = ReplicaSet(metadata=ObjectMeta(name="r", uid="u"))
    pod = Pod(metadata=ObjectMeta(namespace="ns", name="p", ownerReferences=[meta.controller_reference(owner)]))
    assert meta.is_controlled_by(pod, owner)
    assert not meta.is_controlled_by(pod, ReplicaSet(metadata=ObjectMeta(name="r", uid="v")))
    assert meta.controller_of(Pod()) is None
    assert (str(meta.key(pod)), str(meta.key(types.Node(metadata=ObjectMeta(name="n"))))) == ("ns/p", "n")


def test_a_condition_keeps_its_time_while_its_status_stays():
    def available(status, time, message=""):
        return DeploymentCondition(type="Available", status=status, lastTransitionTime=time, message=message)

    obj = Deployment()
    assert meta.set_condition(obj.status.conditions, available("True", "t1"))
    assert not meta.set_condition(obj.status.conditions, available("True", "t2"))
    assert meta.set_condition(obj.status.conditions, available("True", "t3", "said"))
    assert meta.condition(obj, "Available").lastTransitionTime == "t1"
    assert meta.set_condition(obj.status.conditions, available("False", "t4"))
    assert meta.condition(obj, "Available").lastTransitionTime == "t4"
    assert not meta.is_true(obj, "Available")
    assert meta.condition(obj, "Other") is None


def test_times():
    assert (times.format(0.9), times.format_micro(0.5)) == ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.500000Z")
    assert times.parse("1970-01-01T00:00:01.5Z") == times.parse("1970-01-01T01:00:01.5+01:00") == 1.5
    with pytest.raises(ValueError, match="x"):
        times.parse("x")


def test_required_lists_are_written_even_when_they_are_empty():
    assert meta.encode(PodSpec()) == b'{"containers":[]}'
