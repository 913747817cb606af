"""The sizes that a rollout decides on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.types import Deployment, DeploymentStatus, ReplicaSet
from controller_manager import progress
from controller_manager.proportions import proportional
from controller_manager.revisions import (
    DESIRED,
    HASH_LABEL,
    HISTORY,
    MAXIMUM,
    REVISION,
    annotations_for_existing,
    new_replica_set,
    same_template,
    superfluous,
    template_hash,
)
from controller_manager.rollouts import max_surge, max_unavailable, roll_new, roll_old, size
from tests.unit.controller_manager.making import NOW, deployment, replica_set, template


def sized(name: str, replicas: int, available: int | None = None) -> ReplicaSet:
    rs = replica_set(name, replicas)
    rs.status.replicas = replicas
    rs.status.availableReplicas = replicas if available is None else available
    return rs


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (3, "25%", "25%", (1, 0)),
        (1, "25%", "25%", (1, 0)),
        (4, 0, 0, (0, 1)),
        (4, 0, "10%", (0, 1)),
        (2, 1, 5, (1, 2)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_surge_is_rounded_up_and_unavailability_down(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    d = deployment(replicas=replicas, surge=surge, unavailable=unavailable)
    assert (max_surge(d), max_unavailable(d)) == expected


def test_the_new_one_takes_the_room_that_surge_gives() -> None:
    d = deployment(replicas=10, surge=3, unavailable=2)
    new, old = sized("new", 0), sized("old", 10)
    assert roll_new(d, new, [old]) == [(new, 3)]
    assert roll_new(d, sized("new", 3), [old]) == []
    shrinking = sized("new", 12)
    assert roll_new(d, shrinking, []) == [(shrinking, 10)]


def test_old_pods_go_as_new_ones_become_available() -> None:
    d = deployment(replicas=10, surge=3, unavailable=2)
    old = sized("old", 10)
    assert roll_old(d, sized("new", 3, 0), [old]) == [(old, 8)]
    old = sized("old", 8)
    assert roll_old(d, sized("new", 5, 0), [old]) == []
    assert roll_old(d, sized("new", 5, 2), [old]) == [(old, 6)]


def test_pods_that_are_still_to_go_are_neither_room_nor_service() -> None:
    d = deployment(replicas=10, surge=3, unavailable=2)
    shrunk, new = sized("old", 10), sized("new", 3)
    shrunk.spec.replicas = 5
    assert roll_new(d, new, [shrunk]) == []
    assert roll_old(d, new, [shrunk]) == []


def test_nothing_grows_while_another_may_still_make_pods_of_its_former_size() -> None:
    d = deployment(replicas=4, surge=1, unavailable=1)
    new, shrunk = sized("new", 0), sized("old", 1)
    shrunk.metadata.generation, shrunk.status.observedGeneration = 2, 1
    assert roll_new(d, new, [shrunk]) == []
    assert proportional(d, new, [shrunk, sized("older", 1)])[0][1] == 1
    new.spec.replicas = 1
    shrunk.spec.replicas = 0
    assert proportional(d, new, [shrunk]) == [(new, 1)]
    shrunk.status.observedGeneration = 2
    assert proportional(d, new, [shrunk]) == [(new, 4)]
    shrunk.status.replicas = 3
    assert proportional(d, new, [shrunk]) == [(new, 2)]


def test_old_pods_that_are_broken_go_first() -> None:
    d = deployment(replicas=10, surge=3, unavailable=2)
    good, broken = sized("good", 8), sized("broken", 5, 0)
    assert roll_old(d, sized("new", 0, 0), [good, broken]) == [(broken, 0)]


@given(
    st.integers(1, 12), st.integers(0, 5), st.integers(0, 5), st.lists(st.integers(0, 8), min_size=1, max_size=3),
    st.integers(0, 8), st.data(),
)  # fmt: skip
def test_no_step_takes_what_must_stay_available(
    wanted: int, surge: int, unavailable: int, olds: list[int], new_size: int, data: st.DataObject
) -> None:
    d = deployment(replicas=wanted, surge=surge, unavailable=unavailable)
    old = [sized(f"o{n}", s, data.draw(st.integers(0, s))) for n, s in enumerate(olds)]
    new = sized("new", new_size, data.draw(st.integers(0, new_size)))
    before = sum(rs.status.availableReplicas for rs in [*old, new])
    taken = {rs.metadata.name: target for rs, target in roll_old(d, new, old)}
    # Whoever goes, goes from what is not available first: that is how replica sets choose.
    after = new.status.availableReplicas + sum(
        min(rs.status.availableReplicas, taken.get(rs.metadata.name, size(rs))) for rs in old
    )
    assert after >= min(before, wanted - max_unavailable(d))
    assert all(0 <= target < 9 for target in taken.values())
    for rs, target in roll_new(d, new, old):
        assert target >= size(rs) or target == wanted
        assert target <= max(wanted, size(rs))


def test_proportional_scaling_shares_out_and_gives_the_rest_to_the_largest() -> None:
    d = deployment(replicas=15, surge=3, unavailable=2)
    old, new = sized("old", 8), sized("new", 5)
    for rs in (old, new):
        rs.metadata.annotations = {DESIRED: "10", MAXIMUM: "13"}
    assert {rs.metadata.name: n for rs, n in proportional(d, new, [old])} == {"old": 11, "new": 7}
    d.spec.replicas = 5
    assert sum(n for _, n in proportional(d, new, [old])) == 8
    d.spec.replicas = 0
    assert {n for _, n in proportional(d, new, [old])} == {0}


def test_the_only_one_with_pods_takes_the_whole_size() -> None:
    d = deployment(replicas=7)
    old, new = sized("old", 3), sized("new", 0)
    assert proportional(d, new, [old]) == [(old, 7)]
    assert proportional(d, sized("new", 0), []) != []
    assert proportional(d, None, []) == []


# Revisions


def test_a_hash_depends_on_the_template_and_the_collisions_only() -> None:
    a = template_hash(template(), None)
    assert a == template_hash(template(), None)
    assert (
        len({a, template_hash(template("other"), None), template_hash(template(), 0), template_hash(template(), 1)})
        == 4
    )
    assert set(a) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_templates_are_the_same_but_for_the_hash_label() -> None:
    made = new_replica_set(deployment(), 3, 1)
    assert HASH_LABEL in made.spec.template.metadata.labels
    assert same_template(made.spec.template, template())
    assert not same_template(made.spec.template, template("other"))
    assert not same_template(made.spec.template, template(tier="front"))


def test_a_revision_that_comes_back_remembers_what_it_was() -> None:
    rs = replica_set()
    rs.metadata.annotations = {REVISION: "2", HISTORY: "1"}
    d = deployment()
    d.metadata.annotations = {
        "kubernetes.io/change-cause": "why",
        REVISION: "9",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    assert annotations_for_existing(d, rs, 5) == {REVISION: "5", HISTORY: "1,2", "kubernetes.io/change-cause": "why"}
    assert annotations_for_existing(d, rs, 2)[REVISION] == "2"


def test_only_empty_old_revisions_make_room() -> None:
    old = []
    for n in range(4):
        rs = sized(f"r{n}", 1 if n == 0 else 0)
        rs.metadata.annotations[REVISION] = str(n)
        old.append(rs)
    d = deployment(revisionHistoryLimit=2)
    assert [rs.metadata.name for rs in superfluous(d, old)] == ["r1"]
    assert superfluous(deployment(revisionHistoryLimit=2**31 - 1), old) == []


# Progress


def with_progress(reason: str, *, since: float = 0, status: str = "True") -> Deployment:
    d = deployment(progressDeadlineSeconds=60)
    d.status.conditions = [progress.condition("Progressing", status, reason, "", NOW - since)]
    return d


def test_the_deadline_begins_with_the_last_progress() -> None:
    d = with_progress("ReplicaSetUpdated", since=20)
    assert progress.time_left(d, d.status, NOW) == 40
    assert progress.time_left(d, d.status, NOW + 50) == 0
    done = with_progress("NewReplicaSetAvailable", since=500)
    assert progress.time_left(done, done.status, NOW) is None


def test_progress_moves_the_deadline_but_not_the_transition() -> None:
    d = with_progress("ReplicaSetUpdated", since=20)
    status = DeploymentStatus(readyReplicas=1, conditions=list(d.status.conditions))
    progress.note_rollout(d, status, None, [], NOW)
    (c,) = status.conditions
    assert (c.reason, c.message) == ("ReplicaSetUpdated", 'Deployment "web" is progressing.')
    assert c.lastUpdateTime > c.lastTransitionTime == d.status.conditions[0].lastTransitionTime


def test_without_a_deadline_there_is_no_progressing() -> None:
    d = with_progress("ReplicaSetUpdated")
    d.spec.progressDeadlineSeconds = 2**31 - 1
    status = DeploymentStatus(conditions=list(d.status.conditions))
    progress.note_rollout(d, status, None, [], NOW)
    assert status.conditions == []
