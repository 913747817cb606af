"""Objects whose owners are gone go too; the others stay."""

from itertools import product

import pytest

from api import kinds, meta
from api.types import ConfigMap, Deployment, Node, ObjectMeta, OwnerReference, Pod, ReplicaSet
from controller_manager.ownership import Graph, Owner, Verdict, judge
from tests.unit.controller_manager.making import deployment, node, pod, replica_set
from tests.unit.controller_manager.worlds import World, controllers, rest

GC = "garbage-collector-controller"


def config_map(name: str, *owners: object, uid: str = "", namespace: str = "default") -> ConfigMap:
    references = [o if isinstance(o, OwnerReference) else meta.controller_reference(o) for o in owners]
    for r in references[1:]:
        r.controller = None
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, uid=uid, ownerReferences=references))


def names(world: World) -> set[str]:
    return {o.metadata.name for what in (ConfigMap, Pod, ReplicaSet, Deployment) for o in world.all(what)}


async def tree(world: World) -> None:
    """A deployment, its replica set, and that one's two pods."""
    d = await world.create(deployment("d"))
    rs = replica_set("rs")
    rs.metadata.ownerReferences = [meta.controller_reference(d)]
    rs = await world.create(rs)
    for name in ("p1", "p2"):
        await world.create(pod(name, owner=rs))


# The decision


@pytest.mark.parametrize("dependents", [True, False])
def test_one_owner_that_is_there_is_enough(dependents: bool) -> None:
    for states in product([Owner.SOLID, Owner.WAITING, Owner.ABSENT], repeat=2):
        verdict = judge(states, has_dependents=dependents)
        assert (verdict in (Verdict.KEEP, Verdict.DETACH)) == (Owner.SOLID in states)


def test_a_doubtful_owner_stops_everything() -> None:
    assert judge([Owner.ABSENT, Owner.UNKNOWN], has_dependents=False) is Verdict.KEEP


def test_foreground_goes_down_the_tree() -> None:
    assert judge([Owner.WAITING], has_dependents=True) is Verdict.DELETE_FOREGROUND
    assert judge([Owner.WAITING], has_dependents=False) is Verdict.DELETE


def test_the_graph_forgets_edges_with_their_objects() -> None:
    graph, kind = Graph(), kinds.of(ConfigMap)
    owner = ObjectMeta(name="o", uid="o")
    a = config_map("a", config_map("o", uid="o"), uid="a")
    graph.observe(kind, a)
    assert [d.name for d in graph.dependents(owner.uid)] == ["a"]
    assert graph.is_blocked("o")
    a.metadata.ownerReferences = []
    graph.observe(kind, a)
    assert (graph.dependents("o"), len(graph)) == ([], 0)


# At work


async def test_background_takes_the_whole_tree(world: World) -> None:
    async with controllers(world, GC):
        await tree(world)
        await rest()
        await world.delete(Deployment, "d", "default", propagation="Background")
        await rest(30)
        assert names(world) == set()


async def test_what_was_orphaned_while_nobody_watched_is_found(world: World) -> None:
    await tree(world)
    await world.delete(Deployment, "d", "default", propagation="Background")
    async with controllers(world, GC):
        await rest(30)
        assert names(world) == set()


async def test_foreground_takes_the_owner_last(world: World) -> None:
    world.graceful = True
    async with controllers(world, GC):
        await tree(world)
        await rest()
        await world.delete(Deployment, "d", "default", propagation="Foreground")
        await rest(30)
        assert names(world) == {"d", "rs", "p1", "p2"}
        await world.finish(Pod, "p1")
        await rest(30)
        assert names(world) == {"d", "rs", "p2"}
        await world.finish(Pod, "p2")
        await rest(30)
        assert names(world) == set()


async def test_orphan_leaves_the_dependents_without_references(world: World) -> None:
    async with controllers(world, GC):
        await tree(world)
        await rest()
        await world.delete(ReplicaSet, "rs", "default", propagation="Orphan")
        await rest(30)
        assert names(world) == {"d", "p1", "p2"}
        assert all(p.metadata.ownerReferences == [] for p in world.all(Pod))


async def test_an_owner_that_never_existed_counts_as_gone(world: World) -> None:
    async with controllers(world, GC):
        await world.create(config_map("a", config_map("nobody", uid="never")))
        await rest(30)
        assert names(world) == set()


async def test_an_owner_under_the_same_name_is_not_the_same(world: World) -> None:
    async with controllers(world, GC):
        await world.create(config_map("o"))
        await world.create(config_map("a", config_map("o", uid="another")))
        await rest(30)
        assert names(world) == {"o"}


async def test_a_new_owner_that_is_not_seen_yet_is_asked_for(world: World) -> None:
    async with controllers(world, GC) as term:
        world.deaf = True
        owner = await world.create(config_map("o"))
        await world.create(config_map("a", owner))
        world.log.reverse()  # the dependent is told of first
        await world.hear_again()
        await rest(30)
        assert names(world) == {"o", "a"}
        assert term.controllers[0].failed == 0


async def test_of_two_owners_the_one_that_is_left_keeps_it(world: World) -> None:
    async with controllers(world, GC):
        one, two = await world.create(config_map("one")), await world.create(config_map("two"))
        await world.create(config_map("a", one, two))
        await rest()
        await world.delete(ConfigMap, "one", "default")
        await rest(30)
        assert [r.name for r in world.one(ConfigMap, "a").metadata.ownerReferences] == ["two"]
        await world.delete(ConfigMap, "two", "default")
        await rest(30)
        assert names(world) == set()


async def test_an_owner_in_another_namespace_is_none(world: World) -> None:
    async with controllers(world, GC):
        owner = await world.create(config_map("o", namespace="other"))
        await world.create(config_map("a", owner))
        await rest(30)
        assert names(world) == {"o"}
        (message,) = world.events("OwnerRefInvalidNamespace")
        assert message.endswith('does not exist in namespace "default"')


async def test_a_cluster_scoped_object_cannot_have_a_namespaced_owner(world: World) -> None:
    async with controllers(world, GC):
        n = node("n")
        n.metadata.ownerReferences = [meta.controller_reference(config_map("o", uid="gone"))]
        await world.create(n)
        await rest(30)
        assert len(world.all(Node)) == 1
        assert len(world.events("OwnerRefInvalidNamespace")) == 1


async def test_an_owner_of_an_unknown_kind_is_left_to_others(world: World) -> None:
    async with controllers(world, GC):
        reference = OwnerReference(apiVersion="example.com/v1", kind="Thing", name="t", uid="t")
        await world.create(config_map("a", reference))
        await rest(30)
        assert names(world) == {"a"}


async def test_owners_in_a_circle_do_not_wait_for_each_other_for_ever(world: World) -> None:
    async with controllers(world, GC):
        a = await world.create(config_map("a"))
        b = await world.create(config_map("b", a))
        a = world.one(ConfigMap, "a")
        a.metadata.ownerReferences = [meta.controller_reference(b)]
        await world.update(a)
        await rest(30)
        assert names(world) == {"a", "b"}
        await world.delete(ConfigMap, "a", "default", propagation="Foreground")
        await rest(30)
        assert names(world) == set()


async def test_a_settled_world_is_not_written_to(world: World) -> None:
    await tree(world)
    async with controllers(world, GC):
        await rest()
        assert [w for w in world.writes if not w[0].startswith("create")] == []
