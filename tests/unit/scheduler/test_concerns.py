"""A pod that waits is tried again for what can help it, and for nothing else."""

import pytest

from api.types import Pod
from scheduler.concerns import PodChange
from scheduler.wishes import wish
from tests.unit.scheduler.objects import World, apart, container, near, node, pod, spread

FIT, AFFINITY, SPREAD = "NodeResourcesFit", "InterPodAffinity", "PodTopologySpread"


def world() -> World:
    found = World(node("n1", cpu="2"), node("n2", cpu="2"))
    found.put("old", "n1", cpu="1", priority=5)
    found.put("low", "n1", cpu="500m")
    return found


@pytest.mark.parametrize(
    ("waits", "helps"),
    [
        (pod("w", cpu="500m"), True),
        (pod("w", cpu="1"), False),
        (pod("w", cpu="1", priority=1), True),  # in the place of `low`
        (pod("w", cpu="1", priority=1, preemptionPolicy="Never"), False),
        (pod("w", cpu="2", priority=1), False),
        (pod("w", cpu="2", priority=9), True),
    ],
    ids=str.split("room no-room preempts never-preempts too-big preempts-all"),
)
def test_room_on_a_node_helps_who_fits_there(waits: Pod, helps: bool) -> None:
    snapshot = world().snapshot
    assert PodChange(snapshot, "n1").helps(FIT, wish(waits)) is helps


def test_a_resource_that_no_node_has_is_no_matter_of_room() -> None:
    ignored = {"example.com/ignored": "1", "cpu": "500m"}
    assert PodChange(world().snapshot, "n1").helps(FIT, wish(pod("w", containers=[container(**ignored)])))


def test_room_that_is_kept_for_another_helps_nobody_else() -> None:
    snapshot, first, second = world().snapshot, wish(pod("a", cpu="500m")), wish(pod("b", cpu="500m"))
    snapshot.nominate(first, "n1")
    change = PodChange(snapshot, "n1")
    assert change.helps(FIT, first)
    assert not change.helps(FIT, second)


def test_of_too_many_that_were_nominated_each_is_tried() -> None:
    snapshot, waiting = World(node("n1", cpu="1")).snapshot, [wish(pod(name, cpu="1")) for name in "abc"]
    for each in waiting:
        snapshot.nominate(each, "n1")
    assert all(PodChange(snapshot, "n1").helps(FIT, each) for each in waiting)
    assert not PodChange(snapshot, "n1").helps(FIT, wish(pod("d", cpu="1")))


def test_who_has_chosen_victims_waits_for_all_of_them() -> None:
    snapshot, waits = world().snapshot, wish(pod("w", cpu="1", priority=1))
    snapshot.nominate(waits, "n1")
    snapshot.nominations.leaving.add("uid-low")
    assert not PodChange(snapshot, "n1").helps(FIT, waits)
    snapshot.remove_pod(wish(pod("low")).key)
    assert PodChange(snapshot, "n1").helps(FIT, waits)


@pytest.mark.parametrize(
    ("plugin", "waits", "app", "helps"),
    [
        (AFFINITY, pod("w", affinity=near("web")), "web", True),
        (AFFINITY, pod("w", affinity=near("web")), "db", False),
        (AFFINITY, pod("w", affinity=apart("web")), "web", True),
        (AFFINITY, pod("w", labels={"app": "w"}), "hermit", True),
        (AFFINITY, pod("w", labels={"app": "x"}), "hermit", False),
        (SPREAD, pod("w", topologySpreadConstraints=[spread("web")]), "web", True),
        (SPREAD, pod("w", topologySpreadConstraints=[spread("web")]), "db", False),
        ("NodePorts", pod("w"), "db", True),
    ],
)
def test_a_pod_concerns_those_whose_terms_speak_of_it(plugin: str, waits: Pod, app: str, helps: bool) -> None:
    other = pod("other", labels={"app": app}, affinity=apart("w") if app == "hermit" else None)
    assert PodChange(world().snapshot, "n1", wish(other)).helps(plugin, wish(waits)) is helps
