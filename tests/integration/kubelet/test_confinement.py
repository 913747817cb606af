"""What a security context asks for, as a process in the container finds it."""

import json
from typing import Any

from api.types import (
    AppArmorProfile,
    Capabilities,
    Node,
    Pod,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
    Sysctl,
)
from kubelet.nodes import machines
from tests.integration.kubelet.asking import ready, sh, told, waiting

KEY = {"CHOWN": 0, "NET_BIND_SERVICE": 10, "SYS_TIME": 25}


def capabilities(lab: Any, pod: Pod, name: str = "main") -> int:
    return int(sh(lab, pod, "grep CapEff /proc/1/status", name).split()[1], 16)


async def test_who_a_process_is_and_what_it_may_do(lab: Any, pods: Any, containers: Any) -> None:
    def confined(name: str, **fields: Any) -> Any:
        return containers(name, securityContext=SecurityContext(**fields))

    whole = PodSecurityContext(runAsUser=1001, runAsGroup=2002, fsGroup=3003, supplementalGroups=[4004])
    each = [
        containers(),
        confined("other", runAsUser=65534, runAsGroup=65534),
        confined("root", runAsUser=0, runAsGroup=0, allowPrivilegeEscalation=False, readOnlyRootFilesystem=True),
        confined("more", runAsUser=0, capabilities=Capabilities(add=["SYS_TIME"], drop=["CHOWN"])),
        confined("none", runAsUser=0, capabilities=Capabilities(drop=["ALL"], add=["NET_BIND_SERVICE"])),
        confined("strong", runAsUser=0, privileged=True),
        confined("open", runAsUser=0, procMount="Default", seccompProfile=SeccompProfile(type="RuntimeDefault")),
    ]
    async with lab.kubelet():
        await lab.create(pods("web", *each, securityContext=whole))
        pod = await lab.until("web", ready)
        assert sh(lab, pod, "id -u; id -g; id -G").split("\n")[:2] == ["1001", "2002"]
        assert {"3003", "4004"} <= set(sh(lab, pod, "id -G").split())
        assert sh(lab, pod, "id -u; id -g", "other") == "65534\n65534\n"
        users = {s.name: s.user.linux for s in pod.status.containerStatuses}
        assert (users["main"].uid, users["main"].gid) == (1001, 2002)
        assert users["main"].supplementalGroups == [2002, 3003, 4004]
        assert (users["root"].uid, users["root"].gid) == (0, 0)
        assert "Read-only file system" in sh(lab, pod, "touch /file 2>&1", "root")
        assert "NoNewPrivs:\t1" in sh(lab, pod, "cat /proc/1/status", "root")
        assert "NoNewPrivs:\t0" in sh(lab, pod, "cat /proc/1/status", "more")
        more, none, strong = (capabilities(lab, pod, name) for name in ("more", "none", "strong"))
        assert (more >> KEY["SYS_TIME"] & 1, more >> KEY["CHOWN"] & 1) == (1, 0)
        assert none == 1 << KEY["NET_BIND_SERVICE"]
        assert strong.bit_count() > more.bit_count() + 10
        assert "Seccomp:\t0" in sh(lab, pod, "cat /proc/1/status", "strong")
        assert "Seccomp:\t2" in sh(lab, pod, "cat /proc/1/status", "open")
        assert "Seccomp:\t0" in sh(lab, pod, "cat /proc/1/status", "more")
        assert "Operation not permitted" in sh(lab, pod, "ip link add x type dummy 2>&1", "more")


async def test_a_seccomp_profile_of_the_node_holds_a_container_in(lab: Any, pods: Any, containers: Any) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    directory = lab.root / "seccomp" / "own"
    directory.mkdir(parents=True)
    (directory / "no-mkdir.json").write_text(json.dumps(profile))

    def local(name: str) -> PodSecurityContext:
        return PodSecurityContext(seccompProfile=SeccompProfile(type="Localhost", localhostProfile=name))

    async with lab.kubelet():
        await lab.create(pods("held", securityContext=local("own/no-mkdir.json")))
        await lab.create(pods("missing", securityContext=local("none.json")))
        held = await lab.until("held", ready)
        assert "Operation not permitted" in sh(lab, held, "mkdir /tmp/x 2>&1")
        missing = await lab.until("missing", lambda pod: waiting(pod) == "CreateContainerError")
        path = lab.root / "seccomp" / "none.json"
        why = f'cannot load seccomp profile "{path}": open {path}: no such file or directory'
        assert missing.status.containerStatuses[0].state.waiting.message == why
        (path).write_text(json.dumps(profile))
        await lab.until("missing", ready)


async def test_what_this_machine_cannot_give_is_refused(lab: Any, pods: Any, containers: Any) -> None:
    root = SecurityContext(runAsNonRoot=True, runAsUser=0)
    async with lab.kubelet():
        await lab.create(pods("userns", hostUsers=False))
        why = "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
        assert await told(lab, "FailedCreatePodSandBox", "userns") == f"Failed to create pod sandbox: {why}"
        await lab.create(pods("root", containers(securityContext=root)))
        await lab.create(pods("image", containers(securityContext=SecurityContext(runAsNonRoot=True))))
        for name, words in (
            ("root", "container's runAsUser breaks non-root policy"),
            ("image", "container has runAsNonRoot and image will run as root"),
        ):
            pod = await lab.until(name, lambda pod: waiting(pod) == "CreateContainerConfigError")
            assert pod.status.containerStatuses[0].state.waiting.message.startswith(words)
        armor = PodSecurityContext(appArmorProfile=AppArmorProfile(type="RuntimeDefault"))
        await lab.create(pods("armored", securityContext=armor))
        if machines.has_armor():
            await lab.until("armored", ready)
        else:
            pod = await lab.until("armored", lambda pod: pod.status.phase == "Failed")
            said = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
            assert (pod.status.reason, pod.status.message) == ("AppArmor", f"Pod was rejected: {said}")
        strict = PodSecurityContext(supplementalGroupsPolicy="Strict")
        await lab.create(pods("strict", securityContext=strict))
        pod = await lab.until("strict", lambda pod: pod.status.phase == "Failed")
        said = "SupplementalGroupsPolicy=Strict is not supported in this node"
        assert (pod.status.reason, pod.status.message) == (
            "SupplementalGroupsPolicyNotSupported", f"Pod was rejected: {said}",
        )  # fmt: skip
        node = await lab.client.get(Node, "node1")
        assert node.status.features.supplementalGroupsPolicy is False
        assert not node.status.runtimeHandlers[0].features.userNamespaces


async def test_sysctls_may_be_written_with_slashes(lab: Any, pods: Any) -> None:
    wished = PodSecurityContext(sysctls=[Sysctl(name="kernel/shm_rmid_forced", value="1")])
    async with lab.kubelet():
        await lab.create(pods("safe", securityContext=wished))
        pod = await lab.until("safe", ready)
        assert sh(lab, pod, "cat /proc/sys/kernel/shm_rmid_forced") == "1\n"
