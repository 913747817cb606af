"""`python -m kube_proxy`: upstream's flags where they exist."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from api.types import EndpointSlice, NetworkPolicy, Node, Pod, Service
from kube_proxy.announcer import Announcer
from kube_proxy.health_checks import HealthChecks
from kube_proxy.nftables import Nftables, NftablesError
from kube_proxy.policies.enforcer import NAMESPACE, Enforcer
from kube_proxy.policies.members import PolicyPod
from kube_proxy.policies.table import PolicyTable
from kube_proxy.proxy import Proxy, node_address
from kube_proxy.table import Table
from kube_proxy.transactions import Layout
from machinery import addresses
from machinery.client import connect
from machinery.informers import Informer
from machinery.running import CannotGoOn, main, together
from machinery.serving import Files, Server

PKI = Path("/etc/wherry/pki")


@dataclass(frozen=True, slots=True)
class Config:
    kubeconfig: Path
    node: str
    layout: Layout
    address: str
    files: Files
    verbosity: int = 0


def parse(arguments: Sequence[str] | None = None) -> Config:
    parser = argparse.ArgumentParser(
        "kube_proxy", description="Programs this node's kernel with the cluster's services."
    )
    parser.add_argument("--kubeconfig", type=Path, default=PKI / "kubeconfig")
    parser.add_argument("--hostname-override", required=True, help="the name of this node's Node object")
    parser.add_argument("--cluster-cidr", type=_network, default="", help="where pods live; others are masqueraded")
    parser.add_argument("--service-cluster-ip-range", type=_network, default="10.96.0.0/16")
    parser.add_argument(
        "--nodeport-addresses", type=_networks, default=(), help="CIDRs of local addresses that serve node ports"
    )
    parser.add_argument("--bind-address", default="0.0.0.0")  # noqa: S104  every port asks for a client certificate
    parser.add_argument("--secure-port", type=int, default=10256)
    parser.add_argument("--tls-cert-file", type=Path, default=PKI / "tls.crt")
    parser.add_argument("--tls-private-key-file", type=Path, default=PKI / "tls.key")
    parser.add_argument("--client-ca-file", type=Path, default=PKI / "ca.crt")
    parser.add_argument("-v", dest="verbosity", type=int, default=0)
    given = parser.parse_args(arguments)
    return Config(
        kubeconfig=given.kubeconfig,
        node=given.hostname_override,
        layout=Layout(given.service_cluster_ip_range, given.cluster_cidr, given.nodeport_addresses),
        address=f"{given.bind_address}:{given.secure_port}",
        files=Files(given.tls_cert_file, given.tls_private_key_file, given.client_ca_file),
        verbosity=given.verbosity,
    )


async def run(config: Config) -> None:
    try:
        table, policy_table = Table(Nftables(), config.layout), PolicyTable(Nftables())
    except NftablesError as e:
        raise CannotGoOn(str(e)) from e
    server = Server(config.address, config.files, lambda _: None)
    async with connect(config.kubeconfig) as client:
        services, slices = Informer(client, Service), Informer(client, EndpointSlice)
        nodes, pods = Informer(client, Node), Informer(client, Pod, field_selector=f"spec.nodeName={config.node}")
        proxy = Proxy(
            services, slices, nodes, pods, table,
            node=config.node, service_range=config.layout.service_range, readiness=server,
        )  # fmt: skip
        here = addresses.stays(lambda: node_address(nodes.get("", config.node)))
        announcer = Announcer(services, slices, nodes, node=config.node, holds=proxy.holds)
        checks = HealthChecks(services, slices, node=config.node, healthy=lambda: proxy.healthy)
        policies = Informer(client, NetworkPolicy)
        everywhere = Informer(client, NAMESPACE), Informer(client, PolicyPod)
        enforcer = Enforcer(policies, *everywhere, nodes, policy_table, node=config.node)
        told = (services.run(), slices.run(), nodes.run(), pods.run(), policies.run())
        await together(server.run(), *told, proxy.run(), announcer.run(), checks.run(), enforcer.run(), here)


def _network(text: str) -> str:
    return str(IPv4Network(text)) if text else ""


def _networks(text: str) -> tuple[str, ...]:
    return tuple(_network(each) for each in text.split(",") if each)


if __name__ == "__main__":
    config = parse()
    main("kube-proxy", lambda: run(config), verbosity=config.verbosity)
