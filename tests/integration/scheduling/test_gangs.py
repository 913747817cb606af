"""A gang with everything in it: the API behind its feature gate, the scheduler, and namespaces that go."""

import pytest

from api import errors
from api.types import (
    GangSchedulingPolicy,
    Namespace,
    ObjectMeta,
    PodGroup,
    PodGroupSchedulingPolicy,
    PodGroupSpec,
    PodSchedulingGroup,
)
from tests.integration.processes import NODE, until

from .workloads import EMPTY_NODE, Lab, unschedulable

pytestmark = pytest.mark.asyncio(loop_scope="session")
NAMES = "one", "two", "three"


def gang(lab: Lab, minimum: int, priority: str = "") -> PodGroup:
    policy = PodGroupSchedulingPolicy(gang=GangSchedulingPolicy(minCount=minimum))
    spec = PodGroupSpec(schedulingPolicy=policy, priorityClassName=priority)
    return PodGroup(metadata=ObjectMeta(name="gang", namespace=lab.namespace), spec=spec)


async def test_a_gang_is_bound_as_a_whole_once_there_is_room_for_it(lab: Lab) -> None:
    await lab.give(NODE, 2)
    group = await lab.client.create(gang(lab, 3, "medium"))
    assert group.spec.priority == 100
    for name in NAMES:
        await lab.create(name, "low", 1, schedulingGroup=PodSchedulingGroup(podGroupName="gang"))
    for name in NAMES:
        await lab.until(name, unschedulable)
    assert not any(p.spec.nodeName for p in (await lab.pods()).values())
    await lab.give(EMPTY_NODE, 1)
    for name in NAMES:
        await lab.until(name, lambda p: p.spec.nodeName)
    [group] = await until(
        lab.client, PodGroup, lambda found: any(c.status == "True" for g in found for c in g.status.conditions),
        lab.namespace,
    )  # fmt: skip
    assert [(c.type, c.reason) for c in group.status.conditions] == [("PodGroupInitiallyScheduled", "Scheduled")]


async def test_of_a_gang_only_the_size_may_change(lab: Lab) -> None:
    group = await lab.client.create(gang(lab, 2))
    group.spec.schedulingPolicy.gang.minCount = 1
    group = await lab.client.update(group)
    assert (group.spec.schedulingPolicy.gang.minCount, group.metadata.generation) == (1, 2)
    group.spec.schedulingPolicy = PodGroupSchedulingPolicy()
    with pytest.raises(errors.Invalid, match="field cannot be cleared once set"):
        await lab.client.update(group)


async def test_pod_groups_go_with_their_namespace(lab: Lab) -> None:
    await lab.client.create(gang(lab, 2))
    await lab.client.delete(Namespace, lab.namespace, "")
    await until(lab.client, Namespace, lambda all_: not any(n.metadata.name == lab.namespace for n in all_))
    assert (await lab.client.list(PodGroup, lab.namespace)).items == []
