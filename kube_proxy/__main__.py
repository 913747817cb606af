"""`python -m kube_proxy`: upstream's flags where they exist."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from api.types import EndpointSlice, NetworkPolicy, Node, Pod, Service, ServiceCIDR
from kube_proxy.announcer import Announcer
from kube_proxy.health import Health
from kube_proxy.health_checks import HealthChecks
from kube_proxy.metrics import Metrics
from kube_proxy.nftables import Nftables, NftablesError
from kube_proxy.policies.enforcer import NAMESPACE, Enforcer
from kube_proxy.policies.members import PolicyPod
from kube_proxy.policies.table import PolicyTable
from kube_proxy.proxy import Proxy, node_address
from kube_proxy.status_ports import MODE, StatusPorts
from kube_proxy.table import Table
from kube_proxy.transactions import Layout
from machinery import addresses
from machinery.client import connect
from machinery.clocks import SYSTEM
from machinery.informers import Informer
from machinery.running import CannotGoOn, main, together

PKI = Path("/etc/wherry/pki")


@dataclass(frozen=True, slots=True)
class Config:
    kubeconfig: Path
    node: str
    layout: Layout
    health_address: str
    metrics_address: str
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
    parser.add_argument(
        "--masquerade-all", nargs="?", type=_truth, const=True, default=False, metavar="true|false",
        help="clients of cluster addresses are seen as the node",
    )  # fmt: skip
    parser.add_argument("--proxy-mode", choices=(MODE,), default=MODE)
    parser.add_argument("--healthz-bind-address", default="0.0.0.0:10256", help='"" to serve none')
    parser.add_argument("--metrics-bind-address", default="127.0.0.1:10249", help='"" to serve none')
    parser.add_argument("-v", dest="verbosity", type=int, default=0)
    given = parser.parse_args(arguments)
    return Config(
        kubeconfig=given.kubeconfig,
        node=given.hostname_override,
        layout=Layout(
            given.service_cluster_ip_range,
            given.cluster_cidr,
            given.nodeport_addresses,
            masquerade_all=given.masquerade_all,
        ),
        health_address=given.healthz_bind_address,
        metrics_address=given.metrics_bind_address,
        verbosity=given.verbosity,
    )


async def run(config: Config) -> None:
    try:
        table, policy_table = Table(Nftables(), config.layout), PolicyTable(Nftables())
    except NftablesError as e:
        raise CannotGoOn(str(e)) from e
    health, metrics = Health(SYSTEM), Metrics(SYSTEM.now)
    ports = StatusPorts(health, metrics, health_address=config.health_address, metrics_address=config.metrics_address)
    async with connect(config.kubeconfig) as client:
        services, slices = Informer(client, Service), Informer(client, EndpointSlice)
        cidrs, nodes = Informer(client, ServiceCIDR), Informer(client, Node)
        pods = Informer(client, Pod, field_selector=f"spec.nodeName={config.node}")
        proxy = Proxy(
            services, slices, nodes, pods, cidrs, table,
            node=config.node, service_range=config.layout.service_range, readiness=health,
            metrics=metrics,
        )  # fmt: skip
        nodes.on_change(lambda old, new: health.see(nodes.get("", config.node)))
        here = addresses.stays(lambda: node_address(nodes.get("", config.node)))
        announcer = Announcer(services, slices, nodes, node=config.node, holds=proxy.holds)
        checks = HealthChecks(services, slices, node=config.node, healthy=lambda: proxy.healthy)
        policies = Informer(client, NetworkPolicy)
        everywhere = Informer(client, NAMESPACE), Informer(client, PolicyPod)
        enforcer = Enforcer(policies, *everywhere, nodes, policy_table, node=config.node)
        told = (services.run(), slices.run(), nodes.run(), pods.run(), cidrs.run(), policies.run())
        await together(ports.run(), *told, proxy.run(), announcer.run(), checks.run(), enforcer.run(), here)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"neither true nor false: {text}")
    return text == "true"


def _network(text: str) -> str:
    return str(IPv4Network(text)) if text else ""


def _networks(text: str) -> tuple[str, ...]:
    return tuple(_network(each) for each in text.split(",") if each)


if __name__ == "__main__":
    config = parse()
    main("kube-proxy", lambda: run(config), verbosity=config.verbosity)
