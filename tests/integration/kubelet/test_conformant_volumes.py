"""Upstream's conformance cases of volumes, told again with busybox: docs/conformance.md says which."""

import asyncio
import base64
from typing import Any

from api.types import (
    ConfigMap,
    ConfigMapProjection,
    ConfigMapVolumeSource,
    Container,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    ImageVolumeSource,
    KeyToPath,
    Namespace,
    ObjectFieldSelector,
    ObjectMeta,
    Pod,
    PodSecurityContext,
    ProjectedVolumeSource,
    ResourceFieldSelector,
    ResourceRequirements,
    Secret,
    SecretProjection,
    SecretVolumeSource,
    SecurityContext,
    Volume,
    VolumeMount,
    VolumeProjection,
)  # fmt: skip
from tests.integration.kubelet.asking import ready, sh, told, waiting


def config_map(name: str, data: dict[str, str], binary: dict[str, bytes] | None = None) -> ConfigMap:
    encoded = {k: base64.b64encode(v).decode() for k, v in (binary or {}).items()}
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data, binaryData=encoded)


def secret(name: str, data: dict[str, str]) -> Secret:
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    return Secret(metadata=ObjectMeta(name=name, namespace="default"), data=encoded)


def mounts(volumes: list[Volume]) -> list[VolumeMount]:
    return [VolumeMount(name=v.name, mountPath=f"/{v.name}") for v in volumes]


def modes(*paths: str) -> str:
    """A shell's words for: the mode and the group of what these names lead to."""
    return f"stat -Lc '%A:%g' {' '.join(paths)}"


async def test_files_of_config_maps_and_secrets_have_their_modes(lab: Any, pods: Any, containers: Any) -> None:
    item = [KeyToPath(key="k", path="path/to/k")]
    strict = [KeyToPath(key="k", path="path/to/k", mode=0o400)]
    volumes = [
        Volume(name="plain", configMap=ConfigMapVolumeSource(name="c")),
        Volume(name="twice", configMap=ConfigMapVolumeSource(name="c")),
        Volume(name="moded", configMap=ConfigMapVolumeSource(name="c", defaultMode=0o400)),
        Volume(name="mapped", configMap=ConfigMapVolumeSource(name="c", items=item)),
        Volume(name="strict", configMap=ConfigMapVolumeSource(name="c", items=strict)),
        Volume(name="secret", secret=SecretVolumeSource(secretName="s")),
        Volume(name="all", projected=ProjectedVolumeSource(defaultMode=0o400, sources=[
            VolumeProjection(configMap=ConfigMapProjection(name="c", items=item)),
            VolumeProjection(secret=SecretProjection(name="s", items=[KeyToPath(key="k", path="s", mode=0o777)]))])),
    ]  # fmt: skip
    async with lab.kubelet():
        await lab.client.create(config_map("c", {"k": "v"}, {"b": b"\xde\xca\xfe\x00"}))
        await lab.client.create(secret("s", {"k": "hidden"}))
        await lab.create(pods("root", containers(volumeMounts=mounts(volumes)), volumes=volumes))
        person = PodSecurityContext(runAsUser=1000, fsGroup=1001)
        await lab.create(
            pods("person", containers(volumeMounts=mounts(volumes)), volumes=volumes, securityContext=person)
        )
        root, other = await lab.until("root", ready), await lab.until("person", ready)
        files = ["/plain/k", "/twice/k", "/moded/k", "/mapped/path/to/k", "/strict/path/to/k", "/secret/k",
                 "/all/path/to/k", "/all/s"]  # fmt: skip
        read, only, whole = "-rw-r--r--", "-r--------", "-rwxrwxrwx"
        shown = sh(lab, root, f"{modes(*files)}; cat {' '.join(files)}; od -An -tx1 /plain/b")
        assert shown == (
            "\n".join(f"{m}:0" for m in (read, read, only, read, only, read, only, whole))
            + "\nvvvvvhiddenvhidden de ca fe 00\n"
        )
        shown = sh(lab, other, f"{modes(*files)}; cat {' '.join(files)}")
        given = [f"{m}:1001" for m in (read, read, "-r--r-----", read, "-r--r-----", read, "-r--r-----", whole)]
        assert shown == "\n".join(given) + "\nvvvvvhiddenvhidden"
        assert "Read-only file system" in sh(lab, root, "touch /plain/new 2>&1")


