"""Who has a say in scheduling beside the plug-ins: extenders filter and value nodes, choose victims, and may bind.

https://kubernetes.io/docs/concepts/extend-kubernetes/#scheduler-extensions . They are asked about the nodes that the
plug-ins left, one after another; what they say is advice that the decision, which stays pure, is given.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from api import errors
from api.types import Node, Pod
from scheduler.advice import Advice, Failed, Refusal
from scheduler.extender_documents import Extender
from scheduler.preemption import NO_CANDIDATE, Candidate, Preemption, chosen
from scheduler.webhooks import Webhook
from scheduler.wishes import Wish

# An extender gives up to ten points; a plug-in up to a hundred.
WORTH = 10
Nodes = Callable[[str], Node | None]
Pods = Callable[[str], Iterable[Wish]]
# Of a node that is neither left nor listed among those that failed: upstream does not even mention it.
UNSAID = "node(s) were rejected by an extender"
log = logging.getLogger("extenders")


class Extenders:
    def __init__(self, configured: Sequence[Extender], node: Nodes, pods: Pods) -> None:
        """`node` finds one by its name, `pods` those on it.  Raises CannotGoOn if a TLS configuration is of no use."""
        self._webhooks = [Webhook(each) for each in configured]
        self._node = node
        self._pods = pods

    def concern(self, pod: Pod) -> bool:
        return any(each.is_interested(pod) for each in self._webhooks)

    async def advise(self, pod: Pod, nodes: Iterable[str], node: Nodes | None) -> Advice:
        """`node`: where to find them, if elsewhere than in the cluster.  Raises Failed."""
        node, advice = node or self._node, Advice(frozenset(nodes))
        interested = [each for each in self._webhooks if each.is_interested(pod)]
        advice.preempts = any(each.config.preemptVerb for each in interested)
        for each in interested:
            if not advice.allowed:
                return advice
            if each.config.filterVerb:
                await self._filter(each, pod, advice, node)
        # Whoever fails to value nodes is passed over: there is a node without its opinion, too.
        asked = [each for each in interested if each.config.prioritizeVerb]
        points = await asyncio.gather(*(self._prioritize(e, pod, sorted(advice.allowed), node) for e in asked))
        advice.points = {each.name: given for each, given in zip(asked, points, strict=True)}
        return advice

    async def preempt(self, pod: Pod, candidates: Collection[Candidate]) -> Preemption:
        """What is left of the preemption when all extenders that want to have had their say."""
        for each in self._webhooks:
            if not each.config.preemptVerb or not each.is_interested(pod):
                continue
            if not candidates:
                break
            try:
                candidates = self._candidates(each, await each.preempt(pod, candidates), candidates)
            except Failed as e:
                if not each.config.ignorable:
                    return Preemption(str(e), keeps=True, failed=True)
                _skip(each, e)
        return chosen(candidates) if candidates else Preemption(NO_CANDIDATE, keeps=True)

    async def bind(self, pod: Pod, node: str) -> bool:
        """Whether an extender has bound the pod in the scheduler's place.  Raises ApiError."""
        for each in self._webhooks:
            if not each.config.bindVerb or not each.is_interested(pod):
                continue
            try:
                await each.bind(pod, node)
            except Failed as e:
                if not each.config.ignorable:
                    raise errors.InternalError(str(e)) from e
                _skip(each, e)
            else:
                return True
        return False

    async def _filter(self, webhook: Webhook, pod: Pod, advice: Advice, node: Nodes) -> None:
        """Raises Failed, unless the extender may be ignored."""
        try:
            left, failed, final = await webhook.filter(pod, sorted(advice.allowed), node)
        except Failed as e:
            if not webhook.config.ignorable:
                raise
            _skip(webhook, e)
            return
        refused = {name: Refusal(webhook.name, UNSAID, final=True) for name in advice.allowed - left}
        refused |= {name: Refusal(webhook.name, why) for name, why in failed.items()}
        advice.refused |= refused | {name: Refusal(webhook.name, why, final=True) for name, why in final.items()}
        advice.allowed &= left

    async def _prioritize(self, webhook: Webhook, pod: Pod, nodes: Sequence[str], node: Nodes) -> Mapping[str, int]:
        try:
            scores = await webhook.prioritize(pod, nodes, node)
        except Failed as e:
            log.warning("extender %s did not value nodes: %s", webhook.name, e)
            return {}
        return {name: score * webhook.config.weight * WORTH for name, score in scores.items()}

    def _candidates(
        self, webhook: Webhook, said: Mapping[str, tuple[list[str], int]], asked: Iterable[Candidate]
    ) -> list[Candidate]:  # fmt: skip
        """What the extender made of those it was asked about.  Raises Failed."""
        empty = {c.node for c in asked if not c.victims}
        found = []
        for name, (uids, violations) in said.items():
            # A node that nobody has to go from so far may be left to the next extender; refused is what is left out.
            if not uids and name not in empty:
                if webhook.config.ignorable:
                    continue
                raise Failed(f'expected at least one victim pod on node "{name}"', webhook.name)
            there = {w.pod.metadata.uid: w for w in self._pods(name)}
            for uid in uids:
                if uid not in there:
                    raise Failed(
                        f"extender: {webhook.name} claims to preempt pod (UID: {uid}) on node: {name}, but the pod is "
                        "not found on that node",
                        webhook.name,
                    )
            victims = sorted((there[uid] for uid in uids), key=lambda w: -w.priority)
            found.append(Candidate(name, victims, violations))
        return found


def _skip(webhook: Webhook, error: Failed) -> None:
    log.warning("Skipping extender %s as it returned error %s and has ignorable flag set", webhook.name, error)
