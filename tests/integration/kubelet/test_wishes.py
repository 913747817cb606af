"""What pods can ask of their node, on the real engine."""

from pathlib import Path
from typing import Any

import pytest

from api.errors import Forbidden
from api.types import (
    EmptyDirVolumeSource,
    HostAlias,
    HostPathVolumeSource,
    Pod,
    PodDNSConfig,
    PodDNSConfigOption,
    PodSecurityContext,
    ResourceRequirements,
    Sysctl,
    Volume,
    VolumeMount,
)  # fmt: skip
from tests.integration.kubelet.asking import ready, sh, told


def limit(lab: Any, pod: Pod, file: str) -> int:
    """Of a guaranteed pod's control group."""
    controller, name = file.split("/")
    group = f"{lab.cluster}/node1/kubepods/pod{pod.metadata.uid}"
    return int(Path("/sys/fs/cgroup", controller, group, name).read_text())


async def test_a_forged_status_is_put_right_at_once(lab: Any, pods: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("web"))
        was = await lab.until("web", ready)
        forged = {"conditions": [{"type": "Ready", "status": "False"}], "message": "forged", "podIP": "1.2.3.4"}
        await lab.client.patch(Pod, "web", "default", {"status": forged}, kind="strategic", subresource="status")
        now = await lab.until("web", lambda pod: ready(pod) and not pod.status.message, 5)
        assert now.status.podIP == was.status.podIP
        assert now.status.startTime == was.status.startTime


async def test_a_pod_that_overfills_its_volume_is_evicted(lab: Any, pods: Any, containers: Any) -> None:
    mounts = [VolumeMount(name="disk", mountPath="/disk"), VolumeMount(name="memory", mountPath="/memory")]
    volumes = [
        Volume(name="disk", emptyDir=EmptyDirVolumeSource(sizeLimit="1Mi")),
        Volume(name="memory", emptyDir=EmptyDirVolumeSource(medium="Memory", sizeLimit="1Mi")),
    ]
    async with lab.kubelet():
        await lab.create(pods("full", containers(volumeMounts=mounts), volumes=volumes))
        pod = await lab.until("full", ready)
        assert "No space left" in sh(lab, pod, "dd if=/dev/zero of=/memory/f bs=1k count=2000 2>&1")
        sh(lab, pod, "dd if=/dev/zero of=/disk/f bs=1k count=2000 2>&1")
        pod = await lab.until("full", lambda pod: pod.status.phase == "Failed")
        words = 'Usage of EmptyDir volume "disk" exceeds the limit "1Mi". '
        assert (pod.status.reason, pod.status.message) == ("Evicted", words)
        assert (await told(lab, "Evicted")).strip() == words.strip()


async def test_safe_sysctls_are_set_and_unsafe_ones_refused(lab: Any, pods: Any) -> None:
    def wanting(pod: str, **sysctls: str) -> Pod:
        wished = [Sysctl(name=name.replace("__", "."), value=value) for name, value in sysctls.items()]
        return pods(pod, securityContext=PodSecurityContext(sysctls=wished))

    async with lab.kubelet():
        await lab.create(wanting("safe", kernel__shm_rmid_forced="1", net__ipv4__ip_unprivileged_port_start="80"))
        pod = await lab.until("safe", ready)
        names = "/proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start"
        assert sh(lab, pod, f"cat {names}") == "1\n80\n"
        await lab.create(wanting("unsafe", kernel__msgmax="1"))
        pod = await lab.until("unsafe", lambda pod: pod.status.phase == "Failed")
        assert pod.status.reason == "SysctlForbidden"
        assert await told(lab, "SysctlForbidden") == 'forbidden sysctl: "kernel.msgmax" not allowlisted'


async def test_a_container_is_resized_while_it_runs(lab: Any, pods: Any, containers: Any) -> None:
    def both(cpu: str, memory: str) -> ResourceRequirements:
        amounts = {"cpu": cpu, "memory": memory}
        return ResourceRequirements(requests=amounts, limits=amounts)

    async with lab.kubelet():
        await lab.create(pods("web", containers(resources=both("100m", "32Mi"))))
        before = await lab.until("web", ready)
        containers = [{"name": "main", "resources": both("200m", "64Mi")}]
        change = {"spec": {"containers": containers}}
        await lab.client.patch(Pod, "web", "default", change, kind="strategic", subresource="resize")
        wanted = both("200m", "64Mi")
        after = await lab.until("web", lambda pod: pod.status.containerStatuses[0].resources == wanted)
        assert after.status.containerStatuses[0].containerID == before.status.containerStatuses[0].containerID
        assert after.status.observedGeneration == after.metadata.generation
        host = lab.engine.inspect_container(after.status.containerStatuses[0].containerID.removeprefix("docker://"))
        found = host["HostConfig"]
        assert (found["CpuShares"], found["CpuQuota"], found["Memory"]) == (204, 20_000, 64 * 2**20)
        assert limit(lab, after, "cpu/cpu.cfs_quota_us") == 20_000
        assert limit(lab, after, "memory/memory.limit_in_bytes") == 64 * 2**20
        change = {"spec": {"containers": [{"name": "main", "resources": both("1000", "64Mi")}]}}
        with pytest.raises(Forbidden, match="node didn't have enough allocatable resources: cpu, requested: 1000000"):
            await lab.client.patch(Pod, "web", "default", change, kind="strategic", subresource="resize")