async def test_optional_objects_come_change_and_go_while_a_pod_runs(lab: Any, pods: Any, containers: Any) -> None:
    volumes = [
        *(Volume(name=n, configMap=ConfigMapVolumeSource(name=n, optional=True)) for n in ("come", "change", "go")),
        Volume(name="secrets", projected=ProjectedVolumeSource(sources=[
            VolumeProjection(secret=SecretProjection(name="sc", optional=True)),
            VolumeProjection(secret=SecretProjection(name="sg", optional=True))])),
    ]  # fmt: skip
    async with lab.kubelet():
        await lab.client.create(config_map("change", {"k": "1"}))
        await lab.client.create(config_map("go", {"gone": "1"}))
        await lab.client.create(secret("sg", {"gone": "1"}))
        await lab.create(pods("web", containers(volumeMounts=mounts(volumes)), volumes=volumes))
        pod = await lab.until("web", ready)
        assert (
            sh(lab, pod, "ls /come /change /go /secrets") == "/change:\nk\n\n/come:\n\n/go:\ngone\n\n/secrets:\ngone\n"
        )
        await lab.client.create(config_map("come", {"new": "1"}))
        await lab.client.create(secret("sc", {"new": "1"}))
        await lab.client.patch(ConfigMap, "change", "default", {"data": {"k": "2"}})
        await lab.client.delete(ConfigMap, "go", "default")
        await lab.client.delete(Secret, "sg", "default")
        seen = "test -e /come/new -a -e /secrets/new -a ! -e /go/gone -a ! -e /secrets/gone && grep -q 2 /change/k"
        # The kubelet runs in this very loop, so nobody may wait for it here.
        waited = await asyncio.to_thread(sh, lab, pod, f"until {seen}; do sleep 0.1; done; echo all")
        assert waited == "all\n"


async def test_directories_in_memory_and_on_disk_are_everybodys(lab: Any, pods: Any, containers: Any) -> None:
    """All of upstream's (root or not, 0644, 0666 or 0777, on disk or in memory)."""
    volumes = [
        Volume(name="disk", emptyDir=EmptyDirVolumeSource()),
        Volume(name="memory", emptyDir=EmptyDirVolumeSource(medium="Memory")),
    ]
    person = containers(
        "person", volumeMounts=mounts(volumes), securityContext=SecurityContext(runAsUser=1001, runAsGroup=1001)
    )
    main = containers(
        volumeMounts=mounts(volumes), resources=ResourceRequirements(limits={"memory": "16Mi", "cpu": "1"})
    )
    async with lab.kubelet():
        await lab.create(pods("web", main, person, volumes=volumes))
        pod = await lab.until("web", ready)
        assert sh(lab, pod, modes("/disk", "/memory")) == "drwxrwxrwx:0\ndrwxrwxrwx:0\n"
        assert "tmpfs" in sh(lab, pod, "grep ' /memory ' /proc/mounts")
        assert "tmpfs" not in sh(lab, pod, "grep ' /disk ' /proc/mounts")
        for who in ("main", "person"):
            for at in ("disk", "memory"):
                for mode, words in (("644", "-rw-r--r--"), ("666", "-rw-rw-rw-"), ("777", "-rwxrwxrwx")):
                    file = f"/{at}/{who}{mode}"
                    made = sh(lab, pod, f"echo text > {file}; chmod {mode} {file}; stat -c %A {file}; cat {file}", who)
                    assert made == f"{words}\ntext\n"
        assert sh(lab, pod, "cat /memory/person644 /disk/person644") == "text\ntext\n"


def resource(path: str, name: str, divisor: str = "1") -> DownwardAPIVolumeFile:
    chosen = ResourceFieldSelector(containerName="main", resource=name, divisor=divisor)
    return DownwardAPIVolumeFile(path=path, resourceFieldRef=chosen)


def pod_fields(*names: str) -> list[DownwardAPIVolumeFile]:
    return [
        DownwardAPIVolumeFile(path=n, fieldRef=ObjectFieldSelector(fieldPath=f"metadata.{n}"), mode=0o400)
        for n in names
    ]


async def test_a_pod_reads_about_itself(lab: Any, pods: Any, containers: Any) -> None:
    amounts = ResourceRequirements(
        requests={"cpu": "250m", "memory": "16Mi"}, limits={"cpu": "1250m", "memory": "32Mi"}
    )  # fmt: skip
    items = [
        *pod_fields("name", "namespace", "uid", "labels", "annotations"),
        resource("cpu", "limits.cpu"), resource("millis", "requests.cpu", "1m"),
        resource("memory", "limits.memory", "1Mi"), resource("asked", "requests.memory"),
        resource("storage", "limits.ephemeral-storage"),
    ]  # fmt: skip
    plain = Volume(name="own", downwardAPI=DownwardAPIVolumeSource(items=items))
    same = ProjectedVolumeSource(sources=[VolumeProjection(downwardAPI=DownwardAPIProjection(items=items))])
    volumes = [plain, Volume(name="projected", projected=same)]
    async with lab.kubelet():
        limited: Container = containers(volumeMounts=mounts(volumes), resources=amounts)
        made = pods("web", limited, volumes=volumes)
        made.metadata.labels = {"a": "1"}
        await lab.create(made)
        await lab.create(pods("free", containers(volumeMounts=mounts(volumes)), volumes=volumes))
        pod, free = await lab.until("web", ready), await lab.until("free", ready)
        for at in ("/own", "/projected"):
            cat = f"cd {at}; for f in name namespace uid labels cpu millis memory asked; do cat $f; echo; done"
            expected = ["web", "default", pod.metadata.uid, 'a="1"', "2", "250", "32", str(16 << 20), ""]
            assert sh(lab, pod, cat).split("\n") == expected
            assert sh(lab, pod, modes(f"{at}/name", f"{at}/cpu")) == "-r--------:0\n-rw-r--r--:0\n"
            # Without limits they are what the node has to give.
            has = [
                int(n) for n in sh(lab, free, f"cat {at}/cpu; echo; cat {at}/memory; echo; cat {at}/storage").split()
            ]
            assert has[0] >= 1
            assert has[1] > 32
            assert has[2] > 1 << 20
        change = {"metadata": {"labels": {"a": "2"}, "annotations": {"b": "3"}}}
        await lab.client.patch(Pod, "web", "default", change)
        seen = "grep -q 2 /own/labels && grep -q 3 /own/annotations && grep -q 2 /projected/labels"
        assert await asyncio.to_thread(sh, lab, pod, f"until {seen}; do sleep 0.1; done; echo all") == "all\n"


