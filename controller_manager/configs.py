"""The controller manager's flags, with upstream's names, and the one object that they become.

https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path

from machinery.flags import feature_gates
from machinery.leases import Timing
from machinery.serving import Files

PKI = Path("/etc/wherry/pki")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    kubeconfig: Path = PKI / "kubeconfig"
    controllers: tuple[str, ...] = ("*",)
    leader_elect: bool = True
    lease: str = "kube-controller-manager"
    identity: str = ""
    """In the election; "" is a random one."""
    timing: Timing = field(default_factory=Timing)
    address: str = "0.0.0.0:10257"
    tls: Files = field(default_factory=lambda: Files(PKI / "tls.crt", PKI / "tls.key", PKI / "ca.crt"))
    allowed: tuple[str, ...] = ("kubernetes-admin",)
    """Who may call the gRPC service and see the metrics."""
    gates: frozenset[str] = frozenset()
    """The feature gates that are on."""
    metrics_address: str = ""
    """Where /metrics and /healthz are served over HTTPS; "": nowhere."""
    cluster_cidr: IPv4Network | IPv6Network = IPv4Network("10.244.0.0/16")  # noqa: RUF009  it cannot be changed
    node_cidr_mask_size: int = 24
    node_monitor_grace_period: float = 40.0
    node_startup_grace_period: float = 60.0
    node_eviction_rate: float = 0.1
    """Nodes whose pods begin to be evicted, per second and zone."""
    unhealthy_zone_threshold: float = 0.55
    large_cluster_size_threshold: int = 50
    secondary_node_eviction_rate: float = 0.01
    terminated_pod_gc_threshold: int = 12500
    root_ca_file: Path = PKI / "ca.crt"
    signing_certificate: Path | None = None
    """Without it and its key, approved certificate signing requests wait for another signer."""
    signing_key: Path | None = None
    signing_seconds: float = 365 * 24 * 3600.0
    """The longest that a certificate lasts."""
    service_lb_addresses: tuple[tuple[IPv4Address, IPv4Address], ...] = ()
    """First and last ones of what services of type LoadBalancer get."""
    concurrent_syncs: int = 5
    verbosity: int = 0

    def enabled(self, name: str) -> bool:
        """Whether the controller `name` runs: `--controllers` as upstream reads it."""
        if name in self.controllers:
            return True
        return "*" in self.controllers and f"-{name}" not in self.controllers


def seconds(text: str) -> float:
    """A Go duration, `1m30s`, in seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
    if text == "0":
        return 0.0
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)", text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise argparse.ArgumentTypeError(f'invalid duration "{text}"')
    return sum(float(n) * units[u] for n, u in parts)


def boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f'invalid boolean "{text}"')
    return text.lower() == "true"


