from itertools import islice

import pytest

from tests.chaos.faults.parts import LEADER, NODE_NAMES
from tests.chaos.faults.plans import CATALOGUE, fault, plan, sensible
from wherry import masters

KINDS = len(CATALOGUE)


def test_a_seed_gives_the_same_faults_again():
    assert [*islice(plan(4), 60)] == [*islice(plan(4), 60)]
    assert [*islice(plan(4), 60)] != [*islice(plan(5), 60)]


def test_every_kind_of_fault_comes_before_one_comes_twice():
    kinds = [strike[0].kind.name for strike in islice(plan(1), 2 * KINDS)]
    assert len({*kinds[:KINDS]}) == len({*kinds[KINDS:]}) == KINDS


def test_every_part_is_struck_in_the_end():
    targets = {name for strike in islice(plan(1), 40 * KINDS) for fault in strike for name in fault.target}
    parts = {name for part in masters.SEVERAL for name in masters.names(part)}
    nodes = {f"{node}{part}" for node in NODE_NAMES for part in ("", "-kubelet", "-kube-proxy")}
    assert parts | nodes | {masters.BALANCER} <= targets


def test_some_faults_overlap_and_never_undo_each_other():
    pairs = [strike for strike in islice(plan(2), 20 * KINDS) if len(strike) == 2]
    assert len(pairs) > KINDS
    for first, second in pairs:
        assert second.after <= first.seconds
        assert not {*first.target} & {*second.target}
        assert sum("etcd" in name for fault in (first, second) for name in fault.target) <= 2


@pytest.mark.parametrize(
    ("first", "second", "may"),
    [
        (("kill apiserver", "apiserver"), ("freeze apiserver", "apiserver1"), True),
        (("kill apiserver", "apiserver"), ("freeze apiserver", "apiserver"), False),
        (("kill etcd", "etcd"), ("freeze etcd leader", LEADER), False),
        (("kill kubelet", "node1-kubelet"), ("stop node", "node1"), False),
        (("kill kubelet", "node1-kubelet"), ("stop node", "node2"), True),
        (("compact under informer", "scheduler"), ("kill apiserver", "apiserver1"), False),
        (("kill balancer", "balancer"), ("stall etcd disk", "etcd1"), True),
    ],
)
def test_two_faults_may_meet_where_neither_undoes_the_other(first, second, may):
    one, other = (fault(name, target, seconds=1) for name, target in (first, second))
    assert sensible(one, other) is sensible(other, one) is may
