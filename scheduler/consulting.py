"""A decision that extenders have a say in: they are asked between its parts, while the snapshot goes on changing."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import TYPE_CHECKING

from api.types import Node
from scheduler.advice import Advice, Failed, Refusal
from scheduler.decisions import Decision, Lap, feasible_nodes, preempting, schedule, unmeasured
from scheduler.profiles import Profile
from scheduler.snapshots import Snapshot
from scheduler.wishes import Wish

if TYPE_CHECKING:  # it brings an HTTP client, which most do not need
    from scheduler.extenders import Extenders

Standing = Callable[[], AbstractContextManager[object]]


async def consult(
    extenders: "Extenders", snapshot: Snapshot, wish: Wish, profile: Profile, random: Random, *,
    lap: Lap = unmeasured, standing: Standing = nullcontext, node: Callable[[str], Node | None] | None = None,
) -> tuple[Decision, Advice]:  # fmt: skip
    """The decision, and what it goes by.  Raises Failed.

    `standing` is entered whenever the snapshot is looked at, and left before anybody is asked: for those who suppose
    that something is different. `node` finds one by its name where the cluster's are not meant.
    """
    with standing():
        nodes = feasible_nodes(snapshot, wish, profile)
    advice = await extenders.advise(wish.pod, nodes, node)
    with standing():
        decision = schedule(snapshot, wish, random, profile, lap, advice)
    if decision.preemption.candidates:
        preemption = await extenders.preempt(wish.pod, decision.preemption.candidates)
        decision = preempting(decision, wish, preemption, profile)
    return decision, advice


def silence(snapshot: Snapshot, wish: Wish, profile: Profile, error: Failed) -> Advice:
    """For those who want to know what is wrong with each node: an extender that cannot be asked holds up all."""
    nodes = feasible_nodes(snapshot, wish, profile)
    return Advice(frozenset(), {name: Refusal(error.by, str(error), final=True) for name in nodes})
