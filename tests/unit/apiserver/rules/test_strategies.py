import pytest

from api import kinds, meta
from api.qos import qos_class
from api.types import (
    APIService,
    Deployment,
    FlowSchema,
    FlowSchemaCondition,
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerSpec,
    LoadBalancerIngress,
    Namespace,
    Node,
    ObjectMeta,
    Pod,
    PodCondition,
    PodStatus,
    Service,
    ServiceCIDR,
    VolumeAttachment,
)
from apiserver.rules import prepare_create, prepare_update
from tests.unit.apiserver.rules.manifests import MANIFESTS, made

COUNTED = {"Pod", "ReplicationController", "ReplicaSet", "Deployment", "DaemonSet", "StatefulSet", "Job", "CronJob"}
CORE = [n for n in MANIFESTS if n in COUNTED or n in ("Service", "ConfigMap", "Secret", "Node", "Namespace", "Lease")]


@pytest.mark.parametrize("name", CORE)
def test_kinds_that_count_generations_start_at_one(name):
    assert made(name, {"metadata/generation": 7}).metadata.generation == (1 if name in COUNTED else None)


def test_an_autoscaler_counts_generations_and_a_range_of_addresses_does_not():
    made_new, made_range = HorizontalPodAutoscaler(spec=HorizontalPodAutoscalerSpec()), ServiceCIDR()
    prepare_create(kinds.of(HorizontalPodAutoscaler), made_new)
    prepare_create(kinds.of(ServiceCIDR), made_range)
    assert (made_new.metadata.generation, made_range.metadata.generation) == (1, None)
    more = meta.clone(made_new)
    more.spec.maxReplicas = 5
    prepare_update(kinds.of(HorizontalPodAutoscaler), more, made_new)
    assert more.metadata.generation == 2


@pytest.mark.parametrize("name", ["Deployment", "ReplicaSet", "ReplicationController", "Service"])
def test_a_creation_has_no_status(name):
    status = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}} if name == "Service" else {"replicas": 3}
    obj = made(name, {"status": status})
    assert obj.status == type(obj.status)()


def test_a_pod_begins_pending_with_its_quality_of_service():
    pod = made("Pod", {"status": {"phase": "Running", "podIP": "1.2.3.4"}})
    assert (pod.status.phase, pod.status.qosClass, pod.status.podIP) == ("Pending", "BestEffort", "")


def test_a_gated_pod_says_so():
    (condition,) = made("Pod", {"spec/schedulingGates": [{"name": "g"}]}).status.conditions
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "SchedulingGated")


def test_nodes_register_with_their_status():
    assert made("Node", {"status": {"capacity": {"cpu": "2"}}}).status.capacity == {"cpu": "2"}


def test_a_jobs_pods_are_those_with_its_uid():
    job = made("Job", {"metadata/uid": "u"})
    assert job.spec.selector.matchLabels == {"batch.kubernetes.io/controller-uid": "u"}
    assert (
        job.spec.template.metadata.labels.items()
        >= {"job-name": "j", "batch.kubernetes.io/controller-uid": "u"}.items()
    )
    plain = made("Job", {"spec/template/metadata": {}})
    assert "job-name" in plain.metadata.labels
    assert plain.metadata.labels == plain.spec.template.metadata.labels
    assert made("Job", {"metadata/labels": {"app": "x"}}).metadata.labels == {"app": "x"}
    by_hand = made("Job", {"spec/manualSelector": True, "spec/selector": {"matchLabels": {"app": "x"}}})
    assert by_hand.spec.selector.matchLabels == {"app": "x"}


def test_a_namespace_is_held_by_its_finalizer():
    namespace = made("Namespace")
    assert (namespace.spec.finalizers, namespace.status.phase) == (["kubernetes"], "Active")


def test_nobody_creates_what_is_being_deleted():
    obj = made(
        "ConfigMap", {"metadata/deletionTimestamp": "2026-01-01T00:00:00Z", "metadata/deletionGracePeriodSeconds": 3}
    )
    assert (obj.metadata.deletionTimestamp, obj.metadata.deletionGracePeriodSeconds) == ("", None)


def both(name, changes=None):
    return made(name, changes), made(name, changes)


def test_an_update_leaves_the_status_alone_and_counts_only_changes():
    new, old = both("Deployment")
    old.status.replicas, old.metadata.generation, old.metadata.uid = 2, 4, "u"
    new.status.replicas, new.metadata.generation = 9, 99
    new.metadata.labels = {"a": "b"}
    prepare_update(meta.kind_of(new), new, old)
    assert (new.status.replicas, new.metadata.generation, new.metadata.uid) == (2, 4, "u")
    new.spec.replicas = 5
    prepare_update(meta.kind_of(new), new, old)
    assert (new.spec.replicas, new.metadata.generation) == (5, 5)


def test_a_deployments_annotations_count():
    new, old = both("Deployment")
    new.metadata.annotations = {"a": "b"}
    prepare_update(meta.kind_of(new), new, old)
    assert new.metadata.generation == 2


def test_an_update_of_the_status_leaves_the_rest_alone():
    new, old = both("Deployment")
    new.spec.replicas, new.status.replicas = 9, 9
    prepare_update(meta.kind_of(new), new, old, "status")
    assert (new.spec.replicas, new.status.replicas, new.metadata.generation) == (1, 9, 1)


