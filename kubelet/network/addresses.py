"""Which pod has which address.

Nothing is written down here: an address of the node's range is a label of its pod's pause container, others are in the
records of who gave them, and `adopt` is told of those that a restarted kubelet finds.
"""

import ipaddress
from typing import Protocol


class Exhausted(Exception):
    """Every address of the range is in use."""


class Pool(Protocol):
    def of(self, uid: str) -> str:
        """The pod's address, "" if it has none."""
        ...

    def adopt(self, uid: str, address: str) -> bool:
        """Take note of an address in use; False if the pod may not have it."""
        ...

    def allocate(self, uid: str) -> str:
        """The pod's address, a new one if it has none; "" if that is not known before it is connected.

        Raises Exhausted.
        """
        ...

    def release(self, uid: str) -> None: ...


class Elsewhere:
    """Implements `Pool` for addresses that somebody else hands out."""

    def __init__(self) -> None:
        self._by_pod: dict[str, str] = {}

    def of(self, uid: str) -> str:
        return self._by_pod.get(uid, "")

    def adopt(self, uid: str, address: str) -> bool:
        self._by_pod[uid] = address
        return True

    def allocate(self, uid: str) -> str:
        self.release(uid)
        return ""

    def release(self, uid: str) -> None:
        self._by_pod.pop(uid, None)


class Addresses:
    """Implements `Pool` for the node's own range.

    Goes round it, so that an address that was freed is not at once somebody else's. The first and the last address
    (the network's, the broadcast) and the second (by custom a gateway's) stay free.
    """

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        self._by_pod: dict[str, int] = {}
        self._used: set[int] = set()
        self._first = int(self.network.network_address) + 2
        self._last = int(self.network.broadcast_address) - 1
        self._next = self._first

    def of(self, uid: str) -> str:
        number = self._by_pod.get(uid)
        return str(ipaddress.IPv4Address(number)) if number is not None else ""

    def adopt(self, uid: str, address: str) -> bool:
        """Take note of an address in use; False if it is outside of the range or another pod's."""
        number = int(ipaddress.IPv4Address(address))
        if self._by_pod.get(uid) == number:
            return True
        if number in self._used or not self._first <= number <= self._last:
            return False
        self.release(uid)
        self._by_pod[uid] = number
        self._used.add(number)
        self._next = max(self._next, number + 1)
        return True

    def allocate(self, uid: str) -> str:
        if uid in self._by_pod:
            return self.of(uid)
        size = self._last - self._first + 1
        for step in range(size):
            number = self._first + (self._next - self._first + step) % size
            if number not in self._used:
                self._by_pod[uid] = number
                self._used.add(number)
                self._next = number + 1
                return self.of(uid)
        raise Exhausted(f"no IP addresses available in range set: {self.network}")

    def release(self, uid: str) -> None:
        number = self._by_pod.pop(uid, None)
        if number is not None:
            self._used.discard(number)

    def pods(self) -> list[str]:
        return [*self._by_pod]
