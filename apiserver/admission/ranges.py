"""Ranges that addresses and ports are given out of.

Random choices fall into the upper band first and requested values are expected in the lower one, so that the two seldom
meet: https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/#avoid-ClusterIP-conflict
"""

import ipaddress
import random
from collections.abc import Callable, Container
from dataclasses import dataclass

from api.addresses import decimal

TRIES = 32


class Unavailable(ValueError):
    """A value that cannot be given, in upstream's words."""


@dataclass(frozen=True, slots=True)
class Band:
    """Whole numbers from `first` to `last`, of which the `reserved` first ones are left to requests if possible."""

    first: int
    last: int
    reserved: int

    def choose(self, is_taken: Callable[[int], bool], rng: random.Random) -> int:
        """A free number.  Raises Unavailable when there is none."""
        upper = self.first + self.reserved
        for low, high in ((upper, self.last), (self.first, upper - 1)):
            found = _free(low, high, is_taken, rng)
            if found is not None:
                return found
        raise Unavailable("range is full")


def _free(low: int, high: int, is_taken: Callable[[int], bool], rng: random.Random) -> int | None:
    if low > high:
        return None
    for _ in range(TRIES):
        if not is_taken(number := rng.randint(low, high)):
            return number
    # Nearly full: walk once around, from a random place.
    start, size = rng.randint(low, high), high - low + 1
    return next((n for i in range(size) if not is_taken(n := low + (start - low + i) % size)), None)


class Addresses:
    """The cluster IPs of one family. The network's and the broadcast address are never given."""

    def __init__(self, cidr: str) -> None:
        network = ipaddress.ip_network(cidr)
        self.network = network
        self.family = f"IPv{network.version}"
        # Of the endless IPv6 ranges, upstream uses the first 65,536 addresses.
        size = network.num_addresses if network.version == 4 else min(network.num_addresses, 2**16)
        spare = 2 if network.version == 4 else 1
        first = int(network.network_address) + 1
        last = first + size - 1 - spare
        self.band = Band(first, last, _reserved(last - first + 1, at_least=16, step=16, at_most=256))

    def choose(self, taken: Container[str], rng: random.Random) -> str:
        """A free address.  Raises Unavailable."""
        make = ipaddress.IPv4Address if self.family == "IPv4" else ipaddress.IPv6Address
        return str(make(self.band.choose(lambda n: str(make(n)) in taken, rng)))

    def check(self, address: str, taken: Container[str]) -> None:
        """Raises Unavailable if that address cannot be given."""
        ip = ipaddress.ip_address(decimal(address))
        if ip not in self.network or not self.band.first <= int(ip) <= self.band.last:
            raise Unavailable(
                f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {self.network}"
            )
        if str(ip) in taken:
            raise Unavailable("provided IP is already allocated")


class Ports:
    """Node ports: `30000-32767` or `30000+2767`."""

    def __init__(self, text: str) -> None:
        first, sign, rest = text.partition("-")
        if sign:
            low, high = int(first), int(rest)
        else:
            first, _, rest = text.partition("+")
            low = int(first)
            high = low + int(rest or 0)
        if not 0 < low <= high <= 65535:
            raise ValueError(f"{text} is not a range of ports")
        self.text = f"{low}-{high}"
        self.band = Band(low, high, _reserved(high - low + 1, at_least=16, step=32, at_most=128))

    def choose(self, taken: Container[int], rng: random.Random) -> int:
        """A free port.  Raises Unavailable."""
        return self.band.choose(taken.__contains__, rng)

    def check(self, port: int, taken: Container[int]) -> None:
        """Raises Unavailable if that port cannot be given."""
        if not self.band.first <= port <= self.band.last:
            raise Unavailable(f"provided port is not in the valid range. The range of valid ports is {self.text}")
        if port in taken:
            raise Unavailable("provided port is already allocated")


def _reserved(size: int, *, at_least: int, step: int, at_most: int) -> int:
    """How many of the first numbers are left to requests: none of a small range, else size/step within bounds."""
    return 0 if size <= at_least else min(max(at_least, size // step), at_most)