def test_a_service_that_is_no_load_balancer_any_more_is_not_reached_by_one():
    old = made("Service", {"spec/type": "LoadBalancer"})
    old.status.loadBalancer.ingress = [LoadBalancerIngress(ip="1.2.3.4")]
    same, other = meta.clone(old), meta.clone(old)
    other.spec.type = "NodePort"
    for new in (same, other):
        prepare_update(kinds.of(Service), new, old)
    assert same.status == old.status
    assert other.status.loadBalancer.ingress == []
    assert old.status.loadBalancer.ingress


def test_an_update_of_a_pods_status_keeps_its_owners():
    new, old = both("Pod", {"metadata/ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u"}]})
    new.metadata.ownerReferences = []
    prepare_update(kinds.of(Pod), new, old, "status")
    assert len(new.metadata.ownerReferences) == 1


def test_only_finalizing_changes_what_holds_a_namespace():
    for subresource, kept in (("", ["kubernetes"]), ("finalize", [])):
        new, old = both("Namespace")
        new.spec.finalizers = []
        prepare_update(kinds.of(Namespace), new, old, subresource)
        assert new.spec.finalizers == kept


def test_nobody_takes_a_deletion_back_or_begins_one_by_writing():
    for begun in ("", "2026-01-01T00:00:00Z"):
        new, old = both("Node")
        old.metadata.deletionTimestamp = begun
        new.metadata.deletionTimestamp = "" if begun else "2026-01-01T00:00:00Z"
        prepare_update(kinds.of(Node), new, old)
        assert new.metadata.deletionTimestamp == begun


def test_a_slice_counts_a_change_of_its_endpoints():
    new, old = both("EndpointSlice")
    new.endpoints[0].addresses.append("10.244.0.6")
    prepare_update(meta.kind_of(new), new, old)
    assert new.metadata.generation == 2


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"x.y/z": "1"}, "limits": {"x.y/z": "1"}}], "BestEffort"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
    ],
)
def test_quality_of_service(resources, expected):
    containers = [{"name": f"c{i}", "image": "i", "resources": r} for i, r in enumerate(resources)]
    assert qos_class(made("Pod", {"spec/containers": containers}).spec) == expected


def test_preparing_twice_is_preparing_once():
    pod = made("Pod")
    before = meta.encode(pod)
    prepare_create(kinds.of(Pod), pod)
    assert meta.encode(pod) == before


def test_some_kinds_statuses_are_written_without_a_word_about_metadata():
    kind = kinds.of(FlowSchema)
    old = FlowSchema(metadata=ObjectMeta(name="f", labels={"a": "b"}))
    new = meta.clone(old)
    new.metadata.labels, new.metadata.annotations = {}, {"c": "d"}
    new.status.conditions = [FlowSchemaCondition(type="Dangling", status="True")]
    prepare_update(kind, new, old, "status")
    assert (new.metadata.labels, new.metadata.annotations) == ({"a": "b"}, {})
    assert [c.type for c in new.status.conditions] == ["Dangling"]


ASKED = {
    "metadata/labels": {"mine": "now"}, "metadata/annotations": {"a": "b"}, "metadata/finalizers": ["x.io/y"],
    "spec/hostNetwork": True, "spec/containers/0/image": "other",
}  # fmt: skip


@pytest.mark.parametrize(
    ("subresource", "own"),
    [
        ("ephemeralcontainers", {"spec/ephemeralContainers": [{"name": "e", "image": "i:1"}]}),
        ("resize", {"spec/containers/0/resources": {"requests": {"cpu": "1"}}}),
    ],
)
def test_a_subresource_of_a_pod_changes_only_what_is_its_own(subresource, own):
    old, new, meant = made("Pod"), made("Pod", ASKED | own), made("Pod", own)
    prepare_update(kinds.of(Pod), new, old, subresource)
    assert (new.spec, new.status, new.metadata.generation) == (meant.spec, old.status, 2)
    for name in ("labels", "annotations", "finalizers"):
        assert getattr(new.metadata, name) == getattr(old.metadata, name)


@pytest.mark.parametrize("type_", [APIService, ServiceCIDR, VolumeAttachment, Deployment])
def test_labels_are_not_written_with_such_a_status(type_):
    old = type_(metadata=ObjectMeta(name="a", labels={"a": "b"}))
    new = meta.clone(old)
    new.metadata.labels, new.metadata.annotations = {"c": "d"}, {"e": "f"}
    prepare_update(kinds.of(type_), new, old, "status")
    kept = {"e": "f"} if type_ is Deployment else {}
    assert (new.metadata.labels, new.metadata.annotations) == ({"a": "b"}, kept)


def test_a_status_that_leaves_out_what_came_later_takes_nothing_back():
    old, new = both("Pod")
    old.status.observedGeneration = 3
    old.status.conditions = [PodCondition(type="Ready", status="True", observedGeneration=3)]
    new.status = PodStatus(phase="Running", conditions=[PodCondition(type=t) for t in ("Ready", "Other")])
    prepare_update(kinds.of(Pod), new, old, "status")
    assert (new.status.phase, new.status.qosClass, new.status.observedGeneration) == ("Running", "BestEffort", 3)
    assert [c.observedGeneration for c in new.status.conditions] == [3, None]
