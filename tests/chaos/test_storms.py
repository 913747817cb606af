"""The short form of `scripts/chaos`: one fault of each of the kinds that matter most, with one seed."""

import asyncio

import pytest

from tests.chaos.faults import Fault
from tests.chaos.labs import broken_lab
from tests.chaos.storms import storm, table

FAULTS = [
    Fault("kill apiserver", "kill", "apiserver1", 2),
    Fault("freeze etcd leader", "freeze", "the etcd leader", 4),
    Fault("kill controller-manager", "kill", "controller-manager", 2),
    Fault("cut node", "cut", "node2", 3),
    Fault("stop node", "stop", "node3", 2, ends_containers=True),
]


@pytest.mark.long
def test_no_write_is_lost_and_all_is_well_after_each_fault() -> None:
    with broken_lab() as (lab, docker_engine):
        outcome = asyncio.run(storm(lab, docker_engine, 1, FAULTS))
    assert outcome.holds, table(outcome)
    assert len(outcome.struck) == len(FAULTS)
    assert len(outcome.record.acknowledged()) > 200
