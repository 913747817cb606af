"""https://github.com/gtsystem/lightkube"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from lightkube import ApiError, AsyncClient, Client, KubeConfig, codecs, operators
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.autoscaling_v1 import Scale, ScaleSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec, ServicePort, ServiceSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod, Service
from lightkube.types import CascadeType, PatchType

from .clusters import Cluster


@pytest.fixture
def kube(running: Cluster, namespace: str) -> Client:
    settings = KubeConfig.from_file(str(running.kubeconfig)).get()
    return Client(config=settings, namespace=namespace, field_manager="lightkube")


@pytest_asyncio.fixture
async def later(running: Cluster, namespace: str) -> AsyncIterator[AsyncClient]:
    settings = KubeConfig.from_file(str(running.kubeconfig)).get()
    made = AsyncClient(config=settings, namespace=namespace, field_manager="lightkube")
    yield made
    await made.close()


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, labels={"app": name}), data=data)


def deployment(replicas: int) -> Deployment:
    containers = [Container(name="c", image="busybox", command=["sleep", "1000"])]
    template = PodTemplateSpec(metadata=ObjectMeta(labels={"app": "d"}), spec=PodSpec(containers=containers))
    selector = LabelSelector(matchLabels={"app": "d"})
    return Deployment(
        metadata=ObjectMeta(name="d"), spec=DeploymentSpec(replicas=replicas, selector=selector, template=template)
    )


def test_objects_from_creation_to_deletion(kube: Client) -> None:
    assert kube.create(config_map("a", x="1")).data == {"x": "1"}
    kube.create(config_map("b", x="2"))
    found = kube.get(ConfigMap, "a")
    found.data = {"x": "3"}
    assert kube.replace(found).data == {"x": "3"}
    assert kube.patch(ConfigMap, "a", {"data": {"y": "4"}}, patch_type=PatchType.MERGE).data == {"x": "3", "y": "4"}
    either = kube.list(ConfigMap, labels={"app": operators.in_(["a", "b"])})
    assert [c.metadata.name for c in either] == ["a", "b"]
    assert [c.metadata.name for c in kube.list(ConfigMap, fields={"metadata.name": "a"})] == ["a"]
    kube.delete(ConfigMap, "a")
    with pytest.raises(ApiError) as gone:
        kube.get(ConfigMap, "a")
    assert (gone.value.status.code, gone.value.status.reason) == (404, "NotFound")
    kube.deletecollection(ConfigMap)
    assert [c.metadata.name for c in kube.list(ConfigMap, labels={"app": "b"})] == []


def test_apply_tells_conflicts(kube: Client) -> None:
    document = codecs.load_all_yaml("{apiVersion: v1, kind: ConfigMap, metadata: {name: s}, data: {a: '1'}}")[0]
    assert kube.apply(document).data == {"a": "1"}
    document.data = {"a": "2"}
    with pytest.raises(ApiError) as conflict:
        kube.apply(document, field_manager="other")
    assert (conflict.value.status.code, conflict.value.status.reason) == (409, "Conflict")
    assert kube.apply(document, field_manager="other", force=True).data == {"a": "2"}


def test_a_deployment_becomes_available_and_is_scaled(kube: Client) -> None:
    kube.create(deployment(1))
    ready = kube.wait(Deployment, "d", for_conditions=["Available"], raise_for_conditions=["ReplicaFailure"])
    assert ready.status.availableReplicas == 1
    kube.replace(Deployment.Scale(metadata=ObjectMeta(name="d"), spec=ScaleSpec(replicas=2)), "d")
    scale = kube.get(Deployment.Scale, name="d")
    assert (isinstance(scale, Scale), scale.spec.replicas) == (True, 2)
    pods = {p.metadata.name for p in kube.list(Pod, labels={"app": "d"})}
    kube.delete(Deployment, "d", cascade=CascadeType.FOREGROUND)
    for verb, pod in kube.watch(Pod, labels={"app": "d"}, server_timeout=10):
        if verb == "DELETED":
            pods.discard(pod.metadata.name)
        if not pods:
            break
    assert not pods


def test_a_service_and_the_nodes(kube: Client) -> None:
    made = kube.create(
        Service(metadata=ObjectMeta(name="s"), spec=ServiceSpec(ports=[ServicePort(port=80)], selector={"a": "b"}))
    )
    assert made.spec.clusterIP.startswith("10.96.")
    assert [n.metadata.name for n in kube.list(Node)] == ["node1"]
    assert "default" in [n.metadata.name for n in kube.list(Namespace, chunk_size=1)]


def test_watches(kube: Client) -> None:
    kube.create(config_map("w"))
    events: Iterator[tuple[str, ConfigMap]] = kube.watch(ConfigMap, fields={"metadata.name": "w"}, server_timeout=3)
    verb, first = next(events)
    assert (verb, first.metadata.name) == ("ADDED", "w")
    kube.patch(ConfigMap, "w", {"data": {"a": "b"}})
    assert next(events)[1].data == {"a": "b"}
    kube.delete(ConfigMap, "w")
    assert next(events)[0] == "DELETED"


def test_logs(kube: Client, pod: str) -> None:
    assert list(kube.log(pod)) == ["hello\n"]
    assert next(iter(kube.log(pod, timestamps=True, tail_lines=1))).endswith(" hello\n")


async def test_it_all_without_waiting(later: AsyncClient) -> None:
    await later.create(deployment(1))
    await later.wait(Deployment, "d", for_conditions=["Available"])
    assert [p.status.phase async for p in later.list(Pod, labels={"app": "d"})] == ["Running"]
    await later.delete(Deployment, "d")


CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.lightkube.example.com}
spec:
  group: lightkube.example.com
  names: {kind: Boat, plural: boats, singular: boat}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {length: {type: integer, minimum: 1}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


def test_generic_resources_of_a_custom_kind(kube: Client, running: Cluster) -> None:
    definition = codecs.load_all_yaml(CRD)[0]
    kube.apply(definition)
    running.kubectl("wait", "--for=condition=Established", "crd/boats.lightkube.example.com", "--timeout=30s")
    load_in_cluster_generic_resources(kube)
    boats = create_namespaced_resource("lightkube.example.com", "v1", "Boat", "boats")
    made = kube.create(boats(metadata=ObjectMeta(name="b"), spec={"length": 7}))
    assert made["spec"] == {"length": 7}
    status = boats.Status(metadata=ObjectMeta(name="b", resourceVersion=made.metadata.resourceVersion), status={"x": 1})
    assert kube.replace(status).status == {"x": 1}
    assert kube.apply(boats(metadata=ObjectMeta(name="b"), spec={"length": 8}), force=True).spec == {"length": 8}
    with pytest.raises(ApiError) as refused:
        kube.create(boats(metadata=ObjectMeta(name="c"), spec={"length": 0}))
    assert "spec.length" in refused.value.status.message
    assert [b.metadata.name for b in kube.list(boats)] == ["b"]
    kube.delete(boats, "b")
    kube.delete(type(definition), definition.metadata.name)
