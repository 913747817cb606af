from itertools import islice

from tests.chaos.faults import NODES, plan
from wherry import masters

KINDS = 26


def test_a_seed_gives_the_same_faults_again():
    assert [*islice(plan(4), 60)] == [*islice(plan(4), 60)]
    assert [*islice(plan(4), 60)] != [*islice(plan(5), 60)]


def test_every_kind_of_fault_comes_before_one_comes_twice():
    kinds = [fault.kind for fault in islice(plan(1), 2 * KINDS)]
    assert len({*kinds[:KINDS]}) == len({*kinds[KINDS:]}) == KINDS


def test_every_part_is_struck_in_the_end():
    targets = {fault.target for fault in islice(plan(1), 40 * KINDS)}
    parts = {name for part in masters.SEVERAL for name in masters.names(part)}
    nodes = {f"node{n}{part}" for n in range(1, NODES + 1) for part in ("", "-kubelet", "-kube-proxy")}
    assert parts | nodes <= targets
