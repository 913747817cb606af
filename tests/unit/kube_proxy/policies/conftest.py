from collections.abc import Iterator

import pytest

from kube_proxy.nftables import Nftables
from kube_proxy.policies.table import PolicyTable
from tests.unit.kube_proxy.networks import Network, inside
from tests.unit.kube_proxy.policies.clusters import PODS, PORTS, TCP, UDP, Cluster


@pytest.fixture(scope="session")
def pods_network() -> Iterator[Network]:
    """A node with the nine pods, and a machine outside."""
    made = Network("npt")
    try:
        for name, address in PODS.items():
            of = made.pod(address)
            for port in PORTS:
                made.serve(of, name, port, TCP)
                made.serve(of, name, port, UDP)
        yield made
    finally:
        made.close()


@pytest.fixture
def policy_kernel(pods_network: Network) -> Iterator[Nftables]:
    with inside(pods_network.node):
        found = Nftables()
        try:
            yield found
        finally:
            found.run("table ip kube-policies\ndelete table ip kube-policies")
            found.close()


@pytest.fixture
def policy_table(policy_kernel: Nftables) -> PolicyTable:
    return PolicyTable(policy_kernel)


@pytest.fixture
def cluster(pods_network: Network, policy_table: PolicyTable) -> Cluster:
    return Cluster(pods_network, policy_table)
