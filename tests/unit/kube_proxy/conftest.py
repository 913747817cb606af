import shutil
from collections.abc import Iterator

import pytest

from kube_proxy.nftables import Nftables
from kube_proxy.table import Table
from kube_proxy.transactions import Layout
from tests.unit.kube_proxy import networks
from tests.unit.kube_proxy.networks import Network, inside

POD_A, POD_B, POD_C = "10.244.0.2", "10.244.0.3", "10.244.0.4"


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """A node with three pods that serve TCP and UDP on 8080, and a machine outside."""
    assert shutil.which("ip"), "Debian's package iproute2 is needed; scripts/test installs it"
    made = Network()
    try:
        for address in (POD_A, POD_B, POD_C):
            name = made.pod(address)
            made.serve(name, address)
            made.serve(name, address, kind=networks.socket.SOCK_DGRAM)
        yield made
    finally:
        made.close()


@pytest.fixture
def kernel(network: Network) -> Iterator[Nftables]:
    """libnftables in the node's namespace, which has no table at the end."""
    with inside(network.node):
        found = Nftables()
        try:
            yield found
        finally:
            found.run("table ip kube-proxy\ndelete table ip kube-proxy")
            found.close()


@pytest.fixture
def table(kernel: Nftables) -> Table:
    return Table(kernel, Layout(networks.SERVICE_RANGE, networks.POD_RANGE))