async def test_host_files_and_names(lab: Any, pods: Any) -> None:
    alias = [HostAlias(ip="10.1.2.3", hostnames=["foo.local", "bar.local"])]
    async with lab.kubelet():
        await lab.create(pods("own", subdomain="web", setHostnameAsFQDN=True, hostAliases=alias))
        await lab.create(pods("host", hostNetwork=True, hostAliases=alias))
        own, host = await lab.until("own", ready), await lab.until("host", ready)
        assert sh(lab, own, "hostname") == "own.web.default.svc.cluster.local\n"
        hosts = sh(lab, own, "cat /etc/hosts")
        assert hosts.startswith("# Kubernetes-managed hosts file.\n")
        assert f"{own.status.podIP}\town.web.default.svc.cluster.local\town\n" in hosts
        shared = sh(lab, host, "cat /etc/hosts")
        assert shared.startswith("# Kubernetes-managed hosts file (host network).\n")
        for text in (hosts, shared):
            assert text.endswith("\n# Entries added by HostAliases.\n10.1.2.3\tfoo.local\tbar.local\n")


async def test_names_and_resolvers_are_what_the_pod_says(
    lab: Any, pods: Any, containers: Any, tmp_path: Path
) -> None:  # fmt: skip
    own_hosts = tmp_path / "hosts"
    own_hosts.write_text("10.9.9.9 mine\n")
    dns = PodDNSConfig(
        nameservers=["192.0.2.1"], searches=["one.example", "two.example"],
        options=[PodDNSConfigOption(name="ndots", value="2"), PodDNSConfigOption(name="edns0")],
    )  # fmt: skip
    mount = VolumeMount(name="hosts", mountPath="/etc/hosts")
    volume = Volume(name="hosts", hostPath=HostPathVolumeSource(path=str(own_hosts), type="File"))
    both = [containers(volumeMounts=[mount]), containers("other")]
    async with lab.kubelet("--cluster-dns", "10.96.0.10"):
        wholly = {"hostnameOverride": "else.where.example", "dnsPolicy": "None", "dnsConfig": dns, "volumes": [volume]}
        await lab.create(pods("own", *both, hostname="ignored", **wholly))
        await lab.create(pods("merged", hostname="chosen", dnsPolicy="ClusterFirst", dnsConfig=dns))
        await lab.create(pods("long", hostname="x" * 40, subdomain="y" * 20, setHostnameAsFQDN=True))
        whole = f"{'x' * 40}.{'y' * 20}.default.svc.cluster.local"
        why = f"FQDN {whole} is too long (64 characters is the max, {len(whole)} characters requested)"
        assert (await told(lab, "FailedCreatePodSandBox", "long")).endswith(why)
        own, merged = await lab.until("own", ready), await lab.until("merged", ready)
        assert sh(lab, own, "hostname; cat /etc/hosts") == "else.where.example\n10.9.9.9 mine\n"
        assert "else.where.example" in sh(lab, own, "cat /etc/hosts", "other")
        assert sh(lab, own, "cat /etc/resolv.conf").splitlines() == [
            "search one.example two.example", "nameserver 192.0.2.1", "options ndots:2 edns0",
        ]  # fmt: skip
        assert sh(lab, merged, "hostname") == "chosen\n"
        search, *servers, options = sh(lab, merged, "cat /etc/resolv.conf").splitlines()
        assert search.startswith("search default.svc.cluster.local svc.cluster.local cluster.local")
        assert search.endswith(" one.example two.example")
        assert servers == ["nameserver 10.96.0.10", "nameserver 192.0.2.1"]
        assert options == "options ndots:2 edns0"


async def test_namespaces_are_shared_as_the_pod_says(lab: Any, pods: Any, containers: Any) -> None:
    async with lab.kubelet():
        await lab.create(pods("ipc", hostIPC=True))
        await lab.create(pods("pid", containers(), containers("other"), shareProcessNamespace=True))
        ipc, pid = await lab.until("ipc", ready), await lab.until("pid", ready)
        machine = lab.engine.inspect_container(ipc.status.containerStatuses[0].containerID.removeprefix("docker://"))
        assert machine["HostConfig"]["IpcMode"] == "host"
        assert sh(lab, pid, "readlink /proc/self/ns/pid") == sh(lab, pid, "readlink /proc/self/ns/pid", "other")
        assert "/pause" in sh(lab, pid, "cat /proc/1/cmdline")
