"""What pods may fill."""

import os
from pathlib import Path

import pytest

from api.types import EmptyDirVolumeSource, Pod, ResourceRequirements, Volume
from kubelet.pods import storage
from kubelet.runtime.interfaces import Record
from kubelet.runtime.simulated import Simulated
from kubelet.volumes.layouts import Layout
from tests.unit.kubelet.builders import container, pod, running


def scratch(limit: str = "") -> Volume:
    return Volume(name="scratch", emptyDir=EmptyDirVolumeSource(sizeLimit=limit or None))


class Engine(Simulated):
    async def written(self, container: str) -> int:
        return self.sizes.get(container, 0)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path, "u1")
    layout.volume(scratch()).mkdir(parents=True)
    return layout


async def fault(of: Pod, layout: Layout, *records: Record, **sizes: int) -> str:
    engine = Engine("c", "node1")
    engine.sizes = sizes
    found = await storage.excess(of, layout, engine, records)
    return f"{found.signal}: {found.message}" if found is not None else ""


async def test_an_empty_dir_that_is_over_its_limit_is_told_in_upstreams_words(layout: Layout) -> None:
    of = pod(volumes=[scratch("64Ki")])
    assert storage.is_limited(of)
    assert await fault(of, layout) == ""
    (layout.volume(scratch()) / "file").write_bytes(bytes(100_000))
    assert await fault(of, layout) == 'emptydirfs.limit: Usage of EmptyDir volume "scratch" exceeds the limit "64Ki". '


async def test_a_container_may_not_write_more_than_its_limit(layout: Layout) -> None:
    limited = container(resources=ResourceRequirements(limits={"ephemeral-storage": "1Ki"}))
    of = pod(limited, container("free"))
    assert await fault(of, layout, running(), running("free"), main0=1000, free0=24) == ""
    over = await fault(of, layout, running(), running("free"), main0=1, free0=1024)
    assert over == "ephemeralpodfs.limit: Pod ephemeral local storage usage exceeds the total limit of containers 1Ki. "
    both = pod(limited, container("b", resources=limited.resources))
    over = await fault(both, layout, running(), main0=1025)
    assert over == 'containerfs.limit: Container main exceeded its local ephemeral storage limit "1Ki". '


async def test_volumes_count_for_the_whole_pod(layout: Layout) -> None:
    limits = ResourceRequirements(limits={"ephemeral-storage": "64Ki"})
    of = pod(container(resources=limits), volumes=[scratch()])
    (layout.volume(scratch()) / "file").write_bytes(bytes(100_000))
    why = await fault(of, layout, running())
    assert why == "ephemeralpodfs.limit: Pod ephemeral local storage usage exceeds the total limit of containers 64Ki. "


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10_000))
    once = storage.usage(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    assert storage.usage(tmp_path) == once >= 10_000


def test_pods_without_limits_are_not_measured() -> None:
    assert not storage.is_limited(pod(volumes=[scratch()]))
