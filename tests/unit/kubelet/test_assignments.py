"""Which pods a node has, whatever becomes of its engine."""

import asyncio
from pathlib import Path

from api import meta
from api.types import PodCondition
from kubelet.pods.assignments import RELIST, Assignments
from kubelet.statics.manifests import MIRROR, SOURCE
from tests.unit.kubelet.test_resizing import Shown
from tests.unit.kubelet.test_workers import Stage, web

BEGAN = "2020-01-01T00:00:00Z"


async def nothing(*_: object) -> None:
    return


async def test_a_static_pod_goes_on_as_its_mirror_tells_also_before_all_is_known(tmp_path: Path) -> None:
    """A kubelet that was started again: its static pods are begun before the API server is heard of."""
    stage, shown, connected = Stage(tmp_path), Shown(), asyncio.Event()
    static = web()
    static.metadata.annotations = {SOURCE: "file"}

    async def connecting() -> None:
        await connected.wait()

    assignments = Assignments(stage.means, shown, lambda: [static])
    tasks = [asyncio.create_task(stage.cache.run()), asyncio.create_task(assignments.run(connecting, nothing))]
    await stage.turn()
    assert stage.ready
    mirror = meta.clone(static)
    mirror.metadata.annotations = {MIRROR: static.metadata.uid}
    mirror.metadata.uid = "its own"
    mirror.status.conditions = [PodCondition(type="Ready", status="True", lastTransitionTime=BEGAN)]
    shown.show(mirror)
    await stage.turn()
    ready = next(c for c in stage.status.conditions if c.type == "Ready")
    assert (ready.status, ready.lastTransitionTime) == ("True", BEGAN)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    stage.engine.close()


async def test_an_engine_that_is_away_when_it_is_looked_at_ends_nothing(tmp_path: Path) -> None:
    stage, shown, engine_is_there = Stage(tmp_path), Shown(), [True]
    stage.engine.engine.reachable = lambda: engine_is_there[0]
    assignments = Assignments(stage.means, shown)
    tasks = [asyncio.create_task(stage.cache.run()), asyncio.create_task(assignments.run(nothing, nothing))]
    await stage.turn()
    engine_is_there[0] = False
    await stage.turn(RELIST)
    assert not tasks[1].done()
    engine_is_there[0] = True
    shown.show(web())
    await stage.turn()
    assert stage.ready
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    stage.engine.close()
