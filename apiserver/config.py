"""The API server's flags, under upstream's names, as one frozen object."""

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from apiserver.auditing.logs import Limits
from apiserver.authentication.proxies import ProxySettings
from machinery.flags import feature_gates, truth


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
    token_port: int = 0
    """The gRPC door for clients without a certificate, who have a token; 0: there is none."""
    share_port: bool = False
    """Other API servers may listen on the same addresses and ports; the kernel deals connections out."""
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    tokens: Path | None = None
    anonymous: bool = True
    proxies: ProxySettings | None = None
    """Whom to believe when they say on whose behalf they ask; None: nobody."""
    proxy_certificate: Path | None = None
    proxy_key: Path | None = None
    """What this server shows to API servers and others behind it, so that they believe whom it says it asks for."""
    audit_policy: Path | None = None
    audit_log: str = ""
    """A file, or - for standard output; "" and no policy: nothing is told."""
    audit_limits: Limits = Limits()  # noqa: RUF009  it cannot be changed
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
    encryption: Path | None = None
    """What is encrypted in etcd, and how; None: nothing."""
    reads: int = 100
    writes: int = 50
    """Together: how many requests may be worked on at once, shared out among the levels.  Upstream's 400 and 200
    are for many cores: what one event loop has begun beyond this only waits there, where nobody's turn counts."""
    event_seconds: float = 3600.0
    """How long events are kept after they were last written."""
    shutdown_delay: float = 0.0
    """Seconds for which a server that is asked to stop still serves, so that those in front of it notice."""
    gates: frozenset[str] = frozenset()
    """The feature gates that are on."""
    verbosity: int = 0

    @property
    def service_cidrs(self) -> list[str]:
        return [cidr.strip() for cidr in self.service_cluster_ip_range.split(",")]

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
    add("--grpc-token-port", type=int, default=0, help="gRPC without client certificates, for those who have a token")
    share = partial(add, nargs="?", type=truth, const=True, default=False, metavar="true|false")
    share("--permit-port-sharing", help="SO_REUSEPORT: several API servers on one port")
    share("--permit-address-sharing", help="SO_REUSEADDR: that is always so")
    add("--tls-cert-file", type=Path, required=True)
    add("--tls-private-key-file", type=Path, required=True)
    add("--client-ca-file", type=Path, required=True)
    add("--token-auth-file", type=Path)
    add("--anonymous-auth", nargs="?", type=truth, const=True, default=True, metavar="true|false")
    add("--requestheader-client-ca-file", type=Path, help="the authority of proxies that say who asks")
    add("--requestheader-allowed-names", type=_words, default=(), help="common names of their certificates")
    add("--requestheader-username-headers", type=_words, default=("X-Remote-User",))
    add("--requestheader-uid-headers", type=_words, default=())
    add("--requestheader-group-headers", type=_words, default=("X-Remote-Group",))
    add("--requestheader-extra-headers-prefix", type=_words, default=("X-Remote-Extra-",))
    add("--proxy-client-cert-file", type=Path, help="shown to aggregated API servers")
    add("--proxy-client-key-file", type=Path)
    add("--audit-policy-file", type=Path)
    add("--audit-log-path", default="", help="- is standard output")
    add("--audit-log-format", choices=("json",), default="json")
    add("--audit-log-maxsize", type=int, default=100, help="megabytes; 0: never begin a new file")
    add("--audit-log-maxbackup", type=int, default=0)
    add("--audit-log-maxage", type=int, default=0, help="days")
    add("--kubelet-certificate-authority", type=Path)
    add("--kubelet-client-certificate", type=Path)
    add("--kubelet-client-key", type=Path)
    add("--service-cluster-ip-range", default=_DEFAULTS.service_cluster_ip_range)
    add("--service-node-port-range", default=_DEFAULTS.service_node_port_range)
    add("--service-account-issuer", default=_DEFAULTS.account_issuer)
    add("--service-account-signing-key-file", type=Path)
    add("--service-account-key-file", type=Path, action="append", default=[], help="may be given several times")
    add("--encryption-provider-config", type=Path, help="an EncryptionConfiguration")
    add("--event-ttl", type=_seconds, default=_DEFAULTS.event_seconds, help="how long events are kept: 1h0m0s")
    add("--max-requests-inflight", type=int, default=_DEFAULTS.reads, help="and the next: seats of all levels")
    add("--max-mutating-requests-inflight", type=int, default=_DEFAULTS.writes)
    add("--shutdown-delay-duration", type=_seconds, default=0.0, help="how long to serve on, no longer ready: 2s")
    add("--feature-gates", type=feature_gates, default=frozenset(), metavar="GenericWorkload=true")
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
        token_port=flags.grpc_token_port,
        reads=flags.max_requests_inflight,
        writes=flags.max_mutating_requests_inflight,
        share_port=flags.permit_port_sharing,
        certificate=flags.tls_cert_file,
        key=flags.tls_private_key_file,
        client_ca=flags.client_ca_file,
        tokens=flags.token_auth_file,
        anonymous=flags.anonymous_auth,
        proxies=_proxies(flags),
        proxy_certificate=flags.proxy_client_cert_file,
        proxy_key=flags.proxy_client_key_file,
        audit_policy=flags.audit_policy_file,
        audit_log=flags.audit_log_path,
        audit_limits=Limits(flags.audit_log_maxsize, flags.audit_log_maxbackup, flags.audit_log_maxage),
        kubelet_ca=flags.kubelet_certificate_authority,
        kubelet_certificate=flags.kubelet_client_certificate,
        kubelet_key=flags.kubelet_client_key,
        service_cluster_ip_range=flags.service_cluster_ip_range,
        service_node_port_range=flags.service_node_port_range,
        account_issuer=flags.service_account_issuer,
        account_signing_key=flags.service_account_signing_key_file,
        account_keys=tuple(flags.service_account_key_file),
        encryption=flags.encryption_provider_config,
        event_seconds=flags.event_ttl,
        shutdown_delay=flags.shutdown_delay_duration,
        gates=flags.feature_gates,
        verbosity=flags.verbosity,
    )


def _proxies(flags: argparse.Namespace) -> ProxySettings | None:
    if flags.requestheader_client_ca_file is None:
        return None
    return ProxySettings(
        flags.requestheader_client_ca_file,
        flags.requestheader_allowed_names,
        flags.requestheader_username_headers,
        flags.requestheader_uid_headers,
        flags.requestheader_group_headers,
        flags.requestheader_extra_headers_prefix,
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _seconds(text: str) -> float:
    """A duration as Go writes it: 1h0m0s."""
    if not re.fullmatch(r"([0-9]+(\.[0-9]+)?[hms])+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 1h0m0s")
    return sum(float(n) * {"h": 3600, "m": 60, "s": 1}[unit] for n, unit in re.findall(r"([0-9.]+)([hms])", text))
