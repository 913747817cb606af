"""The short forms of `scripts/chaos`: some faults that matter most in every run, and each of the catalogue in a long one."""

import asyncio

import pytest

from tests.chaos.faults.kinds import Fault
from tests.chaos.faults.parts import LEADER
from tests.chaos.faults.plans import CATALOGUE, Strike, fault
from tests.chaos.labs import broken_lab
from tests.chaos.outcomes import Outcome, table
from tests.chaos.storms import storm

SHORT: list[Strike] = [
    (fault("kill apiserver", "apiserver1", seconds=2),),
    (fault("freeze etcd leader", LEADER, seconds=4),),
    (fault("kill etcd majority", "etcd", "etcd2", seconds=3),),
    (fault("kill balancer", "balancer", seconds=2), fault("stop node", "node3", seconds=2, after=1)),
    (fault("lose packets", "node1", seconds=3), fault("forward controller-manager", "controller-manager", seconds=3)),
    (fault("delay packets", "apiserver2", seconds=3), fault("remove sandbox", "node2", seconds=0, after=1)),
    (fault("mute etcd, etcd", "etcd1", "etcd2", seconds=3), fault("backward kubelet", "node3-kubelet", seconds=3)),
]
EVERY: list[Strike] = [(Fault(kind, kind.targets[0], kind.seconds[0]),) for kind in CATALOGUE.values()]


def weather(plan: list[Strike]) -> Outcome:
    with broken_lab() as (lab, docker_engine):
        outcome = asyncio.run(storm(lab, docker_engine, 1, plan))
    assert outcome.holds, table(outcome)
    assert len(outcome.struck) == len(plan)
    return outcome


def test_no_write_is_lost_and_all_is_well_after_each_fault() -> None:
    assert len(weather(SHORT).record.acknowledged()) > 200


@pytest.mark.long
def test_no_write_is_lost_by_any_kind_of_fault() -> None:
    assert len(weather(EVERY).record.acknowledged()) > 2000
