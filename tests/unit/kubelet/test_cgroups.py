"""The control groups of a node, in trees of plain files."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from api.types import Container, Pod, ResourceRequirements
from kubelet.cgroups import limits, names
from kubelet.cgroups.keeping import Kept, Wanted
from kubelet.cgroups.limits import Limits
from kubelet.cgroups.trees import Reading, Split, Unified, tree
from tests.unit.kubelet.builders import container, pod

ROOT = ("wherry", "node1")


def needing(requests: dict[str, str], bounds: dict[str, str] | None = None, name: str = "main") -> Container:
    return container(name, resources=ResourceRequirements(requests=requests, limits=bounds or {}))


BOTH = {"cpu": "500m", "memory": "64Mi"}
GUARANTEED, BURSTABLE, FREE = pod(needing(BOTH, BOTH)), pod(needing({"cpu": "1"})), pod()


def test_a_pods_group_stands_with_its_class() -> None:
    assert names.of_pod(ROOT, GUARANTEED) == (*ROOT, "kubepods", "podu1")
    assert names.of_pod(ROOT, BURSTABLE) == (*ROOT, "kubepods", "burstable", "podu1")
    assert names.of_pod((), FREE) == ("kubepods", "besteffort", "podu1")


def test_both_drivers_have_their_own_way_to_name_a_group() -> None:
    name = ("my-lab", "node1", "kubepods", "pod1-2")
    assert names.parent(name, "cgroupfs") == "/my-lab/node1/kubepods/pod1-2"
    assert str(names.directory(name, "cgroupfs")) == "my-lab/node1/kubepods/pod1-2"
    last = "my_lab-node1-kubepods-pod1_2.slice"
    assert names.parent(name, "systemd") == last
    assert str(names.directory(name, "systemd")) == (
        f"my_lab.slice/my_lab-node1.slice/my_lab-node1-kubepods.slice/{last}"
    )
    assert names.uid(last) == names.uid("pod1-2") == "1-2"
    assert names.uid("burstable") == names.uid("my_lab-node1-kubepods-burstable.slice") == ""


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (GUARANTEED, Limits(512, 50_000, 64 * 2**20)),
        (BURSTABLE, Limits(1024)),
        (FREE, Limits(2)),
        # A limit of the whole needs one of every container.
        (pod(needing(BOTH, BOTH), container("free")), Limits(512)),
        (pod(needing({}, {"memory": "1Mi"}), needing({}, {"memory": "2Mi"}, "b")), Limits(2, None, 3 * 2**20)),
        (pod(container(), resources=ResourceRequirements(limits=BOTH, requests=BOTH)), Limits(512, 50_000, 64 * 2**20)),
        (pod(needing(BOTH, BOTH), overhead={"cpu": "100m", "memory": "1Mi"}), Limits(614, 60_000, 65 * 2**20)),
    ],
)
def test_a_pod_is_limited_as_a_whole(of: Pod, expected: Limits) -> None:
    assert limits.of_pod(of) == expected


def test_no_pod_may_have_more_than_its_node() -> None:
    big = pod(needing({"cpu": "8"}, {"cpu": "8", "memory": "1Gi"}))
    assert limits.of_pod(big, 100, 20_000) == Limits(8192, 20_000, 2**30, 100)


def test_a_node_is_limited_in_what_it_has_less_of_than_its_machine() -> None:
    assert limits.of_node({"cpu": "1500m", "memory": "1Gi"}, 2, 2**31) == Limits(None, 150_000, 2**30)
    assert limits.of_node({"cpu": "2", "memory": "4Gi"}, 2, 2**31) == Limits()
    assert limits.within(Limits(1024, None, 2**31), Limits(None, 1, 2)) == Limits(1024, 1, 2)


def test_the_burstable_share_is_what_its_pods_request() -> None:
    assert [limits.share(p) for p in (GUARANTEED, BURSTABLE, FREE)] == [0, 1000, 0]
    assert limits.of_burstable([1000, 0, 1000]) == Limits(2048)
    assert limits.of_burstable([]) == Limits(2)


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 100), (2048, 174), (262_144, 10_000), (10**9, 10_000)])
def test_shares_are_weights_in_version_2(shares: int, weight: int) -> None:
    assert limits.weight(shares) == weight


@pytest.fixture
def split(tmp_path: Path) -> Path:
    for controller in ("memory", "cpu", "cpuacct", "pids", "devices"):
        (tmp_path / controller).mkdir()
    return tmp_path


class Kernel(Split):
    """Makes the files that the kernel would."""

    def make(self, name: names.Name) -> None:
        super().make(name)
        for controller, files in {
            "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"),
            "cpu": ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"),
            "pids": ("pids.max", "pids.current"),
        }.items():
            for file in files:
                (self._directory(controller, name) / file).touch()


def said(place: Path) -> dict[str, str]:
    return {f.name: text for f in place.iterdir() if f.is_file() and (text := f.read_text())}


def test_version_1_writes_each_limit_in_its_controllers_hierarchy(split: Path) -> None:
    kernel = Kernel(split, "cgroupfs")
    kernel.make(("a", "b"))
    kernel.write(("a", "b"), Limits(512, 50_000, 2**20, 7))
    assert said(split / "memory/a/b") == {"memory.limit_in_bytes": str(2**20)}
    assert said(split / "cpu/a/b") == {"cpu.shares": "512", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    assert said(split / "pids/a/b") == {"pids.max": "7"}
    assert (split / "cpuacct/a/b").is_dir()
    assert not (split / "devices/a").exists()


def test_version_1_reads_what_could_not_be_given_back(split: Path) -> None:
    kernel = Kernel(split, "cgroupfs")
    kernel.make(("a",))
    (split / "memory/a/memory.usage_in_bytes").write_text("1000\n")
    (split / "memory/a/memory.stat").write_text("inactive_file 1\ntotal_inactive_file 300\n")
    (split / "pids/a/pids.current").write_text("4\n")
    assert kernel.read(("a",)) == Reading(700, 4)


def test_version_1_removes_what_the_engine_has_made_too(split: Path) -> None:
    for controller in ("memory", "devices"):
        (split / controller / "a/b/c").mkdir(parents=True)
    Split(split, "cgroupfs").remove(("a", "b"))
    assert not (split / "memory/a/b").exists()
    assert not (split / "devices/a/b").exists()
    assert (split / "devices/a").exists()


def test_version_1_without_a_memory_controller_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no memory controller"):
        tree(tmp_path, "cgroupfs").make(("a",))


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """As the kernel would make `a.slice/a-b.slice`: what a group has is what the one above it hands down."""
    for place in (tmp_path, tmp_path / "a.slice", tmp_path / "a.slice/a-b.slice"):
        place.mkdir(exist_ok=True)
        (place / "cgroup.controllers").write_text("cpu io memory pids\n")
        (place / "cgroup.subtree_control").write_text("cpu\n")
        for file in (
            "cpu.weight",
            "cpu.max",
            "memory.max",
            "memory.current",
            "memory.stat",
            "pids.max",
            "pids.current",
        ):
            (place / file).touch()
    return tmp_path


def test_version_2_hands_every_controller_down_and_writes_limits(unified: Path) -> None:
    found = tree(unified, "systemd")
    assert isinstance(found, Unified)
    found.make(("a", "b"))
    for place in (unified, unified / "a.slice", unified / "a.slice/a-b.slice"):
        assert (place / "cgroup.subtree_control").read_text().startswith("+io +memory +pids")
    found.write(("a", "b"), Limits(1024, None, 2**20))
    group = said(unified / "a.slice/a-b.slice")
    assert group["cpu.weight"] == "100"
    assert group["cpu.max"] == "max 100000"
    assert group["memory.max"] == str(2**20)
    assert group["pids.max"] == "max"


def test_version_2_reads_and_removes(unified: Path) -> None:
    found = tree(unified, "systemd")
    place = unified / "a.slice/a-b.slice"
    (place / "memory.current").write_text("1000\n")
    (place / "memory.stat").write_text("anon 5\ninactive_file 300\n")
    (place / "pids.current").write_text("4\n")
    assert found.read(("a", "b")) == Reading(700, 4)
    (unified / "x.slice/x-y.slice").mkdir(parents=True)
    found.remove(("x",))
    assert not (unified / "x.slice").exists()


class Counted(Kernel):
    """Says in which groups limits were written, as the kernel would have had to look at them."""

    def __init__(self, mount: Path, driver: str) -> None:
        super().__init__(mount, driver)
        self.written: list[str] = []

    def write(self, name: names.Name, limits: Limits) -> None:
        super().write(name, limits)
        self.written.append(name[-1])

    def take(self) -> list[str]:
        found, self.written = self.written, []
        return found


NODE = Wanted(root=ROOT, driver="cgroupfs", node=Limits(None, 100_000, 2**30), all_pods=Limits(2048, None, 2**31))


def test_a_node_makes_its_groups_balances_them_and_takes_them_back(split: Path) -> None:
    kept = Kept(Kernel(split, "cgroupfs"), NODE)
    kept.prepare()
    assert said(split / "memory/wherry/node1/kubepods") == {"memory.limit_in_bytes": str(2**30)}
    assert said(split / "cpu/wherry/node1/kubepods/burstable")["cpu.shares"] == "2"
    assert kept.ensure(BURSTABLE) == "/wherry/node1/kubepods/burstable/podu1"
    assert said(split / "cpu/wherry/node1/kubepods/burstable")["cpu.shares"] == "1024"
    assert kept.quota == 100_000
    kept.sweep(["u1"])
    assert (split / "cpu/wherry/node1/kubepods/burstable/podu1").is_dir()
    for file in split.glob("*/wherry/node1/kubepods/burstable/podu1/*"):
        file.unlink()  # the kernel's go with their directory
    kept.release("u1")
    assert not list(split.glob("*/wherry/node1/kubepods/burstable/pod*"))
    assert said(split / "cpu/wherry/node1/kubepods/burstable")["cpu.shares"] == "2"
    (split / "memory/wherry/node1/kubepods/podu9").mkdir()
    kept.sweep(["u1"])
    assert not (split / "memory/wherry/node1/kubepods/podu9").exists()


def test_only_groups_that_are_to_have_something_else_are_written(split: Path) -> None:
    tree = Counted(split, "cgroupfs")
    kept = Kept(tree, NODE)
    kept.prepare()
    assert tree.take() == ["node1", "kubepods", "burstable", "besteffort"]
    kept.ensure(BURSTABLE)
    assert tree.take() == ["burstable", "podu1"]
    kept.started(BURSTABLE)
    kept.ensure(BURSTABLE)
    assert tree.take() == []
    kept.ensure(pod(needing({}, {}), metadata={"uid": "u2"}))  # requests nothing, so the classes stay as they are
    assert tree.take() == ["podu2"]
    kept.widen(BURSTABLE)
    kept.ensure(pod(needing({"cpu": "2"})))
    assert tree.take() == ["podu1", "burstable", "podu1"]
    assert said(split / "cpu/wherry/node1/kubepods/burstable")["cpu.shares"] == "2048"


def test_a_group_that_somebody_has_removed_is_made_and_limited_again(split: Path) -> None:
    tree = Counted(split, "cgroupfs")
    kept = Kept(tree, NODE)
    kept.ensure(BURSTABLE)
    tree.take()
    shutil.rmtree(split / "memory/wherry/node1/kubepods/burstable")
    kept.ensure(BURSTABLE)
    assert tree.take() == ["burstable", "podu1"]


class Full(Counted):
    full = True

    def write(self, name: names.Name, limits: Limits) -> None:
        if self.full and name[-1] == "podu1":
            raise OSError("no")
        super().write(name, limits)


def test_what_the_kernel_refused_is_written_again(split: Path) -> None:
    tree = Full(split, "cgroupfs")
    kept = Kept(tree, NODE)
    with pytest.raises(OSError, match="no"):
        kept.ensure(BURSTABLE)
    tree.full = False
    tree.take()
    kept.ensure(BURSTABLE)
    assert tree.take() == ["podu1"]


def test_systemd_may_have_changed_the_groups_of_a_pod_that_starts(split: Path) -> None:
    tree = Counted(split, "systemd")
    kept = Kept(tree, replace(NODE, driver="systemd"))
    kept.ensure(BURSTABLE)
    tree.take()
    kept.started(BURSTABLE)
    assert tree.take() == ["node1", "kubepods", "burstable", "besteffort", "podu1"]


def test_without_groups_for_classes_all_stand_in_the_nodes(split: Path) -> None:
    wanted = Wanted(root=ROOT, driver="cgroupfs", node=Limits(), all_pods=Limits(), per_qos=False)
    kept = Kept(Kernel(split, "cgroupfs"), wanted)
    assert kept.ensure(BURSTABLE) == "/wherry/node1"
    assert not (split / "memory/wherry/node1/kubepods").exists()