async def test_an_image_is_a_volume(lab: Any, pods: Any, containers: Any) -> None:
    def imaged(name: str, reference: str, policy: str = "IfNotPresent", **fields: Any) -> Pod:
        image = Volume(name="v", image=ImageVolumeSource(reference=reference, pullPolicy=policy))
        main = containers(volumeMounts=[VolumeMount(name="v", mountPath="/volume"), *fields.pop("more", ())])
        return pods(name, main, volumes=[image], **fields)  # type: ignore[no-any-return]

    part = VolumeMount(name="v", mountPath="/part", subPath="bin")
    async with lab.kubelet():
        await lab.create(imaged("web", "busybox:1.35", "Always", more=[part]))
        pod = await lab.until("web", ready)
        assert (
            sh(lab, pod, "/volume/bin/busybox echo from the volume; ls /part | grep -cx sh") == "from the volume\n1\n"
        )
        assert "Read-only file system" in sh(lab, pod, "touch /volume/x 2>&1")
        assert await told(lab, "Pulled", "web")
        await lab.create(imaged("none", "example.invalid/none:1", "Never"))
        pod = await lab.until("none", lambda pod: waiting(pod) == "ErrImageNeverPull")
        why = 'Container image "example.invalid/none:1" is not present with pull policy of Never'
        assert pod.status.containerStatuses[0].state.waiting.message == why
        await lab.client.delete(Pod, "web", "default")
        await lab.until_gone("web")
        assert not lab.engine.containers(all=True, filters={"label": "io.wherry.kind=image"})


async def test_a_volume_that_cannot_be_made_says_why(lab: Any, pods: Any, containers: Any) -> None:
    wanting = {
        "map": (Volume(name="v", configMap=ConfigMapVolumeSource(name="none")), 'configmap "none" not found'),
        "key": (
            Volume(name="v", secret=SecretVolumeSource(secretName="s", items=[KeyToPath(key="no", path="no")])),
            "references non-existent secret key: no",
        ),
    }
    async with lab.kubelet():
        await lab.client.create(secret("s", {"k": "hidden"}))
        for name, (volume, why) in wanting.items():
            await lab.create(pods(name, containers(volumeMounts=mounts([volume])), volumes=[volume]))
            assert await told(lab, "FailedMount", name) == f'MountVolume.SetUp failed for volume "v" : {why}'
        await lab.client.create(config_map("none", {"k": "v"}))
        await lab.until("map", ready)


async def test_secrets_of_one_name_in_two_namespaces_are_two(lab: Any, pods: Any, containers: Any) -> None:
    volumes = [Volume(name="v", secret=SecretVolumeSource(secretName="same"))]
    async with lab.kubelet():
        await lab.client.create(Namespace(metadata=ObjectMeta(name="other")))
        other = secret("same", {"k": "elsewhere"})
        other.metadata.namespace = "other"
        await lab.client.create(other)
        await lab.client.create(secret("same", {"k": "here"}))
        await lab.create(pods("web", containers(volumeMounts=mounts(volumes)), volumes=volumes))
        assert sh(lab, await lab.until("web", ready), "cat /v/k") == "here"


async def test_fifty_config_maps_and_a_secret_are_mounted_beside_each_other(
    lab: Any, pods: Any, containers: Any
) -> None:
    names = [f"racey-{number}" for number in range(50)]
    volumes = [
        *(Volume(name=n, configMap=ConfigMapVolumeSource(name=n)) for n in names),
        Volume(name="hidden", secret=SecretVolumeSource(secretName="hidden")),
        Volume(name="empty", emptyDir=EmptyDirVolumeSource()),
    ]
    async with lab.kubelet():
        for name in names:
            await lab.client.create(config_map(name, {"k": f"{name}\n"}))
        await lab.client.create(secret("hidden", {"k": "hidden\n"}))
        await lab.create(pods("web", containers(volumeMounts=mounts(volumes)), volumes=volumes))
        pod = await lab.until("web", ready)
        assert sh(lab, pod, "cat /racey-*/k /hidden/k").split() == [*sorted(names), "hidden"]
