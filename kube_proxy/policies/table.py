"""The kernel's table of policies.

A table of its own: the kernel follows every jump of a table whenever a chain of it comes or goes, and a Service that
moves to another chain need not wait for hundreds of policies.

Packets between a pod and its own node never come through here, since they are not forwarded: a node always reaches its
pods (the kubelet probes them), as upstream promises. Only what begins is judged. What was established before a policy
came goes on, as with most of upstream's implementations: cutting it off would need a look at every packet of every
connection, and what a connection was allowed for (a pod that has gone, a label that changed) is not to be known later.
"""

from collections.abc import Iterable, Mapping

from kube_proxy.ledger import Change
from kube_proxy.mirrors import Kernel, Mirror
from kube_proxy.policies.chains import SETS, Chain
from kube_proxy.policies.views import Content
from kube_proxy.rules import Elements
from kube_proxy.transactions import additions, removals

TABLE = "kube-policies"
_MAPS = ("egress-pods", "ingress-pods")
_FIXED_SETS = {
    "local-range": "type ipv4_addr; flags interval",
    "local-pods": "type ipv4_addr",
    "selves": "type ipv4_addr . ipv4_addr",
}
# Both ends judge, each for its own pods, after addresses of services were translated (priority -100) and those without
# endpoints refused (0). An `accept` ends one hook only, so what may leave is still asked whether it may enter. Packets
# of a pod that is not known yet wait: policies hold from a pod's first moment, and its address is known a few
# milliseconds after its sandbox is there.
_FIRST_PRIORITY = 110
_HOOKS = (("egress", _FIRST_PRIORITY, "ip saddr"), ("ingress", _FIRST_PRIORITY + 1, "ip daddr"))


class PolicyTable(Mirror):
    name = TABLE
    first_priority = _FIRST_PRIORITY

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self._chains: Mapping[str, Chain] = {}

    def apply(self, content: Content) -> Change:
        """Program what has changed; returns the change of the elements.  Raises NftablesError."""
        before, self._chains = self._chains, content.chains
        change = self.ledger.change(content.changed)
        if not self._structure:
            self.replace()
        elif change or before.keys() != content.chains.keys():
            commands = part(change, before, content.chains)
            self._write(commands, reshapes=before.keys() != content.chains.keys())
        return change

    def replace(self) -> None:
        self._structure = ""
        self._kernel.run(whole(self._chains, self.ledger.elements, self._turn()))
        self._structure = self._kernel.structure(TABLE)

    def _contents(self) -> Iterable[tuple[str, str]]:
        yield from (("map", name) for name in _MAPS)
        yield from (("set", name) for name in (*_FIXED_SETS, *_sets(self._chains)))


def whole(chains: Mapping[str, Chain], elements: Elements, turn: int = 0) -> str:
    """Put the table in the place of whatever table of its name there is. See mirrors.Mirror for `turn`."""
    lines = [f"table ip {TABLE}", f"delete table ip {TABLE}", f"table ip {TABLE} {{"]
    lines += [f"map {name} {{ type ipv4_addr : verdict; }}" for name in _MAPS]
    lines += [f"set {name} {{ {kind}; }}" for name, kind in _FIXED_SETS.items()]
    for name, priority, side in _HOOKS:
        lines += [
            f"chain {name} {{",
            f"type filter hook forward priority {priority + turn}",
            "ct state established,related accept",
            "ip saddr . ip daddr @selves accept",
            f"{side} @local-range {side} != @local-pods drop",
            f"{side} vmap @{name}-pods",
            "}",
        ]
    return "\n".join([*lines, "}", part(Change(added=elements), {}, chains)])


def part(change: Change, before: Mapping[str, Chain], after: Mapping[str, Chain]) -> str:
    """Bring about a change. What is looked into comes before who looks into it, and goes after."""
    come = [after[name] for name in after.keys() - before.keys()]
    gone = [before[name] for name in before.keys() - after.keys()]
    sets_before, sets_after = _sets(before), _sets(after)
    lost = sets_before - sets_after
    removed = [element for element in change.removed if element.map not in lost]
    lines = [f"add set ip {TABLE} {name} {{ {SETS[_kind(name)]}; }}" for name in sorted(sets_after - sets_before)]
    lines += [f"add chain ip {TABLE} {chain.name}" for chain in come]
    lines += [f"add rule ip {TABLE} {chain.name} {rule}" for chain in come for rule in chain.rules]
    lines += [*removals(TABLE, removed), *additions(TABLE, change.added)]
    lines += [f"flush chain ip {TABLE} {chain.name}" for chain in gone]
    lines += [f"delete chain ip {TABLE} {chain.name}" for chain in gone]
    lines += [f"delete set ip {TABLE} {name}" for name in sorted(lost)]
    return "\n".join([*lines, ""])


def _sets(chains: Mapping[str, Chain]) -> set[str]:
    return set().union(*(chain.sets for chain in chains.values()))


def _kind(name: str) -> str:
    return name.partition("-")[0]
