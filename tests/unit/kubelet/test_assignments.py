"""Which pods a node has, whatever becomes of its engine."""

import asyncio
from pathlib import Path

from kubelet.pods.assignments import RELIST, Assignments
from tests.unit.kubelet.test_resizing import Shown
from tests.unit.kubelet.test_workers import Stage, web


async def test_an_engine_that_is_away_when_it_is_looked_at_ends_nothing(tmp_path: Path) -> None:
    async def nothing(*_: object) -> None:
        return

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