def spans(text: str) -> tuple[tuple[IPv4Address, IPv4Address], ...]:
    """`10.0.0.7,10.0.0.10-10.0.0.20,10.0.1.0/28` as first and last addresses."""
    found = []
    for part in filter(None, text.split(",")):
        try:
            if "/" in part:
                network = IPv4Network(part)
                found.append((network[0], network[-1]))
            else:
                first, _, last = part.partition("-")
                found.append((IPv4Address(first), IPv4Address(last or first)))
        except ValueError as e:
            raise argparse.ArgumentTypeError(str(e)) from e
        if found[-1][0] > found[-1][1]:
            raise argparse.ArgumentTypeError(f'the range "{part}" ends before it begins')
    return tuple(found)


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="controller_manager", description="Runs the controllers of a cluster.")
    d = Config()
    add = flags.add_argument
    add("--kubeconfig", type=Path, default=d.kubeconfig)
    add("--controllers", default="*", help="names, * for all, -NAME for all but that one; separated by commas")
    add("--leader-elect", type=boolean, nargs="?", const=True, default=d.leader_elect)
    add("--leader-elect-resource-name", default=d.lease)
    add(
        "--leader-elect-identity", default="",
        help="goes on at once with a lease held under this name: for one process at a time; by default a random one",
    )  # fmt: skip
    add("--leader-elect-lease-duration", type=seconds, default=d.timing.duration)
    add("--leader-elect-renew-deadline", type=seconds, default=d.timing.renew_deadline)
    add("--leader-elect-retry-period", type=seconds, default=d.timing.retry)
    add("--bind-address", default="0.0.0.0")  # noqa: S104  every port asks for a client certificate
    add("--secure-port", type=int, default=10257)
    add("--tls-cert-file", type=Path, default=d.tls.certificate)
    add("--tls-private-key-file", type=Path, default=d.tls.key)
    add("--client-ca-file", type=Path, default=d.tls.client_ca)
    add(
        "--allowed-users", default=",".join(d.allowed),
        help="who may call the gRPC service and see /metrics, separated by commas",
    )  # fmt: skip
    add(
        "--metrics-bind-address", default=d.metrics_address, metavar="HOST:PORT",
        help="serve /metrics and /healthz over HTTPS there (upstream's port for them is gRPC's here); default: nowhere",
    )  # fmt: skip
    add("--cluster-cidr", type=ip_network, default=d.cluster_cidr)
    add("--node-cidr-mask-size", type=int, default=d.node_cidr_mask_size)
    add("--node-monitor-grace-period", type=seconds, default=d.node_monitor_grace_period)
    add("--node-startup-grace-period", type=seconds, default=d.node_startup_grace_period)
    add("--node-eviction-rate", type=float, default=d.node_eviction_rate)
    add("--secondary-node-eviction-rate", type=float, default=d.secondary_node_eviction_rate)
    add("--unhealthy-zone-threshold", type=float, default=d.unhealthy_zone_threshold)
    add("--large-cluster-size-threshold", type=int, default=d.large_cluster_size_threshold)
    add("--terminated-pod-gc-threshold", type=int, default=d.terminated_pod_gc_threshold)
    add("--root-ca-file", type=Path, default=d.root_ca_file)
    add("--cluster-signing-cert-file", type=Path, help="the authority of certificates that are asked for")
    add("--cluster-signing-key-file", type=Path)
    add("--cluster-signing-duration", type=seconds, default=d.signing_seconds)
    add(
        "--service-lb-addresses", type=spans, default=d.service_lb_addresses,
        help="IPv4 addresses, ranges A-B or CIDRs, separated by commas, for services of type LoadBalancer",
    )  # fmt: skip
    add("--feature-gates", type=feature_gates, default=d.gates, metavar="GenericWorkload=true")
    add("--concurrent-syncs", type=int, default=d.concurrent_syncs, help="workers of each controller")
    add("-v", "--v", type=int, default=0, dest="verbosity", help="2 and more: say everything")
    return flags


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Flags → Config; ends the process with a usage message if they make no sense."""
    flags = parser()
    a = flags.parse_args(arguments)
    if not a.cluster_cidr.prefixlen <= a.node_cidr_mask_size <= a.cluster_cidr.max_prefixlen:
        flags.error("--node-cidr-mask-size must not be smaller than the mask of --cluster-cidr")
    return Config(
        kubeconfig=a.kubeconfig, controllers=tuple(a.controllers.split(",")), leader_elect=a.leader_elect,
        lease=a.leader_elect_resource_name, identity=a.leader_elect_identity,
        timing=Timing(
            a.leader_elect_lease_duration, a.leader_elect_renew_deadline, a.leader_elect_retry_period
        ),
        address=f"{a.bind_address}:{a.secure_port}",
        tls=Files(a.tls_cert_file, a.tls_private_key_file, a.client_ca_file),
        allowed=tuple(a.allowed_users.split(",")), metrics_address=a.metrics_bind_address, cluster_cidr=a.cluster_cidr,
        node_cidr_mask_size=a.node_cidr_mask_size, node_monitor_grace_period=a.node_monitor_grace_period,
        node_startup_grace_period=a.node_startup_grace_period, node_eviction_rate=a.node_eviction_rate,
        secondary_node_eviction_rate=a.secondary_node_eviction_rate,
        unhealthy_zone_threshold=a.unhealthy_zone_threshold,
        large_cluster_size_threshold=a.large_cluster_size_threshold,
        terminated_pod_gc_threshold=a.terminated_pod_gc_threshold, root_ca_file=a.root_ca_file,
        signing_certificate=a.cluster_signing_cert_file, signing_key=a.cluster_signing_key_file,
        signing_seconds=a.cluster_signing_duration,
        service_lb_addresses=a.service_lb_addresses,
        gates=a.feature_gates, concurrent_syncs=a.concurrent_syncs, verbosity=a.verbosity,
    )  # fmt: skip
