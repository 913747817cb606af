import asyncio

import pytest

from api import kinds
from api.errors import Forbidden, NotFound
from api.types import (
    Binding,
    LocalObjectReference,
    Namespace,
    Node,
    NodeStatus,
    ObjectMeta,
    ObjectReference,
    Pod,
    PodGroup,
    PodGroupSpec,
    PriorityClass,
    ServiceAccount,
    Toleration,
)
from apiserver.admission import standard
from apiserver.admission.namespaces import NamespaceLifecycle
from apiserver.admission.priorities import Priority
from apiserver.admission.resizes import OS, PodResizeValidator
from apiserver.admission.service_accounts import ServiceAccounts
from apiserver.admission.tolerations import DefaultTolerationSeconds
from apiserver.admission.topology_labels import PodTopologyLabels
from machinery.testing import FakeClock
from tests.unit.apiserver.admission.worlds import Memory, asking, namespace
from tests.unit.apiserver.rules.manifests import made

ACCOUNT = ServiceAccount(metadata=ObjectMeta(name="default", namespace="ns"))


def importance(name: str, value: int, **more) -> PriorityClass:
    return PriorityClass(metadata=ObjectMeta(name=name), value=value, **more)


# --- namespaces


async def test_nothing_is_created_in_a_namespace_that_does_not_exist():
    obj = made("ConfigMap")
    with pytest.raises(NotFound) as caught:
        await NamespaceLifecycle(Memory()).admit(asking(obj), obj, None)
    assert caught.value.message == 'namespaces "ns" not found'


async def test_a_namespace_that_the_cache_has_not_seen_yet_is_asked_for():
    obj = made("ConfigMap")
    await NamespaceLifecycle(Memory(late=[namespace("ns")])).admit(asking(obj), obj, None)


async def test_nothing_new_comes_into_a_namespace_that_ends_but_what_is_there_changes():
    lifecycle, obj = NamespaceLifecycle(Memory(namespace("ns", "Terminating"))), made("ConfigMap")
    with pytest.raises(Forbidden) as caught:
        await lifecycle.admit(asking(obj), obj, None)
    assert caught.value.message == (
        'configmaps "c" is forbidden: unable to create new content in namespace ns because it is being terminated'
    )
    assert caught.value.details["causes"] == [
        {"reason": "NamespaceTerminating", "message": "namespace ns is being terminated", "field": "metadata.namespace"}
    ]
    await lifecycle.admit(asking(obj, "update"), obj, obj)


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_the_namespaces_that_everything_needs_are_not_deleted(name):
    request = asking(None, "delete", kind=kinds.of(Namespace), name=name)
    with pytest.raises(Forbidden) as caught:
        await NamespaceLifecycle(Memory()).admit(request, None, namespace(name))
    assert caught.value.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_another_namespace_is():
    request = asking(None, "delete", kind=kinds.of(Namespace), name="mine")
    await NamespaceLifecycle(Memory()).admit(request, None, namespace("mine"))


async def test_what_has_no_namespace_needs_none():
    obj = made("Node")
    await NamespaceLifecycle(Memory()).admit(asking(obj), obj, None)


# --- service accounts


async def test_a_pod_runs_as_the_default_account_with_its_pull_secrets():
    account = ServiceAccount(metadata=ACCOUNT.metadata, imagePullSecrets=[LocalObjectReference(name="s")])
    pod = made("Pod")
    await ServiceAccounts(Memory(account)).admit(asking(pod), pod, None)
    assert (pod.spec.serviceAccountName, pod.spec.serviceAccount) == ("default", "default")
    assert [s.name for s in pod.spec.imagePullSecrets] == ["s"]


async def test_the_account_of_a_young_namespace_is_waited_for():
    world, clock, pod = Memory(), FakeClock(), made("Pod")
    admitted = asyncio.create_task(ServiceAccounts(world, clock).admit(asking(pod), pod, None))
    await clock.advance(0.1)
    world.objects.append(ACCOUNT)
    await clock.advance(0.1)
    await admitted
    assert pod.spec.serviceAccountName == "default"


async def test_an_account_must_exist():
    clock, pod = FakeClock(), made("Pod")
    refused = asyncio.create_task(ServiceAccounts(Memory(), clock).admit(asking(pod), pod, None))
    await clock.advance(1)
    with pytest.raises(Forbidden) as caught:
        await refused
    assert caught.value.message == (
        'pods "p" is forbidden: error looking up service account ns/default: serviceaccount "default" not found'
    )


async def test_a_mirror_pod_has_no_account():
    pod = made("Pod", {"metadata/annotations": {"kubernetes.io/config.mirror": "x"}, "spec/nodeName": "n"})
    await ServiceAccounts(Memory()).admit(asking(pod), pod, None)
    assert pod.spec.serviceAccountName == ""


async def mounted(account: ServiceAccount, changes: dict | None = None):
    pod = made("Pod", changes or {})
    await ServiceAccounts(Memory(account), mount_tokens=True).admit(asking(pod), pod, None)
    return pod


