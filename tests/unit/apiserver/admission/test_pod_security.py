"""PodSecurity: every check of the standards, and what labels of namespaces mean."""

from typing import Any

import pytest

from api import meta
from api.errors import Forbidden, Invalid
from api.types import Deployment, Namespace, ObjectMeta, Pod
from apiserver.admission.pod_security import PodSecurity, is_significant, policy_of
from apiserver.admission.pod_standards import LATEST, in_detail, violations

from .worlds import Memory, asking

SAFE = {
    "allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip


def pod(context: Any = None, *, name: str = "x", annotations: Any = None, container: Any = None, **spec: Any) -> Pod:
    one = {"name": "c", "image": "i", **(container or {})} | (
        {"securityContext": context} if context is not None else {}
    )
    document = {
        "metadata": {"name": name, "namespace": "ns", "annotations": annotations or {}},
        "spec": {"containers": [one], **spec},
    }
    return meta.decode(meta.encode(document), Pod)


def broken(level: str, it: Pod, minor: int = LATEST) -> str:
    return in_detail(violations(level, minor, it.metadata, it.spec))


def test_a_pod_that_is_careful_breaks_nothing():
    assert broken("restricted", pod(SAFE)) == ""
    assert broken("baseline", pod()) == ""
    assert broken("privileged", pod({"privileged": True})) == ""


def test_a_plain_pod_breaks_what_is_known_of_it():
    assert broken("restricted", pod()) == (
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


def test_several_containers_are_named_in_their_order():
    it = pod({"privileged": True}, initContainers=[{"name": "i", "securityContext": {"privileged": True}}])
    assert broken("baseline", it) == 'privileged (containers "i", "c" must not set securityContext.privileged=true)'


PROBE = {"livenessProbe": {"httpGet": {"host": "h", "port": 1}}}


@pytest.mark.parametrize(
    ("it", "said"),
    [
        (pod({"capabilities": {"add": ["NET_RAW", "CHOWN"]}}), 'non-default capabilities (container "c" must not include "NET_RAW" in securityContext.capabilities.add)'),
        (pod(hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
        (pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
        (pod(container={"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 443}]}), 'hostPort (container "c" uses hostPorts 443, 80)'),
        (pod(container=PROBE), 'probe or lifecycle host (container "c" uses probe or lifecycle host "h")'),
        (pod({"procMount": "Unmasked"}), 'procMount (container "c" must not set securityContext.procMount to "Unmasked")'),
        (pod({"seLinuxOptions": {"type": "t", "user": "u"}}), 'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "t"; user may not be set)'),
        (pod(securityContext={"seLinuxOptions": {"role": "r"}}), "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: role may not be set)"),
        (pod({"seccompProfile": {"type": "Unconfined"}}), 'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")'),
        (pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.ipv4.tcp_syncookies", "value": "1"}]}), "forbidden sysctls (kernel.msgmax)"),
        (pod(securityContext={"windowsOptions": {"hostProcess": True}}), "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"),
        (pod({"appArmorProfile": {"type": "Unconfined"}}), 'forbidden AppArmor profile (container "c" must not set AppArmor profile type to "Unconfined")'),
        (
            pod(annotations={"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}),
            'forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/c="unconfined"")',
        ),
    ],
)  # fmt: skip
def test_the_baseline(it: Pod, said: str):
    assert broken("baseline", it) == said


@pytest.mark.parametrize(
    ("it", "said"),
    [
        (pod(SAFE | {"capabilities": {"drop": ["ALL"], "add": ["CHOWN", "NET_BIND_SERVICE"]}}), 'unrestricted capabilities (container "c" must not include "CHOWN" in securityContext.capabilities.add)'),
        (pod(SAFE, volumes=[{"name": "a", "hostPath": {"path": "/"}}, {"name": "b", "nfs": {"server": "s", "path": "/"}}, {"name": "e", "emptyDir": {}}]), 'restricted volume types (volumes "a", "b" use restricted volume types "hostPath", "nfs")'),
        (pod(SAFE | {"runAsNonRoot": False}, securityContext={"runAsNonRoot": False}), 'runAsNonRoot != true (pod and container "c" must not set securityContext.runAsNonRoot=false)'),
        (pod(SAFE | {"runAsUser": 0}), 'runAsUser=0 (container "c" must not set runAsUser=0)'),
        (pod(SAFE | {"seccompProfile": {"type": "Unconfined"}}), 'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")'),
        (pod(SAFE | {"seccompProfile": None}, securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "p"}}), ""),
        (pod({"runAsNonRoot": True}, os={"name": "windows"}), ""),
        (pod(SAFE | {"runAsNonRoot": None, "runAsUser": 0}, hostUsers=False), ""),
    ],
)  # fmt: skip
def test_the_restricted_level(it: Pod, said: str):
    assert broken("restricted", it) == said


@pytest.mark.parametrize(
    ("it", "before", "since"),
    [
        (pod(container=PROBE), 33, ""),
        (pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}), 32, "forbidden sysctls (net.ipv4.tcp_rmem)"),
        (pod(annotations={"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}), 19, 'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")'),
    ],
)  # fmt: skip
def test_old_versions_have_old_rules(it: Pod, before: int, since: str):
    assert broken("baseline", it, before - 1 if since else before) == since


# --- namespaces


def namespace(**labels: str) -> Namespace:
    own = {f"pod-security.kubernetes.io/{k.replace('_', '-')}": v for k, v in labels.items()}
    return Namespace(metadata=ObjectMeta(name="ns", labels=own))


async def test_an_enforced_level_refuses_pods():
    new = pod({"privileged": True})
    with pytest.raises(Forbidden) as caught:
        await PodSecurity(Memory(namespace(enforce="baseline", enforce_version="v1.30"))).judge(asking(new), new, None)
    why = (
        'violates PodSecurity "baseline:v1.30": privileged (container "c" must not set securityContext.privileged=true)'
    )
    assert caught.value.message == f'pods "x" is forbidden: {why}'


async def test_a_told_level_warns():
    new, request = pod(hostIPC=True), asking(pod())
    await PodSecurity(Memory(namespace(warn="baseline"))).judge(request, new, None)
    assert request.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostIPC=true)']


async def test_templates_are_warned_of_by_the_enforced_level():
    document = {
        "metadata": {"name": "d", "namespace": "ns"},
        "spec": {"template": {"spec": {"hostPID": True, "containers": [{"name": "c"}]}}},
    }
    new = meta.decode(meta.encode(document), Deployment)
    request = asking(new)
    await PodSecurity(Memory(namespace(enforce="baseline"))).judge(request, new, None)
    assert request.warnings == ['would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)']


async def test_labels_must_make_sense():
    new = namespace(enforce="strict", warn_version="1.2")
    with pytest.raises(Invalid) as caught:
        await PodSecurity(Memory()).judge(asking(new), new, None)
    assert caught.value.message == (
        'Namespace "ns" is invalid: [metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": '
        "must be one of privileged, baseline, restricted, metadata.labels[pod-security.kubernetes.io/warn-version]: "
        'Invalid value: "1.2": must be "latest" or "v1.x"]'
    )
    await PodSecurity(Memory()).judge(asking(new, "update"), new, new)


async def test_relabelling_tells_of_pods_that_would_not_be_let_in():
    pods = [pod({"privileged": True}, name=n) for n in ("b", "a", "c")] + [
        pod(hostIPC=True, name="z"),
        pod(name="fine"),
    ]
    new = namespace(enforce="baseline")
    request = asking(new, "update")
    await PodSecurity(Memory(*pods)).judge(request, new, namespace())
    assert request.warnings == [
        'existing pods in namespace "ns" violate the new PodSecurity enforce level "baseline:latest"',
        "a (and 2 other pods): privileged",
        "z: host namespaces",
    ]
    request.warnings.clear()
    await PodSecurity(Memory(*pods)).judge(request, new, namespace(enforce="restricted"))
    assert request.warnings == []


def test_what_labels_mean():
    policy, faults = policy_of(
        {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn-version": "v1.20"}
    )
    assert (str(policy.enforce), str(policy.audit), str(policy.warn), faults) == (
        "restricted:latest",
        "privileged:latest",
        "restricted:v1.20",
        [],
    )


def test_only_images_and_new_containers_make_an_update_worth_a_look():
    old = pod({"privileged": True})
    new = meta.clone(old)
    new.metadata.labels = {"a": "b"}
    assert not is_significant(new, old)
    new.spec.containers[0].image = "other"
    assert is_significant(new, old)
