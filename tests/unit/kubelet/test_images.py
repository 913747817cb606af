"""What images are called, who may use them, fetching each once, and which go when the disk is full."""

import asyncio
import json
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kubelet.config import parse
from kubelet.images import collecting
from kubelet.images.collecting import BEFORE, CannotFree, Collector, Disk, Seen, Thresholds
from kubelet.images.credentials import Holder, Key
from kubelet.images.names import InvalidName, repository, tagged
from kubelet.images.pulling import Puller
from kubelet.images.records import Access, Records, must_verify
from kubelet.runtime.interfaces import EngineError, Image, Login
from kubelet.syncing.restarts import milliseconds
from machinery.testing import FakeClock, settle

NOW = 1_700_000_000.0
DIGEST = "sha256:" + "a" * 64
ONE = Key(Login("one", "p"), Holder("u1", "n", "s1"))
TWO = Key(Login("two", "p"), Holder("u2", "n", "s2"))


@pytest.mark.parametrize(
    ("image", "whole", "where"),
    [
        ("nginx", "nginx:latest", "docker.io/library/nginx"),
        ("nginx:1", "nginx:1", "docker.io/library/nginx"),
        (f"me/app@{DIGEST}", f"me/app@{DIGEST}", "docker.io/me/app"),
        ("r.example.com:5000/a/b", "r.example.com:5000/a/b:latest", "r.example.com:5000/a/b"),
        ("localhost/App_1".lower(), "localhost/app_1:latest", "localhost/app_1"),
        ("Registry/app", "Registry/app:latest", "Registry/app"),
    ],
)
def test_an_image_without_a_tag_is_the_latest(image: str, whole: str, where: str) -> None:
    assert (tagged(image), repository(image)) == (whole, where)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("app:", "invalid reference format"),
        ("-app", "invalid reference format"),
        ("app@sha256:12", "invalid reference format"),
        ("App:1", "invalid reference format: repository name (library/App) must be lowercase"),
        ("r.example.com/Team/app", "invalid reference format: repository name (Team/app) must be lowercase"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_a_name_that_no_image_can_have_is_refused(image: str, why: str) -> None:
    with pytest.raises(InvalidName) as refused:
        tagged(image)
    assert str(refused.value) == why


def test_what_was_opened_with_a_secret_is_for_those_who_hold_it(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert records.of("sha256:1") is None
    records.add("sha256:1", "r/app", ONE, NOW)
    known = records.of("sha256:1")
    assert known is not None
    access = known["r/app"]
    assert access.admits([TWO, ONE])
    assert access.admits([Key(Login("other", "p"), ONE.holder)])  # the secret was changed since
    assert access.admits([Key(ONE.login, TWO.holder)])  # another secret with the same login
    assert not access.admits([TWO])
    assert not access.admits([])
    assert not access.admits([Key(ONE.login)])  # the node's own opens by pulling


def test_a_pull_without_a_secret_opens_an_image_for_everybody(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.add("sha256:1", "r/app", ONE, NOW)
    records.add("sha256:1", "r/app", None, NOW)
    records.add("sha256:1", "r/app", TWO, NOW)
    assert (records.of("sha256:1") or {})["r/app"] == Access(everybody=True)
    records.forget("sha256:1")
    assert records.of("sha256:1") is None


def test_records_have_upstreams_form_and_no_login_in_them(tmp_path: Path) -> None:
    Records(tmp_path).add("sha256:1", "r/app", ONE, NOW)
    (path,) = (tmp_path / "pulled").iterdir()
    found = json.loads(path.read_text())
    assert (found["kind"], found["imageRef"]) == ("ImagePulledRecord", "sha256:1")
    (secret,) = found["credentialMapping"]["r/app"]["kubernetesSecrets"]
    assert (secret["uid"], secret["namespace"], secret["name"]) == ("u1", "n", "s1")
    assert secret["credentialHash"] == ONE.digest
    assert "one" not in path.read_text()


def test_a_record_that_cannot_be_read_admits_nobody(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.add("sha256:1", "r/app", None, NOW)
    (path,) = (tmp_path / "pulled").iterdir()
    path.write_text("{")
    assert records.of("sha256:1") == {}


@pytest.mark.parametrize(
    ("policy", "preloaded", "pulled"),
    [("NeverVerifyPreloadedImages", False, True), ("NeverVerify", False, False), ("AlwaysVerify", True, True)],
)
def test_the_policy_says_whose_access_is_verified(policy: str, preloaded: bool, pulled: bool) -> None:
    assert (must_verify(policy, False), must_verify(policy, True)) == (preloaded, pulled)


@dataclass
class Registry:
    """Implements what a Puller and a Collector need of a Runtime: pulls end when `open` says so."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    pulls: list[tuple[str, Login | None]] = field(default_factory=list)
    good: set[Login | None] = field(default_factory=lambda: {None})
    most: int = 0
    inside: int = 0
    held: list[Image] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)  # ids that the engine refuses to remove

    async def pull(self, name: str, login: Login | None = None) -> Image:
        self.pulls.append((name, login))
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.open.wait()
        finally:
            self.inside -= 1
        if login not in self.good:
            raise EngineError(f"denied: {login.user if login else 'nobody'}")
        return Image("sha256:1", (name,), 10)

    async def images(self) -> list[Image]:
        return list(self.held)

    async def used_images(self) -> set[str]:
        return set(self.used)

    async def remove_image(self, image: Image) -> None:
        if image.id in self.kept:
            raise EngineError(f"conflict: {image.id}")
        self.held.remove(image)


def puller(registry: Any, at_once: int | None = 1) -> Puller:
    return Puller(registry, FakeClock(), at_once)


async def test_an_image_that_many_ask_for_at_once_is_pulled_once() -> None:
    registry = Registry()
    node = puller(registry)
    asking = [asyncio.create_task(node.pull("app:1", [])) for _ in range(20)]
    await settle()
    registry.open.set()
    assert {pulled.image.id for pulled in await asyncio.gather(*asking)} == {"sha256:1"}
    assert registry.pulls == [("app:1", None)]
    await node.pull("app:1", [])  # a later one asks the registry again
    assert len(registry.pulls) == 2


async def test_the_success_of_one_proves_nothing_for_one_with_other_keys() -> None:
    registry = Registry(good={ONE.login})
    registry.open.set()
    node = puller(registry)
    good, bad = await asyncio.gather(node.pull("app:1", [ONE]), node.pull("app:1", [TWO]), return_exceptions=True)
    assert not isinstance(good, BaseException)
    assert good.key == ONE
    assert str(bad) == "denied: two"


async def test_keys_are_tried_in_turn_and_all_refusals_are_told() -> None:
    registry = Registry(good={TWO.login})
    registry.open.set()
    assert (await puller(registry).pull("app:1", [ONE, TWO])).key == TWO
    registry.good = set()
    with pytest.raises(EngineError, match=r"^\[denied: one, denied: two\]$"):
        await puller(registry).pull("app:1", [ONE, TWO])


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (3, 3), (None, 8)])
async def test_so_many_are_fetched_at_the_same_time(at_once: int | None, most: int) -> None:
    registry = Registry()
    node = puller(registry, at_once)
    asking = [asyncio.create_task(node.pull(f"app:{n}", [])) for n in range(8)]
    await settle()
    registry.open.set()
    await asyncio.gather(*asking)
    assert (registry.most, len(registry.pulls)) == (most, 8)


async def test_when_the_first_who_waits_leaves_the_next_one_goes_on() -> None:
    registry = Registry()
    node = puller(registry)
    first, second = (asyncio.create_task(node.pull("app:1", [])) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    registry.open.set()
    assert (await second).image.id == "sha256:1"
    assert len(registry.pulls) == 2


def image(number: int, size: int = 100, name: str = "") -> Image:
    return Image(f"sha256:{number}", (name or f"r.example.com/app:{number}",), size)


def test_the_disk_is_emptied_down_to_the_lower_threshold_once_the_higher_one_is_reached() -> None:
    assert collecting.excess(Disk(1000, 160), Thresholds()) == 0
    assert collecting.excess(Disk(1000, 159), Thresholds()) == 41  # whole percents, rounded up
    assert collecting.excess(Disk(1000, 0), Thresholds()) == 200


def test_the_longest_unused_go_first_and_those_in_use_and_new_ones_never() -> None:
    seen = [
        Seen(image(1), NOW - 900, NOW - 10), Seen(image(2), NOW - 900), Seen(image(3), NOW - 800),
        Seen(image(4), NOW - 900, NOW), Seen(image(5), NOW - 60),
    ]  # fmt: skip
    assert [s.image.id[-1] for s in collecting.removable(seen, NOW, Thresholds())] == ["2", "3", "1"]


def test_age_counts_only_as_far_as_it_was_watched() -> None:
    limits = Thresholds(longest_unused=600)
    seen = [Seen(image(1), NOW - 9000, NOW - 700), Seen(image(2), NOW - 9000, NOW - 500)]
    assert [s.image.id for s in collecting.old(seen, NOW, NOW - 601, limits)] == ["sha256:1"]
    assert collecting.old(seen, NOW, NOW - 599, limits) == []
    assert collecting.old(seen, NOW, 0, Thresholds()) == []


@dataclass
class Garbage:
    """A collector with a pretended disk, on which images count alone."""

    directory: Path
    thresholds: Thresholds = field(default_factory=Thresholds)
    registry: Registry = field(default_factory=Registry)
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[tuple[str, str]] = field(default_factory=list)
    capacity: int = 1000

    def __post_init__(self) -> None:
        self.records = Records(self.directory)
        self.collector = Collector(
            self.registry, self.records, self.disk, lambda _, reason, message: self.told.append((reason, message)),  # type: ignore[arg-type]
            self.clock, self.thresholds, pinned=("r.example.com/pause:1",),
        )  # fmt: skip

    def disk(self) -> Disk:
        return Disk(self.capacity, self.capacity - sum(i.size for i in self.registry.held))

    def hold(self, *images: Image, pulled: bool = True) -> None:
        self.registry.held += images
        for each in images:
            if pulled:
                self.records.add(each.id, repository(each.names[0]), None, NOW)

    def left(self) -> Sequence[str]:
        return [i.id[-1] for i in self.registry.held]


async def test_a_full_disk_costs_as_many_pulled_images_as_it_takes(tmp_path: Path) -> None:
    garbage = Garbage(tmp_path)
    garbage.hold(*(image(n) for n in range(9)))
    running = asyncio.create_task(garbage.collector.run())
    garbage.registry.used = {"sha256:0"}
    await settle()
    await garbage.clock.advance(collecting.PERIOD)
    await settle()
    running.cancel()
    assert garbage.left() == ["0", *"2345678"]
    assert garbage.told == []
    assert garbage.records.of("sha256:1") is None


async def test_images_that_no_kubelet_pulled_are_never_removed(tmp_path: Path) -> None:
    garbage = Garbage(tmp_path)
    garbage.hold(image(1, 900), pulled=False)
    renamed = Image("sha256:2", ("r.example.com/app:2", "mine:1"), 50)
    garbage.hold(renamed, image(3, 50, "r.example.com/pause:1"))
    assert await garbage.collector.free_unused() == 0
    assert garbage.left() == ["1", "2", "3"]


async def test_what_cannot_be_freed_is_an_event_and_the_second_time_a_failure(tmp_path: Path) -> None:
    garbage = Garbage(tmp_path)
    garbage.hold(image(1, 900), pulled=False)
    garbage.hold(image(2, 50))
    running = asyncio.create_task(garbage.collector.run())
    await settle()
    for _ in range(2):
        await garbage.clock.advance(collecting.PERIOD)
        await settle()
    running.cancel()
    words = (
        "Failed to garbage collect required amount of images. Attempted to free {} bytes, "
        "but only found {} bytes eligible to free."
    )
    assert garbage.told == [
        ("FreeDiskSpaceFailed", words.format(150, 50)), ("FreeDiskSpaceFailed", words.format(100, 0)),
        ("ImageGCFailed", words.format(100, 0)),
    ]  # fmt: skip


async def test_an_image_that_the_engine_keeps_does_not_keep_the_others(tmp_path: Path) -> None:
    garbage = Garbage(tmp_path)
    garbage.hold(image(1, 500), image(2, 400))
    garbage.registry.kept = {"sha256:1"}
    await garbage.clock.advance(1)
    await garbage.collector._look(BEFORE)
    with pytest.raises(EngineError, match=r"but freed 400 bytes space .*: \[conflict: sha256:1\]"):
        await garbage.collector.free_unused()
    assert garbage.left() == ["1"]


async def test_a_disk_without_a_size_is_told(tmp_path: Path) -> None:
    garbage = Garbage(tmp_path, capacity=0)
    with pytest.raises(CannotFree):
        await garbage.collector.collect()
    assert garbage.told == [("InvalidDiskCapacity", "invalid capacity 0 on image filesystem")]


async def test_images_go_when_they_have_not_been_used_for_too_long(tmp_path: Path) -> None:
    garbage = Garbage(tmp_path, Thresholds(longest_unused=400))
    garbage.hold(image(1), image(2))
    garbage.registry.used = {"sha256:2"}
    running = asyncio.create_task(garbage.collector.run())
    await settle()
    for expected in (["1", "2"], ["2"]):
        await garbage.clock.advance(collecting.PERIOD)
        await settle()
        assert garbage.left() == expected
    running.cancel()


async def test_an_old_image_that_the_engine_keeps_keeps_neither_the_others_nor_the_disk(tmp_path: Path) -> None:
    garbage = Garbage(tmp_path, Thresholds(longest_unused=400, least_age=0.0))
    garbage.hold(image(1, 100), image(2, 50))
    garbage.registry.kept = {"sha256:1"}
    await garbage.collector._look(BEFORE)
    await garbage.clock.advance(401)
    garbage.hold(image(3, 800))
    garbage.registry.used = {"sha256:3"}
    with pytest.raises(EngineError, match="wanted to free 100 bytes"):
        await garbage.collector.collect()
    assert garbage.left() == ["1", "3"]
    garbage.capacity = 10_000
    with pytest.raises(EngineError, match=r"images older than 400s, .*: \[conflict: sha256:1\]"):
        await garbage.collector.collect()


def test_what_is_known_of_logins_is_for_nobody_else_to_read(tmp_path: Path) -> None:
    records = Records(tmp_path / "images")
    records.add("sha256:1", "docker.io/me/app", ONE, NOW)
    [written] = (tmp_path / "images" / "pulled").iterdir()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700


def flags(*given: str) -> Any:
    return parse(["--kubeconfig", "/k", "--hostname-override", "n", "--node-ip", "10.0.0.1", *given]).images


def test_flags_of_images_have_upstreams_defaults() -> None:
    config = flags()
    assert (config.parallel_pulls, config.verification, config.most_in_status) == (1, "NeverVerifyPreloadedImages", 50)
    assert config.thresholds == Thresholds(85, 80, 120.0, 0.0)
    assert str(config.records) == "/var/lib/wherry/kubelet/n/image_manager"
    assert flags("--max-parallel-image-pulls", "5").parallel_pulls == 5
    assert flags("--serialize-image-pulls=false").parallel_pulls is None
    assert flags("--minimum-image-ttl-duration", "1m30s").thresholds.least_age == 90.0


@pytest.mark.parametrize(
    "wrong",
    [
        ["--serialize-image-pulls=true", "--max-parallel-image-pulls=2"],
        ["--max-parallel-image-pulls=0"],
        ["--image-gc-low-threshold=85"],
        ["--image-gc-high-threshold=101"],
        ["--minimum-image-ttl-duration=2"],
        ["--maximum-image-gc-age=1m"],
        ["--node-status-max-images=-2"],
    ],
)
def test_flags_of_images_that_make_no_sense_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flags(*wrong)
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0001, "0s"), (0.85, "850ms"), (1.2, "1.2s"), (62.5, "1m2.5s"), (3600, "1h0m0s")],
)
def test_times_are_told_to_the_millisecond(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text
