"""Cluster roles that are the sum of others."""

from api.types import AggregationRule, ClusterRole, LabelSelector, ObjectMeta, PolicyRule
from tests.unit.controller_manager.worlds import World, controllers, rest

AGGREGATION = "clusterrole-aggregation-controller"
PODS = PolicyRule(verbs=["get"], apiGroups=[""], resources=["pods"])
SECRETS = PolicyRule(verbs=["get"], apiGroups=[""], resources=["secrets"])


def part(name: str, *rules: PolicyRule) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name, labels={"part-of": "view"}), rules=list(rules))


def whole() -> ClusterRole:
    chosen = AggregationRule(clusterRoleSelectors=[LabelSelector(matchLabels={"part-of": "view"})])
    return ClusterRole(metadata=ObjectMeta(name="view"), aggregationRule=chosen)


async def rules(world: World) -> list[PolicyRule]:
    found = await world.get(ClusterRole, "view")
    return list(found.rules)


async def test_an_aggregated_role_has_the_rules_of_its_parts_each_once(world: World) -> None:
    await world.create(whole())
    await world.create(part("a", PODS))
    await world.create(part("b", SECRETS, PODS))
    await world.create(ClusterRole(metadata=ObjectMeta(name="other"), rules=[SECRETS]))
    async with controllers(world, AGGREGATION):
        await rest(30)
        assert await rules(world) == [PODS, SECRETS]


async def test_a_part_that_comes_or_goes_changes_the_whole(world: World) -> None:
    await world.create(whole())
    async with controllers(world, AGGREGATION):
        await world.create(part("a", PODS))
        await rest(30)
        assert await rules(world) == [PODS]
        await world.delete(ClusterRole, "a")
        await rest(30)
        assert await rules(world) == []
