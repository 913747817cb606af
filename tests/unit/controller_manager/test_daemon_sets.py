"""Daemon sets at work."""

from typing import Any

import pytest

from api import meta
from api.types import (
    ControllerRevision,
    DaemonSet,
    Node,
    NodeSelectorRequirement,
    Pod,
    Taint,
)
from controller_manager import placements
from machinery.testing import FakeClock
from tests.unit.controller_manager.making import daemon_set, make_ready, node, run_pods, template
from tests.unit.controller_manager.worlds import World, controllers, rest

NAME = "daemonset-controller"
KEY = meta.Key("default", "agent")


@pytest.fixture(autouse=True)
async def three_nodes(world: World) -> None:
    for n in range(1, 4):
        await world.create(node(f"node{n}", disk="fast" if n < 3 else "slow"))


def places(world: World) -> list[str]:
    return sorted(placements.target(p) for p in world.all(Pod))


def images(world: World) -> list[str]:
    return sorted(p.spec.containers[0].image for p in world.all(Pod))


def status(world: World) -> Any:
    return world.one(DaemonSet, "agent").status


async def taint(world: World, name: str, effect: str, key: str = "mine") -> None:
    it = world.one(Node, name)
    it.spec.taints = [Taint(key=key, effect=effect)]
    await world.update(it)
    await rest()


async def change(world: World, **spec: Any) -> None:
    of = world.one(DaemonSet, "agent")
    for name, value in spec.items():
        setattr(of.spec, name, value)
    await world.update(of)
    await rest()


