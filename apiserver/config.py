"""The API server's flags, under upstream's names, as one frozen object."""

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    etcd_servers: tuple[str, ...]
    etcd_ca: Path | None = None
    etcd_certificate: Path | None = None
    etcd_key: Path | None = None
    bind_address: str = "0.0.0.0"  # noqa: S104 - a server of the cluster listens on every address
    advertise_address: str = ""
    """Where the cluster reaches this server; "" leaves the `kubernetes` Service without endpoints."""
    secure_port: int = 6443
    grpc_port: int = 6444
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    tokens: Path | None = None
    kubelet_ca: Path | None = None
    kubelet_certificate: Path | None = None
    kubelet_key: Path | None = None
    service_cluster_ip_range: str = "10.96.0.0/16"
    service_node_port_range: str = "30000-32767"
    account_issuer: str = "https://kubernetes.default.svc.cluster.local"
    account_signing_key: Path | None = None
    """None: there are no service account tokens."""
    account_keys: tuple[Path, ...] = ()
    """More keys that tokens may be signed with: those of other API servers, and yesterday's."""
    event_seconds: float = 3600.0
    """How long events are kept after they were last written."""
    verbosity: int = 0

    @property
    def first_service_address(self) -> str:
        """The cluster IP of the `kubernetes` Service."""
        return str(ipaddress.ip_network(self.service_cluster_ip_range.split(",")[0])[1])


_DEFAULTS = Config(())


def parse(arguments: Sequence[str] | None = None) -> Config:
    """Ends the process with a usage message if the flags make no sense."""
    parser = argparse.ArgumentParser("apiserver", description="The Kubernetes API: REST and gRPC before etcd.")
    add = parser.add_argument
    add("--etcd-servers", required=True, help="comma-separated URLs")
    add("--etcd-cafile", type=Path)
    add("--etcd-certfile", type=Path)
    add("--etcd-keyfile", type=Path)
    add("--bind-address", default=_DEFAULTS.bind_address)
    add("--advertise-address", default="")
    add("--secure-port", type=int, default=_DEFAULTS.secure_port, help="REST")
    add("--grpc-port", type=int, default=_DEFAULTS.grpc_port)
    add("--tls-cert-file", type=Path, required=True)
    add("--tls-private-key-file", type=Path, required=True)
    add("--client-ca-file", type=Path, required=True)
    add("--token-auth-file", type=Path)
    add("--kubelet-certificate-authority", type=Path)
    add("--kubelet-client-certificate", type=Path)
    add("--kubelet-client-key", type=Path)
    add("--service-cluster-ip-range", default=_DEFAULTS.service_cluster_ip_range)
    add("--service-node-port-range", default=_DEFAULTS.service_node_port_range)
    add("--service-account-issuer", default=_DEFAULTS.account_issuer)
    add("--service-account-signing-key-file", type=Path)
    add("--service-account-key-file", type=Path, action="append", default=[], help="may be given several times")
    add("--event-ttl", type=_seconds, default=_DEFAULTS.event_seconds, help="how long events are kept: 1h0m0s")
    add("-v", dest="verbosity", type=int, default=0)
    flags = parser.parse_args(arguments)
    try:
        for cidr in flags.service_cluster_ip_range.split(","):
            ipaddress.ip_network(cidr)
    except ValueError as e:
        parser.error(f"--service-cluster-ip-range: {e}")
    return Config(
        etcd_servers=tuple(s.strip() for s in flags.etcd_servers.split(",") if s.strip()),
        etcd_ca=flags.etcd_cafile,
        etcd_certificate=flags.etcd_certfile,
        etcd_key=flags.etcd_keyfile,
        bind_address=flags.bind_address,
        advertise_address=flags.advertise_address,
        secure_port=flags.secure_port,
        grpc_port=flags.grpc_port,
        certificate=flags.tls_cert_file,
        key=flags.tls_private_key_file,
        client_ca=flags.client_ca_file,
        tokens=flags.token_auth_file,
        kubelet_ca=flags.kubelet_certificate_authority,
        kubelet_certificate=flags.kubelet_client_certificate,
        kubelet_key=flags.kubelet_client_key,
        service_cluster_ip_range=flags.service_cluster_ip_range,
        service_node_port_range=flags.service_node_port_range,
        account_issuer=flags.service_account_issuer,
        account_signing_key=flags.service_account_signing_key_file,
        account_keys=tuple(flags.service_account_key_file),
        event_seconds=flags.event_ttl,
        verbosity=flags.verbosity,
    )


def _seconds(text: str) -> float:
    """A duration as Go writes it: 1h0m0s."""
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?[hms])+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 1h0m0s")
    return sum(float(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in re.findall(r"([0-9.]+)([hms])", text))