async def test_every_container_finds_the_accounts_token_at_its_place():
    pod = await mounted(ACCOUNT)
    (volume,) = [v for v in pod.spec.volumes if v.name.startswith("kube-api-access-")]
    mounts = [m for m in pod.spec.containers[0].volumeMounts if m.name == volume.name]
    assert [(m.mountPath, m.readOnly) for m in mounts] == [("/var/run/secrets/kubernetes.io/serviceaccount", True)]
    token, authority, downward = volume.projected.sources
    assert (token.serviceAccountToken.path, token.serviceAccountToken.expirationSeconds) == ("token", 3607)
    assert authority.configMap.name == "kube-root-ca.crt"
    assert downward.downwardAPI.items[0].fieldRef.fieldPath == "metadata.namespace"


async def test_a_token_that_nobody_wants_is_not_mounted():
    shy = ServiceAccount(metadata=ACCOUNT.metadata, automountServiceAccountToken=False)

    def has(pod):
        return any(v.name.startswith("kube-api-access-") for v in pod.spec.volumes)

    assert not has(await mounted(shy))
    assert has(await mounted(shy, {"spec/automountServiceAccountToken": True}))
    assert not has(await mounted(ACCOUNT, {"spec/automountServiceAccountToken": False}))


async def test_what_a_container_mounts_there_itself_stays():
    own = {"name": "mine", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    pod = await mounted(ACCOUNT, {"spec/containers/0/volumeMounts": [own]})
    assert [m.name for m in pod.spec.containers[0].volumeMounts] == ["mine"]
    assert not any(v.name.startswith("kube-api-access-") for v in pod.spec.volumes)


# --- tolerations


async def test_every_pod_outlives_a_short_absence_of_its_node():
    pod = made("Pod")
    await DefaultTolerationSeconds().admit(asking(pod), pod, None)
    assert [(t.key, t.operator, t.effect, t.tolerationSeconds) for t in pod.spec.tolerations] == [
        ("node.kubernetes.io/not-ready", "Exists", "NoExecute", 300),
        ("node.kubernetes.io/unreachable", "Exists", "NoExecute", 300),
    ]
    await DefaultTolerationSeconds().admit(asking(pod, "update"), pod, pod)
    assert len(pod.spec.tolerations) == 2


@pytest.mark.parametrize(
    ("own", "count"),
    [
        (Toleration(operator="Exists"), 1),
        (Toleration(key="node.kubernetes.io/not-ready", operator="Exists", effect="NoExecute", tolerationSeconds=5), 2),
        (Toleration(key="node.kubernetes.io/not-ready", operator="Exists", effect="NoSchedule"), 3),
    ],
)
async def test_what_a_pod_tolerates_itself_is_not_added(own, count):
    pod = made("Pod")
    pod.spec.tolerations = [own]
    await DefaultTolerationSeconds().admit(asking(pod), pod, None)
    assert len(pod.spec.tolerations) == count


# --- priorities


@pytest.mark.parametrize(
    ("name", "world", "expected"),
    [
        ("", [], ("", 0)),
        ("", [importance("base", 5, globalDefault=True)], ("base", 5)),
        ("", [importance("a", 9, globalDefault=True), importance("b", 4, globalDefault=True)], ("b", 4)),
        ("mine", [importance("mine", 7)], ("mine", 7)),
        ("system-cluster-critical", [], ("system-cluster-critical", 2000000000)),
        ("system-node-critical", [], ("system-node-critical", 2000001000)),
    ],
)
async def test_a_pods_class_gives_its_priority(name, world, expected):
    pod = made("Pod")
    pod.spec.priorityClassName = name
    await Priority(Memory(*world)).admit(asking(pod), pod, None)
    assert (pod.spec.priorityClassName, pod.spec.priority) == expected
    assert pod.spec.preemptionPolicy == "PreemptLowerPriority"


async def test_a_pod_groups_class_gives_its_priority_which_nobody_else_may_set():
    async def admitted(**spec):
        group = PodGroup(metadata=ObjectMeta(name="g", namespace="default"), spec=PodGroupSpec(**spec))
        await Priority(Memory(importance("mine", 7))).admit(asking(group), group, None)
        return group.spec.priorityClassName, group.spec.priority

    assert await admitted(priorityClassName="mine") == ("mine", 7)
    assert await admitted() == ("", 0)
    with pytest.raises(Forbidden, match="must not be provided in pod group spec"):
        await admitted(priority=9)


async def test_a_class_may_forbid_preemption():
    pod = made("Pod")
    pod.spec.priorityClassName = "mild"
    await Priority(Memory(importance("mild", 7, preemptionPolicy="Never"))).admit(asking(pod), pod, None)
    assert pod.spec.preemptionPolicy == "Never"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec/priorityClassName": "x"}, "no PriorityClass with name x was found"),
        ({"spec/priority": 3}, "the integer value of priority (3) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name"),
        ({"spec/preemptionPolicy": "Never"}, "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name"),
    ],
)  # fmt: skip
async def test_nobody_gives_himself_a_priority(changes, said):
    pod = made("Pod", changes)
    with pytest.raises(Forbidden) as caught:
        await Priority(Memory()).admit(asking(pod), pod, None)
    assert caught.value.message == f'pods "p" is forbidden: {said}'


