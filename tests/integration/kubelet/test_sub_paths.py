"""Parts of volumes, and that nothing beyond the volume can be had through them."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from api import meta
from api.types import (
    ConfigMap,
    ConfigMapVolumeSource,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    EmptyDirVolumeSource,
    EnvVar,
    EnvVarSource,
    HostPathVolumeSource,
    ObjectFieldSelector,
    ObjectMeta,
    Pod,
    PodSecurityContext,
    ProjectedVolumeSource,
    Volume,
    VolumeMount,
    VolumeProjection,
)  # fmt: skip
from kubelet.runtime.docker import Docker
from tests.integration.kubelet.asking import ready, sh, told, waiting

EMPTY = Volume(name="v", emptyDir=EmptyDirVolumeSource())


def at(path: str, **fields: Any) -> VolumeMount:
    return VolumeMount(**{"name": "v", "mountPath": path, **fields})


async def test_parts_of_every_kind_of_volume(lab: Any, pods: Any, containers: Any, tmp_path: Path) -> None:
    """Upstream: Subpath, Variable Expansion."""
    config = ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"key": "old\n"})
    name = DownwardAPIVolumeFile(path="name", fieldRef=ObjectFieldSelector(fieldPath="metadata.name"))
    volumes = [
        EMPTY,
        Volume(name="memory", emptyDir=EmptyDirVolumeSource(medium="Memory")),
        Volume(name="config", configMap=ConfigMapVolumeSource(name="c")),
        Volume(name="all", projected=ProjectedVolumeSource(
            sources=[VolumeProjection(downwardAPI=DownwardAPIProjection(items=[name]))])),
        Volume(name="host", hostPath=HostPathVolumeSource(path=str(tmp_path))),
    ]  # fmt: skip
    (tmp_path / "file").write_text("of the host\n")
    script = "mkdir -p /whole/dir/deep; echo made before > /whole/dir/deep/file; ln -s dir/deep /whole/link"
    before = containers("before", ["sh", "-c", script], volumeMounts=[at("/whole")])
    main = containers(
        env=[EnvVar(name="WHO", valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath="metadata.name")))],
        volumeMounts=[
            at("/whole"),
            at("/one/file", subPath="dir/deep/file"),
            at("/linked", subPath="link"),
            at("/own", subPathExpr="logs/$(WHO)"),
            at("/in-memory", name="memory", subPath="sub"),
            at("/memory", name="memory"),
            at("/etc/key", name="config", subPath="key"),
            at("/all-config", name="config"),
            at("/name", name="all", subPath="name"),
            at("/from-host", name="host", subPath="file"),
            at("/new-on-host", name="host", subPath="new/dir"),
            at("/read-only", subPath="dir", readOnly=True),
        ],
    )
    async with lab.kubelet():
        await lab.client.create(config)
        await lab.create(
            pods("web", main, initContainers=[before], volumes=volumes, securityContext=PodSecurityContext(fsGroup=7))
        )
        pod = await lab.until("web", ready)
        assert sh(lab, pod, "cat /one/file /linked/file /from-host /name; echo") == (
            "made before\nmade before\nof the host\nweb\n"
        )
        assert sh(lab, pod, "touch /own/x /in-memory/y /new-on-host/z; ls /whole/logs/web /memory/sub") == (
            "/memory/sub:\ny\n\n/whole/logs/web:\nx\n"
        )
        assert (tmp_path / "new/dir/z").exists()
        assert "Read-only file system" in sh(lab, pod, "touch /read-only/x 2>&1")
        assert sh(lab, pod, "stat -c %a:%g /whole/logs /memory /memory/sub") == "2777:7\n2777:7\n2777:7\n"
        # A part keeps what it was, as the whole follows.
        change = {"data": {"key": "new\n"}}
        await lab.client.patch(ConfigMap, "c", "default", change, kind="merge")
        await lab.client.patch(Pod, "web", "default", {"metadata": {"labels": {"look": "again"}}})
        # The kubelet runs in this very loop, so nobody may wait for it here.
        seen = "until grep -q new /all-config/key; do sleep 0.1; done; cat /etc/key"
        assert await asyncio.to_thread(sh, lab, pod, seen) == "old\n"
        assert not list((lab.root / "pods" / pod.metadata.uid / "volume-subpaths").iterdir())
        await lab.client.delete(Pod, "web", "default")
        await lab.until_gone("web")
        assert list((lab.root / "pods").iterdir()) == []
        assert (tmp_path / "file").exists()
        assert str(lab.root) not in lab.inside("cat", "/proc/mounts")


@pytest.mark.parametrize("medium", ["", "Memory"])
async def test_links_do_not_lead_out_of_a_volume(lab: Any, pods: Any, containers: Any, medium: str) -> None:
    volume = Volume(name="v", emptyDir=EmptyDirVolumeSource(medium=medium))
    script = "ln -s /etc /v/absolute; ln -s ../../../../../../../../../etc /v/climbing; ln -s /v/none /v/missing"
    before = containers("before", ["sh", "-c", script], volumeMounts=[at("/v")])
    tries = {"a": "absolute", "b": "climbing", "c": "absolute/new", "d": "missing/new"}
    each = [containers(name, volumeMounts=[at("/out", subPath=path)]) for name, path in tries.items()]
    async with lab.kubelet():
        await lab.create(pods("web", *each, initContainers=[before], volumes=[volume]))
        pod = await lab.until("web", lambda pod: all(waiting(pod, n) == "CreateContainerConfigError" for n in tries))
        for name in tries:
            state = next(s for s in pod.status.containerStatuses if s.name == name).state
            assert state.waiting.message == (f'failed to prepare subPath for volumeMount "v" of container "{name}"')
        assert not os.access("/etc/new", os.F_OK)


async def test_what_is_swapped_before_the_engine_mounts_it_leads_nowhere(
    lab: Any, pods: Any, containers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """The moment an attacker waits for: after the look, before the mount.  A test can make it last."""
    (tmp_path / "stolen").write_text("none of theirs")
    original = Docker.start

    async def start(engine: Docker, container: str) -> None:
        if (await engine.inspect(container)).name == "main":
            volume = next(lab.root.glob("pods/*/volumes/*/v"))
            (volume / "dir").rename(volume / "kept")
            (volume / "dir").symlink_to(tmp_path)
        await original(engine, container)

    before = containers("before", ["sh", "-c", "mkdir /v/dir; echo ours > /v/dir/own"], volumeMounts=[at("/v")])
    main = containers(volumeMounts=[at("/v"), at("/part", subPath="dir")])
    monkeypatch.setattr(Docker, "start", start)
    async with lab.kubelet():
        await lab.create(pods("web", main, initContainers=[before], volumes=[EMPTY]))
        pod = await lab.until("web", ready)
        assert sh(lab, pod, "readlink /v/dir") == f"{tmp_path}\n"
        assert sh(lab, pod, "ls /part; cat /part/own") == "own\nours\n"


async def test_expressions_that_fail_hold_a_container_until_they_are_put_right(
    lab: Any, pods: Any, containers: Any
) -> None:  # fmt: skip
    """Upstream: Variable Expansion should fail substituting values in a volume subpath, and be modified."""
    source = EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath="metadata.annotations['where']"))
    main = containers(
        env=[EnvVar(name="WHERE", valueFrom=source)], volumeMounts=[at("/part", subPathExpr="$(WHERE)"), at("/v")]
    )
    wrong = {
        "absolute": ("/tmp", "error SubPath `/tmp` must not be an absolute path"),
        "backtick": ("..", "unable to provision SubPath `..`: must not contain '..'"),
    }
    async with lab.kubelet():
        for name, (value, why) in wrong.items():
            made = pods(name, main, volumes=[EMPTY])
            made.metadata.annotations = {"where": value}
            await lab.create(made)
            pod = await lab.until(name, lambda pod: waiting(pod) == "CreateContainerConfigError")
            assert pod.status.containerStatuses[0].state.waiting.message == why
        assert await told(lab, "Failed") == f"Error: {wrong['absolute'][1]}"
        await lab.client.patch(Pod, "absolute", "default", {"metadata": {"annotations": {"where": "right"}}})
        pod = await lab.until("absolute", ready)
        assert sh(lab, pod, "ls /v") == "right\n"
        assert meta.is_true(pod, "ContainersReady")
