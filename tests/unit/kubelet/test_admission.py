"""Pods that a node refuses."""

import pytest

from api.types import Pod, PodSecurityContext, Sysctl
from kubelet.pods.admission import refusal
from tests.unit.kubelet.builders import pod


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