async def test_each_node_gets_one_pod_also_a_new_node(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(daemon_set())
        await rest()
        assert places(world) == ["node1", "node2", "node3"]
        await world.create(node("node4"))
        await run_pods(world)
        assert places(world) == ["node1", "node2", "node3", "node4"]
        now = status(world)
        assert (now.desiredNumberScheduled, now.currentNumberScheduled, now.numberReady, now.numberAvailable) == (
            4,
            4,
            4,
            4,
        )
        assert (now.updatedNumberScheduled, now.numberUnavailable, now.observedGeneration) == (4, 0, 1)


async def test_a_pod_is_the_schedulers_to_bind_and_tolerates_trouble(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(daemon_set())
        await rest()
        made = world.all(Pod)[0]
        [revision] = world.all(ControllerRevision)
        assert made.spec.nodeName == ""
        [term] = made.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
        assert term.matchFields[0] == NodeSelectorRequirement(key="metadata.name", operator="In", values=["node1"])
        assert {(t.key.rpartition("/")[2], t.effect) for t in made.spec.tolerations} == {
            ("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"),
            ("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule"),
        }  # fmt: skip
        assert revision.metadata.name == f"agent-{made.metadata.labels['controller-revision-hash']}"


async def test_only_nodes_that_the_template_selects_count(world: World) -> None:
    chosen = template()
    chosen.spec.nodeSelector = {"disk": "fast"}
    async with controllers(world, NAME):
        await world.create(daemon_set(template=chosen))
        await rest()
        assert places(world) == ["node1", "node2"]
        moved = world.one(Node, "node1")
        moved.metadata.labels = {"disk": "slow"}
        await world.update(moved)
        await rest()
        assert places(world) == ["node2"]


async def test_taints_keep_pods_away_and_only_no_execute_drives_them_out(world: World) -> None:
    async with controllers(world, NAME):
        await taint(world, "node3", "NoSchedule")
        await world.create(daemon_set())
        await rest()
        assert places(world) == ["node1", "node2"]
        await taint(world, "node2", "NoSchedule")
        assert places(world) == ["node1", "node2"]
        assert status(world).numberMisscheduled == 1
        await taint(world, "node2", "NoExecute")
        assert places(world) == ["node1"]
        await taint(world, "node3", "NoExecute", "node.kubernetes.io/unreachable")
        assert places(world) == ["node1", "node3"]


async def test_a_deleted_pod_is_replaced_only_when_it_is_gone(world: World) -> None:
    world.graceful = True
    async with controllers(world, NAME):
        await world.create(daemon_set())
        await rest()
        gone = world.all(Pod)[0].metadata.name
        await world.delete(Pod, gone, "default")
        await rest()
        assert places(world) == ["node1", "node2", "node3"]
        await world.finish(Pod, gone)
        await rest()
        assert places(world) == ["node1", "node2", "node3"]


async def test_a_failed_pod_is_replaced_and_later_each_time(world: World, clock: FakeClock) -> None:
    async def fail() -> str:
        failed = next(p for p in world.all(Pod) if placements.target(p) == "node1")
        failed.status.phase = "Failed"
        await world.update_status(failed)
        await rest()
        return failed.metadata.name

    def names() -> set[str]:
        return {p.metadata.name for p in world.all(Pod)}

    async with controllers(world, NAME) as term:
        await world.create(daemon_set())
        await rest()
        first = await fail()
        assert first not in names()
        said = f"Found failed daemon pod default/{first} on node node1, will try to kill it"
        assert world.events("FailedDaemonPod") == [said]
        second = await fail()
        assert second in names()
        await clock.advance(1)
        await term.controllers[0].reconcile_now(KEY)
        await rest()
        assert second not in names()
        assert places(world) == ["node1", "node2", "node3"]


async def test_an_update_keeps_to_max_unavailable(world: World) -> None:
    world.graceful = True
    async with controllers(world, NAME):
        await world.create(daemon_set())
        await run_pods(world)
        await change(world, template=template("image:2"))
        assert sum(bool(p.metadata.deletionTimestamp) for p in world.all(Pod)) == 1
        await run_pods(world, 20)
        assert images(world) == ["image:2"] * 3
        assert status(world).updatedNumberScheduled == 3


async def test_a_surging_update_deletes_the_old_when_the_new_is_ready(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(daemon_set(surge=1, unavailable=0))
        await run_pods(world)
        await change(world, template=template("image:2"))
        assert images(world) == ["image:1"] * 3 + ["image:2"]
        await make_ready(world, next(p for p in world.all(Pod) if p.spec.containers[0].image == "image:2"))
        await rest()
        assert images(world) == ["image:1"] * 2 + ["image:2"] * 2
        await run_pods(world)
        assert images(world) == ["image:2"] * 3
        assert places(world) == ["node1", "node2", "node3"]


async def test_a_broken_update_is_taken_back(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(daemon_set())
        await run_pods(world)
        await change(world, template=template("broken"))
        assert images(world) == ["broken", "image:1", "image:1"]
        await change(world, template=template("image:1"))
        await run_pods(world)
        assert images(world) == ["image:1"] * 3
        assert sorted(r.revision for r in world.all(ControllerRevision)) == [2, 3]


async def test_on_delete_updates_only_what_others_delete(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(daemon_set(strategy="OnDelete"))
        await run_pods(world)
        await change(world, template=template("image:2"))
        assert images(world) == ["image:1"] * 3
        await world.delete(Pod, world.all(Pod)[0].metadata.name, "default")
        await rest()
        assert images(world) == ["image:1", "image:1", "image:2"]


async def test_old_revisions_go(world: World) -> None:
    async with controllers(world, NAME):
        await world.create(daemon_set(revisionHistoryLimit=1))
        for tag in range(2, 5):
            await change(world, template=template(f"image:{tag}"))
            await run_pods(world)
        assert sorted(r.revision for r in world.all(ControllerRevision)) == [3, 4]


async def test_late_informers_never_cause_a_pod_too_many(world: World) -> None:
    async with controllers(world, NAME) as term:
        await world.create(daemon_set())
        await rest(1)
        world.deaf = True
        for _ in range(3):
            await term.controllers[0].reconcile_now(KEY)
        await world.hear_again()
        await rest()
        assert places(world) == ["node1", "node2", "node3"]


async def test_a_settled_set_is_not_written_to(world: World) -> None:
    async with controllers(world, NAME) as term:
        await world.create(daemon_set())
        await run_pods(world)
        before = len(world.writes)
        assert await term.controllers[0].reconcile_now(KEY) == ""
        assert len(world.writes) == before


def test_what_the_template_requires_holds_beside_the_node() -> None:
    wanted = template()
    ssd = NodeSelectorRequirement(key="disk", operator="In", values=["ssd"])
    placements.bind(wanted.spec, "a")
    required = wanted.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution
    required.nodeSelectorTerms[0].matchExpressions = [ssd]
    placements.bind(wanted.spec, "b")
    [term] = wanted.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
    assert (term.matchExpressions, term.matchFields[0].values) == ([ssd], ["b"])
    assert placements.verdict(wanted.spec, [], node("b", disk="ssd")) == (True, True)
    assert placements.verdict(wanted.spec, [], node("b", disk="hdd")) == (False, False)
    assert placements.verdict(wanted.spec, [], node("c", disk="ssd")) == (False, False)
