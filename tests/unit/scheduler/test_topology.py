"""Spreading, and affinity between pods."""

from collections import Counter

from api import labels
from api.types import Affinity, LabelSelector, PodAffinity, PodAntiAffinity, WeightedPodAffinityTerm
from scheduler.wishes import HOSTNAME, ZONE, wish
from tests.unit.scheduler.objects import World, apart, near, node, pod, spread, term

APP = {"app": "web"}
AFFINITY = ("InterPodAffinity", "node(s) didn't match pod affinity rules")
ANTI = ("InterPodAffinity", "node(s) didn't match pod anti-affinity rules")
EXISTING = ("InterPodAffinity", "node(s) didn't satisfy existing pods anti-affinity rules")
SPREAD = ("PodTopologySpread", "node(s) didn't match pod topology spread constraints")


def zones() -> World:
    return World(node("n1", zone="a"), node("n2", zone="a"), node("n3", zone="b"), node("n4", zone="c"))


def test_a_hard_constraint_keeps_domains_within_the_skew() -> None:
    world = zones()
    zone = {"n1": "a", "n2": "a", "n3": "b", "n4": "c"}
    placed = Counter(
        zone[world.place(pod(f"p{i}", labels=APP, topologySpreadConstraints=[spread("web")]))] for i in range(30)
    )
    assert placed == {"a": 10, "b": 10, "c": 10}


def test_a_domain_that_is_ahead_is_rejected() -> None:
    world = zones()
    world.put("p1", "n1", labels=APP)
    found = world.rejected(pod(labels=APP, topologySpreadConstraints=[spread("web")]))
    assert found == {"n1": SPREAD, "n2": SPREAD}


def test_a_node_without_the_label_is_rejected_for_that() -> None:
    world = World(node("n1", zone="a"), node("n2"))
    reason = f"{SPREAD[1]} (missing required label)"
    found = world.rejected(pod(labels=APP, topologySpreadConstraints=[spread("web")]))
    assert found == {"n2": ("PodTopologySpread", reason)}


def test_too_few_domains_count_as_an_empty_one() -> None:
    world = World(node("n1", zone="a"))
    world.put("p1", "n1", labels=APP)
    assert world.decide(pod(labels=APP, topologySpreadConstraints=[spread("web")])).node
    assert not world.decide(pod(labels=APP, topologySpreadConstraints=[spread("web", minDomains=2)])).node


def test_pods_that_terminate_and_those_of_other_namespaces_are_not_counted() -> None:
    world = zones()
    world.put("p1", "n1", labels=APP, namespace="other")
    dying = pod("p2", labels=APP)
    dying.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    world.snapshot.set_pod(wish(dying), "n1")
    assert not world.rejected(pod(labels=APP, topologySpreadConstraints=[spread("web")]))


def test_a_pod_of_a_group_goes_where_the_fewest_of_it_are() -> None:
    world = World(node("n1"), node("n2"), node("n3"))
    group = labels.from_map(APP)
    assert Counter(world.place(pod(f"p{i}", labels=APP), group) for i in range(9)) == {"n1": 3, "n2": 3, "n3": 3}
    scores = world.scores(pod("p", labels=APP), "PodTopologySpread", group)
    assert len(set(scores.values())) == 1


def test_soft_spreading_prefers_the_emptier_zone() -> None:
    world = zones()
    world.put("p1", "n1", labels=APP)
    scores = world.scores(
        pod(labels=APP, topologySpreadConstraints=[spread("web", whenUnsatisfiable="ScheduleAnyway")]),
        "PodTopologySpread",
    )
    assert scores["n1"] == scores["n2"] < scores["n3"] == scores["n4"] == 200


def test_anti_affinity_keeps_pods_apart_in_both_directions() -> None:
    world = World(node("n1"), node("n2"))
    world.put("web1", "n1", labels=APP, affinity=apart("db"))
    assert world.rejected(pod(labels={"app": "db"})) == {"n1": EXISTING}
    assert world.rejected(pod(labels={"app": "cache"}, affinity=apart("web"))) == {"n1": ANTI}
    world.snapshot.remove_pod(("default", "web1"))
    assert world.rejected(pod(labels={"app": "db"})) == {}


def test_affinity_goes_to_the_domain_of_a_match() -> None:
    world = zones()
    world.put("db", "n1", labels={"app": "db"})
    assert world.rejected(pod(affinity=near("db", ZONE))) == {"n3": AFFINITY, "n4": AFFINITY}
    assert world.rejected(pod(affinity=near("db", HOSTNAME))).keys() == {"n2", "n3", "n4"}


def test_the_first_of_a_group_that_wants_to_be_together_goes_anywhere_with_the_label() -> None:
    world = World(node("n1", zone="a"), node("n2"))
    assert world.decide(pod(labels=APP, affinity=near("web", ZONE))).node == "n1"
    assert not world.decide(pod(labels={"app": "x"}, affinity=near("web", ZONE))).node


def test_terms_reach_into_the_namespaces_that_they_name_or_select() -> None:
    world = World(node("n1"), node("n2"))
    world.snapshot.namespaces |= {"default": {}, "team": {"kind": "shared"}}
    world.put("db", "n1", labels={"app": "db"}, namespace="team")
    assert not world.decide(pod(affinity=near("db"))).node
    assert world.decide(pod(affinity=near("db", namespaces=["team"]))).node == "n1"
    selector = LabelSelector(matchLabels={"kind": "shared"})
    assert world.decide(pod(affinity=near("db", namespaceSelector=selector))).node == "n1"
    assert world.decide(pod(affinity=apart("db", namespaceSelector=LabelSelector()))).node == "n2"


def test_preferences_weigh_both_ways() -> None:
    world = World(node("n1"), node("n2"))
    world.put("db", "n1", labels={"app": "db"})
    wants = [WeightedPodAffinityTerm(weight=10, podAffinityTerm=term("db"))]
    together = Affinity(podAffinity=PodAffinity(preferredDuringSchedulingIgnoredDuringExecution=wants))
    separate = Affinity(podAntiAffinity=PodAntiAffinity(preferredDuringSchedulingIgnoredDuringExecution=wants))
    assert world.scores(pod(affinity=together), "InterPodAffinity") == {"n1": 200, "n2": 0}
    assert world.scores(pod(affinity=separate), "InterPodAffinity") == {"n1": 0, "n2": 200}


def test_running_pods_that_want_a_pod_near_draw_it() -> None:
    world = World(node("n1"), node("n2"))
    world.put("web", "n2", labels=APP, affinity=near("db"))
    assert world.scores(pod(labels={"app": "db"}), "InterPodAffinity") == {"n1": 0, "n2": 200}
