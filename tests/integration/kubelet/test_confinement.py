"""What a security context asks for, as a process in the container finds it."""

import io
import json
import tarfile
import uuid
from collections.abc import Iterator
from typing import Any

import docker
import pytest

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
from tests.integration.kubelet.conftest import IMAGE

PASSWD = b"root:x:0:0::/:/bin/sh\napp:x:1000:2000::/:/bin/sh\n1000:x:7:7::/:/bin/sh\n"
GROUP = b"root:x:0:\nextra:x:50000:other,app\n5005:x:0:\nothers:x:70000:root,1000\n"
KEY = {"CHOWN": 0, "NET_BIND_SERVICE": 10, "SYS_TIME": 25}


@pytest.fixture
def peopled(engine: docker.APIClient) -> Iterator[str]:
    """An image with users and groups; one of its files is a link.  Ask for it before the lab, whose containers have it."""
    name = f"wherry-test-{uuid.uuid4().hex[:8]}:1"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as files:
        steps = f"FROM {IMAGE}\nCOPY passwd /etc/\nCOPY people /\nCOPY group /etc/\nUSER app\n".encode()
        for path, content in (("Dockerfile", steps), ("passwd", PASSWD), ("people", GROUP)):
            found = tarfile.TarInfo(path)
            found.size = len(content)
            files.addfile(found, io.BytesIO(content))
        link = tarfile.TarInfo("group")
        link.type, link.linkname = tarfile.SYMTYPE, "../people"
        files.addfile(link)
    context.seek(0)
    said = "".join(str(line) for line in engine.build(fileobj=context, custom_context=True, tag=name, rm=True))
    assert engine.images(name), said
    yield name
    engine.remove_image(name, force=True)


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
        node = await lab.client.get(Node, "node1")
        assert not node.status.runtimeHandlers[0].features.userNamespaces


async def test_the_groups_of_an_image_are_joined_unless_the_policy_is_strict(
    peopled: str, lab: Any, pods: Any, containers: Any
) -> None:  # fmt: skip
    """As upstream's suite has it, in whose image too a user 1000 is in a group 50000."""

    def wanting(name: str, image: str, policy: str, extra: int = 60000, **who: int) -> Pod:
        context = PodSecurityContext(supplementalGroups=[extra], supplementalGroupsPolicy=policy, **who)
        main = containers(securityContext=SecurityContext(**who))
        main.image = image
        return pods(name, main, securityContext=context)

    async with lab.kubelet():
        for policy in ("Merge", "Strict"):
            await lab.create(wanting(policy.lower(), peopled, policy, runAsUser=1000))
            await lab.create(wanting(f"{policy.lower()}-group", peopled, policy, 4004, runAsUser=1000, runAsGroup=3000))
            await lab.create(wanting(f"{policy.lower()}-image", peopled, policy))
        await lab.create(wanting("misread", peopled, "Strict", 5005, runAsUser=1000))
        for name, uid, gid, joined in (
            ("merge", 1000, 2000, [2000, 50000, 60000]),
            ("strict", 1000, 2000, [2000, 60000]),
            ("merge-group", 1000, 3000, [3000, 4004, 50000]),
            ("strict-group", 1000, 3000, [3000, 4004]),
            ("merge-image", 1000, 2000, [2000, 50000, 60000]),
            ("strict-image", 1000, 2000, [2000, 60000]),
        ):
            pod = await lab.until(name, ready)
            user = pod.status.containerStatuses[0].user.linux
            assert (name, user.uid, user.gid, user.supplementalGroups) == (name, uid, gid, joined)
            assert sh(lab, pod, "id -u; id -g; id -G").split() == [str(n) for n in (uid, gid, *joined)]
        misread = await lab.until("misread", lambda pod: waiting(pod) == "CreateContainerConfigError")
        why = 'supplementalGroupsPolicy is Strict and the image has another group of the name "5005"'
        assert misread.status.containerStatuses[0].state.waiting.message == why
        node = await lab.client.get(Node, "node1")
        assert node.status.features.supplementalGroupsPolicy
    async with lab.kubelet():
        assert (await lab.until("strict", ready)).status.containerStatuses[0].user.linux.supplementalGroups == [
            2000,
            60000,
        ]


async def test_sysctls_may_be_written_with_slashes(lab: Any, pods: Any) -> None:
    wished = PodSecurityContext(sysctls=[Sysctl(name="kernel/shm_rmid_forced", value="1")])
    async with lab.kubelet():
        await lab.create(pods("safe", securityContext=wished))
        pod = await lab.until("safe", ready)
        assert sh(lab, pod, "cat /proc/sys/kernel/shm_rmid_forced") == "1\n"
