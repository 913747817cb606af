"""The control groups of one node.

ROOT                 the node: what it has (`--cgroup-root`)
└ kubepods           all pods: what they may have together
  ├ podUID           a guaranteed pod
  ├ burstable        as large a share of the processors as its pods request
  │ └ podUID
  └ besteffort       the smallest share
    └ podUID
"""

import errno
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from api.types import Pod
from kubelet.cgroups import limits, names
from kubelet.cgroups.limits import Limits
from kubelet.cgroups.names import BEST_EFFORT, BURSTABLE, KUBEPODS, SYSTEMD, Name
from kubelet.cgroups.trees import Reading, Tree

log = logging.getLogger("cgroups")


class Groups(Protocol):
    quota: int | None
    """What no container below may exceed, in microseconds of each period; None is without limit."""

    def ensure(self, pod: Pod) -> str:
        """The pod's group as it is to be now; what the engine is to be told, or "" to leave it to that.  OSError."""
        ...

    def started(self, pod: Pod) -> None:
        """The first container of the pod runs in its group.  Raises OSError."""
        ...

    def widen(self, pod: Pod) -> None:
        """Take the limits of the pod's group away until `ensure`, so that those of its containers may change in any
        order: none may exceed the group's.  Raises OSError."""
        ...

    def release(self, uid: str) -> None:
        """Remove that pod's group: nothing of it runs any more.  Raises OSError if the kernel does not think so."""
        ...

    def sweep(self, known: Collection[str]) -> None:
        """Remove the groups of all pods but those with these uids."""
        ...

    def of(self, pod: Pod) -> Reading | None:
        """None where that cannot be known."""
        ...

    def of_all_pods(self) -> Reading | None: ...


class NoGroups:
    """Containers stand where the engine puts them, and the node's promises are only promises."""

    quota: int | None = None

    def ensure(self, pod: Pod) -> str:
        return ""

    def started(self, pod: Pod) -> None:
        return

    def widen(self, pod: Pod) -> None:
        return

    def release(self, uid: str) -> None:
        return

    def sweep(self, known: Collection[str]) -> None:
        return

    def of(self, pod: Pod) -> Reading | None:
        return None

    def of_all_pods(self) -> Reading | None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How a node's groups are to be."""

    root: Name
    driver: str
    node: Limits
    all_pods: Limits
    max_pids: int | None = None
    per_qos: bool = True


class Kept:
    """Implements `Groups` on the kernel's.

    Every container that starts asks for its pod's group, and the four above it are as they were: a group that is still
    there is trusted to have what was written to it last, and only what differs is written.
    """

    def __init__(self, tree: Tree, wanted: Wanted) -> None:
        self.quota = wanted.node.quota
        self._tree = tree
        self._wanted = wanted
        self._shares: dict[str, int] = {}  # by uid, of the pods that have a group
        self._written: dict[Name, Limits] = {}

    @property
    def all_pods(self) -> Name:
        return (*self._wanted.root, KUBEPODS) if self._wanted.per_qos else self._wanted.root

    def prepare(self) -> None:
        """The groups that every pod stands in.  Raises OSError."""
        wanted = self._wanted
        if wanted.root:  # without one the machine is the node, and its own group is not ours to limit
            self._write(wanted.root, wanted.node)
        if wanted.per_qos:
            below = limits.within(wanted.all_pods, wanted.node)
            self._write((*wanted.root, KUBEPODS), below)
            self._balance()

    def ensure(self, pod: Pod) -> str:
        wanted = self._wanted
        if wanted.per_qos:
            self._shares[pod.metadata.uid] = limits.share(pod)
        self.prepare()
        if not wanted.per_qos:
            return names.parent(wanted.root, wanted.driver)
        name = names.of_pod(wanted.root, pod)
        self._write(name, limits.of_pod(pod, wanted.max_pids, self.quota))
        return names.parent(name, wanted.driver)

    def started(self, pod: Pod) -> None:
        if self._wanted.driver == SYSTEMD:  # which gives a slice its own ideas when the first unit in it starts
            self._written.clear()
            self.ensure(pod)

    def widen(self, pod: Pod) -> None:
        if self._wanted.per_qos:
            self._write(names.of_pod(self._wanted.root, pod), Limits(pids=self._wanted.max_pids))

    def release(self, uid: str) -> None:
        if self._wanted.per_qos:
            self._shares.pop(uid, None)
            for place in self._classes():  # of a pod that was deleted meanwhile the class is not known any more
                self._remove((*place, f"pod{uid}"))
            self._balance()

    def sweep(self, known: Collection[str]) -> None:
        for name in self._of_pods():
            if names.uid(name[-1]) not in known:
                log.info("removing the control group %s: there is no such pod", "/".join(name))
                try:
                    self._remove(name)
                except OSError as e:
                    log.warning("removing a control group: %s", e)

    def of(self, pod: Pod) -> Reading | None:
        return self._read(names.of_pod(self._wanted.root, pod)) if self._wanted.per_qos else None

    def of_all_pods(self) -> Reading | None:
        return self._read(self.all_pods)

    def _read(self, name: Name) -> Reading | None:
        try:
            return self._tree.read(name)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ENODEV):
                raise
            return None

    def _of_pods(self) -> Iterator[Name]:
        for place in self._classes():
            for child in self._tree.children(place):
                if uid := names.uid(child):
                    yield (*place, f"pod{uid}")

    def _classes(self) -> tuple[Name, Name, Name]:
        kubepods = (*self._wanted.root, KUBEPODS)
        return kubepods, (*kubepods, BURSTABLE), (*kubepods, BEST_EFFORT)

    def _balance(self) -> None:
        """Let the classes have what their pods request now."""
        _, burstable, best_effort = self._classes()
        self._write(burstable, limits.of_burstable(self._shares.values()))
        self._write(best_effort, limits.of_best_effort())

    def _write(self, name: Name, wanted: Limits) -> None:
        if self._written.get(name) == wanted and self._tree.exists(name):
            return
        self._written.pop(name, None)  # what is half written is not known
        self._tree.make(name)
        self._tree.write(name, wanted)
        self._written[name] = wanted

    def _remove(self, name: Name) -> None:
        self._written.pop(name, None)
        self._tree.remove(name)
