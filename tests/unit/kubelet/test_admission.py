"""Pods that a node refuses."""

import pytest

from api.types import AppArmorProfile, Pod, PodOS, PodSecurityContext, SecurityContext, Sysctl
from kubelet.containers.sysctls import normal
from kubelet.pods.admission import refusal
from tests.unit.kubelet.builders import container, pod


def wanting(name: str, **spec: object) -> Pod:
    return pod(securityContext=PodSecurityContext(sysctls=[Sysctl(name=name, value="1")]), **spec)


@pytest.mark.parametrize("name", ["kernel.shm_rmid_forced", "kernel/shm_rmid_forced", "net.ipv4.tcp_syncookies"])
def test_safe_sysctls_are_set(name: str) -> None:
    assert refusal(wanting(name)) is None


def test_unsafe_sysctls_are_refused_unless_they_are_allowed() -> None:
    of = wanting("kernel.msgmax")
    assert refusal(of) == ("SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted')
    assert refusal(of, ["kernel.msg*"]) is None
    assert refusal(of, ["kernel.msgmax"]) is None
    assert refusal(of, ["kernel.msg"]) is not None


def test_what_would_change_the_machine_is_refused() -> None:
    shared = refusal(wanting("kernel.shm_rmid_forced", hostIPC=True))
    assert shared == ("SysctlForbidden", 'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled')
    network = refusal(wanting("net.ipv4.tcp_syncookies", hostNetwork=True))
    assert network is not None
    assert network[1].endswith("not allowed with host net enabled")


@pytest.mark.parametrize("kind", ["RuntimeDefault", "Localhost"])
def test_a_machine_without_armor_refuses_who_wants_it(kind: str) -> None:
    of = pod(container(securityContext=SecurityContext(appArmorProfile=AppArmorProfile(type=kind))))
    why = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    assert refusal(of, armored=False) == ("AppArmor", why)
    assert refusal(of, armored=True) is None
    bare = pod(container(securityContext=SecurityContext(appArmorProfile=AppArmorProfile(type="Unconfined"))))
    assert refusal(bare, armored=False) is None


def test_pods_for_another_system_are_refused() -> None:
    words = "Failed to admit pod as the OS field doesn't match node OS"
    assert refusal(pod(os=PodOS(name="windows"))) == ("PodOSNotSupported", words)
    labelled = refusal(pod(metadata={"labels": {"kubernetes.io/os": "windows"}}))
    assert labelled is not None
    assert labelled[0] == "PodOSSelectorNodeLabelDoesNotMatch"
    assert refusal(pod(os=PodOS(name="linux"), metadata={"labels": {"kubernetes.io/os": "linux"}})) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("kernel/shm_rmid_forced", "kernel.shm_rmid_forced"),
        ("net/ipv4/conf/eth0.1/forwarding", "net.ipv4.conf.eth0/1.forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net.ipv4.conf.eth0/1.forwarding"),
    ],
)
def test_the_first_separator_of_a_sysctl_tells_how_it_is_written(written: str, meant: str) -> None:
    assert normal(written) == meant
