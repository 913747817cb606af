"""Equal parts of an address range, each given out once. Pure."""

from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network


class Parts:
    """The parts of `network` with masks of `size` bits; the lowest free one is taken first."""

    def __init__(self, network: Network, size: int) -> None:
        self._network = network
        self._size = size
        self._shift = network.max_prefixlen - size
        self._count = 1 << (size - network.prefixlen)
        self._holders: dict[int, set[str]] = {}
        self._lowest = 0  # nothing below it is free

    def hold(self, part: str, holder: str) -> None:
        """`holder` has this part already; a part outside the range is none of ours."""
        for at in self._indexes(part):
            self._holders.setdefault(at, set()).add(holder)

    def release(self, part: str, holder: str) -> None:
        for at in self._indexes(part):
            holders = self._holders.get(at, set())
            holders.discard(holder)
            if not holders:
                self._holders.pop(at, None)
                self._lowest = min(self._lowest, at)

    def take(self, holder: str) -> str | None:
        """A free part, which is `holder`'s from now on; None if there is none left."""
        while self._lowest in self._holders:
            self._lowest += 1
        if self._lowest >= self._count:
            return None
        self._holders[self._lowest] = {holder}
        first = int(self._network.network_address) + (self._lowest << self._shift)
        return str(ip_network((first, self._size)))

    def _indexes(self, part: str) -> range:
        """Where `part` lies in the range: a larger one covers several."""
        try:
            network = ip_network(part)
        except ValueError:
            return range(0)
        if network.version != self._network.version or not network.overlaps(self._network):
            return range(0)
        base = int(self._network.network_address)
        first = max(0, (int(network.network_address) - base) >> self._shift)
        last = min(self._count - 1, (int(network.broadcast_address) - base) >> self._shift)
        return range(first, last + 1)