async def test_an_update_without_the_priority_keeps_it():
    old, new = made("Pod"), made("Pod")
    await Priority(Memory()).admit(asking(old), old, None)
    await Priority(Memory()).admit(asking(new, "update"), new, old)
    assert (new.spec.priority, new.spec.preemptionPolicy) == (0, "PreemptLowerPriority")


async def test_only_one_class_is_the_default():
    new = importance("b", 2, globalDefault=True)
    with pytest.raises(Forbidden) as caught:
        await Priority(Memory(importance("a", 1, globalDefault=True))).admit(asking(new), new, None)
    assert caught.value.message == (
        'priorityclasses.scheduling.k8s.io "b" is forbidden: PriorityClass a is already marked as default. '
        "Only one default can exist"
    )


# --- topology


ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
NODE = Node(metadata=ObjectMeta(name="n", labels={ZONE: "z", REGION: "", "other": "x"}))


async def labels_of(obj, **request) -> dict[str, str]:
    await PodTopologyLabels(Memory(NODE)).admit(asking(obj, kind=kinds.of(Pod), **request), obj, None)
    return obj.metadata.labels


async def test_a_pod_that_comes_with_its_node_says_where_that_is():
    pod = made("Pod", {"spec/nodeName": "n", "metadata/labels": {ZONE: "elsewhere", "a": "b"}})
    assert await labels_of(pod) == {ZONE: "z", REGION: "", "a": "b"}
    assert await labels_of(made("Pod", {"metadata/labels": {ZONE: "mine"}})) == {ZONE: "mine"}
    assert await labels_of(made("Pod", {"spec/nodeName": "unknown"})) == {}


async def test_a_binding_says_where_the_pod_comes():
    target = ObjectReference(kind="Node", name="n")
    assert await labels_of(Binding(target=target), subresource="binding") == {ZONE: "z", REGION: ""}
    assert await labels_of(Binding(target=ObjectReference(name="n")), subresource="binding") == {}


# --- resizes


def node(system: str = "linux", **allocatable: str) -> Node:
    return Node(metadata=ObjectMeta(name="n", labels={OS: system}), status=NodeStatus(allocatable=allocatable))


def asking_for(cpu: str, memory: str, **changes) -> Pod:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    return made("Pod", {"spec/nodeName": "n", "spec/containers/0/resources": resources, **changes})


BIGGER = asking_for("2500m", "2Gi")


async def resized(*world, new: Pod = BIGGER, old: Pod | None = None) -> None:
    old = old or asking_for("1", "1Gi")
    request = asking(new, "update", subresource="resize")
    await PodResizeValidator(Memory(*world)).judge(request, new, old)


@pytest.mark.parametrize(
    ("world", "said", "causes"),
    [
        ([], 'node "n" not found', None),
        ([node("windows")], 'pod resize is only supported on linux nodes, node "n" is "windows"', [{"reason": "UnsupportedPlatform"}]),
        ([node(cpu="2", memory="1Gi")], "node didn't have enough allocatable resources: cpu, requested: 2500, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824", [{"reason": "NodeCapacity"}]),
        ([node(cpu="3")], "node didn't have enough allocatable resources: memory, requested: 2147483648, allocatable: 0", [{"reason": "NodeCapacity"}]),
    ],
)  # fmt: skip
async def test_a_pod_cannot_become_what_its_node_cannot_give(world, said, causes):
    with pytest.raises(Forbidden) as caught:
        await resized(*world)
    assert caught.value.message == f'pods "p" is forbidden: {said}'
    assert caught.value.details.get("causes") == causes


async def test_a_pod_can_become_what_its_node_can_give_and_any_size_while_it_has_none():
    await resized(node(cpu="2500m", memory="2Gi"))
    await resized(old=BIGGER)
    await resized(
        new=asking_for("99", "99Gi", **{"spec/nodeName": ""}), old=asking_for("1", "1", **{"spec/nodeName": ""})
    )


# --- all of them


async def test_a_plain_pod_comes_out_with_everything_that_admission_gives():
    admission = standard(
        Memory(namespace("ns"), ACCOUNT), service_cluster_ip_range="10.96.0.0/16", service_node_port_range="30000-32767"
    )
    pod = made("Pod")
    await admission.admit(asking(pod), pod, None)
    assert (pod.spec.priority, pod.spec.serviceAccountName, len(pod.spec.tolerations)) == (0, "default", 2)


async def test_the_first_refusal_counts():
    admission = standard(Memory(), service_cluster_ip_range="10.96.0.0/16", service_node_port_range="30000-32767")
    pod = made("Pod")
    with pytest.raises(NotFound):
        await admission.admit(asking(pod), pod, None)


async def test_deletions_and_subresources_pass():
    admission = standard(
        Memory(namespace("ns")), service_cluster_ip_range="10.96.0.0/16", service_node_port_range="30000-32767"
    )
    pod = made("Pod")
    await admission.admit(asking(pod, "delete"), None, pod)
    await admission.admit(asking(pod, "update", subresource="status"), pod, pod)
    assert pod.spec.tolerations == []
