"""What is decided when a node runs short, and who goes."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.types import Pod, ResourceRequirements, Toleration
from kubelet.config import parse
from kubelet.eviction import deciding, evicting, thresholds
from kubelet.eviction.deciding import Decision, Observation, State
from kubelet.eviction.evicting import Evicting
from kubelet.eviction.observing import disk, pids
from kubelet.eviction.ranking import Usage, message, ranked
from kubelet.eviction.reclaiming import discard_ended
from kubelet.eviction.thresholds import Threshold, Value
from kubelet.pods.caches import Cache
from kubelet.pods.workers import Ending
from kubelet.runtime.interfaces import CLUSTER, NODE, POD_UID, EngineError, Spec
from kubelet.runtime.simulated import Simulated
from machinery.testing import FakeClock, settle
from tests.unit.kubelet.builders import container, pod

GIB, MIB = 2**30, 2**20
HARD = thresholds.parse("memory.available<100Mi,nodefs.available<10%")
SOFT = thresholds.parse("", "memory.available<200Mi", "memory.available=30s", "memory.available=50Mi")


def seen(memory: int = GIB, nodefs: int = 100 * GIB) -> dict[str, Observation]:
    return {"memory.available": Observation(memory, 2 * GIB), "nodefs.available": Observation(nodefs, 200 * GIB)}


def look(
    known: Iterable[Threshold], observed: Mapping[str, Observation], state: State | None = None, now: float = 0
) -> Decision:
    return deciding.decide(tuple(known), observed, state or State(), now, 300.0)


def test_nothing_is_done_while_there_is_enough() -> None:
    decision = look((*HARD, *SOFT), seen())
    assert (decision.conditions, decision.reclaim) == (frozenset(), ())


def test_a_hard_threshold_is_acted_on_at_once_and_memory_first() -> None:
    decision = look(HARD, seen(99 * MIB, 19 * GIB))
    assert decision.conditions == {"MemoryPressure", "DiskPressure"}
    assert [t.signal for t in decision.reclaim] == ["memory.available", "nodefs.available"]
    assert look(HARD, seen(100 * MIB, 21 * GIB)).reclaim == look(HARD, {}).reclaim == ()


def test_a_soft_threshold_must_be_met_for_its_grace_period() -> None:
    first = look(SOFT, seen(199 * MIB), now=0)
    assert (first.conditions, first.reclaim) == ({"MemoryPressure"}, ())
    assert look(SOFT, seen(199 * MIB), first.state, 29).reclaim == ()
    assert look(SOFT, seen(199 * MIB), first.state, 30).reclaim == SOFT
    between = look(SOFT, seen(200 * MIB), first.state, 15)
    assert look(SOFT, seen(199 * MIB), between.state, 30).reclaim == ()


def test_a_threshold_that_was_met_is_so_until_enough_is_reclaimed() -> None:
    acted = look(SOFT, seen(150 * MIB), look(SOFT, seen(150 * MIB)).state, 30)
    assert look(SOFT, seen(249 * MIB), acted.state, 31).reclaim == SOFT
    assert look(SOFT, seen(250 * MIB), acted.state, 31).reclaim == ()


def test_a_condition_lasts_for_the_transition_period() -> None:
    pressed = look(HARD, seen(1))
    assert look(HARD, seen(), pressed.state, 299).conditions == {"MemoryPressure"}
    assert look(HARD, seen(), pressed.state, 300).conditions == frozenset()


@given(st.lists(st.tuples(st.integers(0, 400 * MIB), st.floats(1, 60)), min_size=1, max_size=30))
def test_whatever_happens_a_pod_goes_only_for_what_is_short(looks: list[tuple[int, float]]) -> None:
    state, now = State(), 0.0
    for available, passed in looks:
        now += passed
        decision = look((*HARD, *SOFT), seen(available), state, now)
        assert ("MemoryPressure" in decision.conditions) >= bool(decision.reclaim)
        if available < 100 * MIB:
            assert HARD[0] in decision.reclaim
        if available >= 250 * MIB:
            assert not decision.reclaim
        assert all(now - decision.state.since[t] >= t.grace for t in decision.reclaim)
        state = decision.state


def named(name: str, memory: str = "", priority: int = 0, **spec: Any) -> Pod:
    resources = ResourceRequirements(requests={"memory": memory} if memory else {})
    return pod(container(resources=resources), metadata={"name": name, "uid": name}, priority=priority, **spec)


def names(pods: Iterable[Pod]) -> list[str]:
    return [p.metadata.name for p in pods]


def test_who_uses_more_than_it_asked_for_goes_first_then_the_less_important_then_the_larger() -> None:
    pods = [
        named("within", "1Gi"), named("important", priority=5), named("small"), named("large"), named("asked", "100Mi"),
    ]  # fmt: skip
    usages = {
        "within": Usage(GIB), "important": Usage(900 * MIB), "small": Usage(1 * MIB), "large": Usage(300 * MIB),
        "asked": Usage(450 * MIB),
    }  # fmt: skip
    assert names(ranked(pods, "memory", usages)) == ["asked", "large", "small", "important", "within"]
    assert names(ranked([*pods, named("unknown", priority=9)], "memory", usages))[0] == "unknown"


def test_processes_are_requested_by_nobody() -> None:
    pods = [named("important", priority=5), named("few"), named("many")]
    usages = {"important": Usage(90), "few": Usage(2), "many": Usage(80)}
    assert names(ranked(pods, "pids", usages)) == ["many", "few", "important"]


def test_a_pod_is_told_why_in_upstreams_words() -> None:
    of = pod(container(resources=ResourceRequirements(requests={"memory": "10Mi"})), container("b"), container("c"))
    usage = Usage(300, {"main": 20 * MIB, "b": 4096, "c": 0})
    said = message(of, "memory", usage, HARD, seen(50 * MIB))
    assert said == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container main was using 20Mi, request is 10Mi, has larger consumption of memory. "
        "Container b was using 4Ki, request is 0, has larger consumption of memory. "
    )
    assert message(of, "pids", None, HARD, seen()) == "The node was low on resource: pids. "
    whole = pod(container(), resources=ResourceRequirements(requests={"memory": "1Mi"}))
    words = "Pod web was using 2Mi, request is 1Mi, has larger consumption of memory. "
    assert words in message(whole, "memory", Usage(2 * MIB), HARD, seen(1))


@dataclass
class Watched:
    """Implements `evicting.Node` and stands in for the observer; `observed` is what there is now."""

    on_it: list[Pod]
    observed: dict[str, Observation]
    told: list[tuple[str, str]] = field(default_factory=list)
    ended: list[tuple[str, Ending]] = field(default_factory=list)
    reclaimed: int = 0
    turns: int = 0
    counted: list[str] = field(default_factory=list)
    ends: bool = True

    def observe(self) -> dict[str, Observation]:
        return self.observed

    async def usages(self, pods: Iterable[Pod], resource: str) -> dict[str, Usage]:
        return {p.metadata.uid: Usage(len(p.metadata.name)) for p in pods}

    def pods(self) -> list[Pod]:
        return self.on_it

    async def end(self, pod: Pod, ending: Ending) -> None:
        self.ended.append((pod.metadata.name, ending))
        if not self.ends:
            await asyncio.Event().wait()

    def tell(self, kind: str, reason: str, message: str) -> None:
        self.told.append((reason, message))

    def count(self, signal: str) -> None:
        self.counted.append(signal)

    def pressed(self) -> None:
        self.turns += 1

    async def reclaim(self) -> None:
        self.reclaimed += 1


def watch(watched: Watched, *flags: str) -> Evicting:
    resources = parse(["--kubeconfig", "k", "--node-ip", "10.0.0.1", *flags]).resources
    return Evicting(watched, watched, resources, FakeClock(), [watched.reclaim])  # type: ignore[arg-type]


async def test_one_pod_goes_at_a_time_and_never_a_critical_one() -> None:
    critical = named("critical-and-large", priority=2_000_000_000)
    watched = Watched([critical, named("a"), named("bb")], seen(1))
    evicting_ = watch(watched)
    assert await evicting_.look()
    ((name, ending),) = watched.ended
    assert (name, ending.reason, ending.grace) == ("bb", "Evicted", evicting.LEAST_GRACE)
    (condition,) = ending.conditions
    assert (condition.type, condition.reason) == ("DisruptionTarget", "TerminationByKubelet")
    assert ending.message.startswith("The node was low on resource: memory. Threshold quantity: 100Mi, available: 1. ")
    assert watched.told == [("EvictionThresholdMet", "Attempting to reclaim memory")]
    assert (evicting_.pressures, watched.turns) == ({"MemoryPressure"}, 1)
    assert watched.counted == ["memory.available"]
    watched.on_it = [critical]
    assert not await evicting_.look()
    assert len(watched.ended) == 1


async def test_disk_is_freed_before_a_pod_must_go_for_it() -> None:
    watched = Watched([named("a")], seen(nodefs=1))

    async def reclaim() -> None:
        watched.observed = seen()

    evicting_ = watch(watched)
    evicting_._reclaim = [watched.reclaim, reclaim]
    assert not await evicting_.look()
    assert (watched.reclaimed, watched.ended) == (1, [])
    watched.observed, evicting_._reclaim = seen(nodefs=1), [watched.reclaim]
    assert await evicting_.look()
    assert (watched.reclaimed, [name for name, _ in watched.ended]) == (2, ["a"])


async def test_an_engine_that_refuses_keeps_nobody_from_freeing_disk() -> None:
    async def refuse() -> None:
        raise EngineError("image has dependent child images")

    watched = Watched([named("a")], seen(nodefs=1))
    evicting_ = watch(watched)
    evicting_._reclaim = [refuse, watched.reclaim]
    assert await evicting_.look()
    assert (watched.reclaimed, [name for name, _ in watched.ended]) == (1, ["a"])


async def test_an_engine_that_does_not_answer_is_asked_again_later() -> None:
    watched = Watched([named("a")], seen(nodefs=1))
    looks: list[str] = []

    async def gone(pods: Iterable[Pod], resource: str) -> dict[str, Usage]:
        looks.append(resource)
        raise EngineError("connection refused")

    watched.usages = gone  # type: ignore[method-assign]
    evicting_ = watch(watched)
    running = asyncio.create_task(evicting_.run())
    async with asyncio.timeout(5):
        while not looks:
            await asyncio.to_thread(lambda: None)
    await settle()
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_only_what_has_ended_for_good_is_discarded() -> None:
    engine = Simulated("c", "node1", clock=FakeClock())
    cache = Cache(engine)
    over, on = named("over"), named("on")
    over.status.phase = "Succeeded"
    for of in (over, on):
        labels = {CLUSTER: "c", NODE: "node1", POD_UID: of.metadata.uid}
        made = await engine.create(Spec(name=of.metadata.name, image="i", labels=labels, entrypoint=("true",)))
        await engine.start(made)
    await settle()
    await cache.relist()
    await discard_ended([over, on], cache, engine)
    assert [r.uid for r in await engine.containers()] == cache.uids() == ["on"]


async def test_a_container_that_stays_keeps_no_other_from_being_discarded() -> None:
    class Keeping(Simulated):
        async def remove(self, container: str) -> None:
            if container == kept:
                raise EngineError("driver failed to remove root filesystem")
            await super().remove(container)

    engine = Keeping("c", "node1", clock=FakeClock())
    cache = Cache(engine)
    pods = [named("a"), named("b")]
    made = []
    for of in pods:
        of.status.phase = "Failed"
        labels = {CLUSTER: "c", NODE: "node1", POD_UID: of.metadata.uid}
        made.append(await engine.create(Spec(name=of.metadata.name, image="i", labels=labels, entrypoint=("true",))))
        await engine.start(made[-1])
    kept = made[0]
    await settle()
    await cache.relist()
    with pytest.raises(EngineError, match="driver failed"):
        await discard_ended(pods, cache, engine)
    assert [r.uid for r in await engine.containers()] == cache.uids() == ["a"]


async def test_a_soft_eviction_leaves_the_grace_that_is_given() -> None:
    flags = (
        "--eviction-hard", "", "--eviction-soft", "memory.available<1Gi", "--eviction-soft-grace-period",
        "memory.available=1s", "--eviction-max-pod-grace-period", "20",
    )  # fmt: skip
    watched = Watched([named("a")], seen(1))
    evicting_ = watch(watched, *flags)
    assert not await evicting_.look()
    await evicting_._clock.advance(1)  # type: ignore[attr-defined]
    assert await evicting_.look()
    assert watched.ended[0][1].grace == 20.0


async def test_a_clock_that_is_set_shortens_no_grace_period() -> None:
    flags = (
        "--eviction-hard", "", "--eviction-soft", "memory.available<1Gi", "--eviction-soft-grace-period",
        "memory.available=90s",
    )  # fmt: skip
    watched = Watched([named("a")], seen(1))
    evicting_ = watch(watched, *flags)
    assert not await evicting_.look()
    evicting_._clock.jump(400)  # type: ignore[attr-defined]
    assert not await evicting_.look()
    assert watched.ended == []


async def test_a_pod_that_does_not_end_holds_nobody_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evicting, "CLEAN_UP", 0.0)
    watched = Watched([named("a")], seen(1), ends=False)
    assert await watch(watched).look()


@pytest.mark.parametrize(
    ("pressures", "of", "refused"),
    [
        ([], pod(), False),
        (["MemoryPressure"], pod(), True),
        (["MemoryPressure"], named("x", "1Mi"), False),
        (["DiskPressure"], named("x", "1Mi"), True),
        (["MemoryPressure", "PIDPressure"], named("x", "1Mi"), True),
        (["DiskPressure"], named("x", priority=2_000_000_000), False),
        (
            ["MemoryPressure"],
            pod(tolerations=[Toleration(key="node.kubernetes.io/memory-pressure", operator="Exists")]),
            False,
        ),
    ],
)
def test_new_pods_are_refused_under_pressure(pressures: list[str], of: Pod, refused: bool) -> None:
    evicting_ = watch(Watched([], {}))
    evicting_.pressures = frozenset(pressures)
    found = evicting_.refusal(of)
    assert (found is not None) is refused
    if found:
        assert found == ("Evicted", f"The node had condition: [{' '.join(sorted(pressures))}]. ")


def test_this_machine_is_observed(tmp_path: Any) -> None:
    found = disk(tmp_path, "nodefs.available", "nodefs.inodesFree")
    assert 0 < found["nodefs.available"].available <= found["nodefs.available"].capacity
    assert disk(tmp_path / "missing", "a", "b") == {}
    for name, text in (("sys/kernel/pid_max", "100"), ("sys/kernel/threads-max", "90"), ("loadavg", "0 0 0 2/30 9")):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert pids(tmp_path) == Observation(60, 90)


def test_a_share_is_of_what_there_is() -> None:
    assert Value(share=0.5).of(100) == 50
    assert Value("1Ki").spelled(1) == "1Ki"
    assert Value(share=0.5).spelled(2 * GIB) == "1Gi"
