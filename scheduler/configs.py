"""The scheduler's flags, with upstream's names, and the one object that they become.

https://kubernetes.io/docs/reference/command-line-tools-reference/kube-scheduler/
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from machinery.flags import duration, feature_gates
from machinery.leases import Timing
from machinery.serving import Files

PKI = Path("/etc/wherry/pki")


@dataclass(frozen=True, slots=True)
class Config:
    kubeconfig: Path
    address: str
    files: Files
    leader_elect: bool = True
    lease: str = "kube-scheduler"
    timing: Timing = field(default_factory=Timing)
    identity: str = ""
    """In the election; "" is a random one."""
    allowed: tuple[str, ...] = ("kubernetes-admin",)
    """Who may call the gRPC service."""
    metrics_address: str = ""
    """HOST:PORT of /metrics and the like over HTTPS; "" is nowhere."""
    gates: frozenset[str] = frozenset()
    """The feature gates that are on."""
    verbosity: int = 0
    file: Path | None = None
    """A KubeSchedulerConfiguration. What it says of the kubeconfig and of leader election outdoes the flags."""


def parse(arguments: Sequence[str] | None = None) -> Config:
    parser = argparse.ArgumentParser("scheduler", description="Finds a node for every pod.")
    add, d = parser.add_argument, Timing()
    add("--config", type=Path, default=None, help="a file with a KubeSchedulerConfiguration")
    add("--kubeconfig", type=Path, default=PKI / "kubeconfig")
    add("--leader-elect", type=_boolean, nargs="?", const=True, default=True)
    add("--leader-elect-resource-name", default="kube-scheduler")
    add("--leader-elect-lease-duration", type=duration, default=d.duration)
    add("--leader-elect-renew-deadline", type=duration, default=d.renew_deadline)
    add("--leader-elect-retry-period", type=duration, default=d.retry)
    add(
        "--leader-elect-identity", default="",
        help="goes on at once with a lease held under this name: for one process at a time; by default a random one",
    )  # fmt: skip
    add("--bind-address", default="0.0.0.0")  # noqa: S104  every port asks for a client certificate
    add("--secure-port", type=int, default=10259)
    add("--tls-cert-file", type=Path, default=PKI / "tls.crt")
    add("--tls-private-key-file", type=Path, default=PKI / "tls.key")
    add("--client-ca-file", type=Path, default=PKI / "ca.crt")
    add(
        "--metrics-bind-address", default="", metavar="HOST:PORT",
        help="serve /metrics, /configz, /healthz, /livez and /readyz over HTTPS there (upstream's port for them is "
        "gRPC's here); default: nowhere",
    )  # fmt: skip
    add("--feature-gates", type=feature_gates, default=frozenset(), metavar="GenericWorkload=true")
    add("-v", dest="verbosity", type=int, default=0)
    given = parser.parse_args(arguments)
    return Config(
        kubeconfig=given.kubeconfig,
        address=f"{given.bind_address}:{given.secure_port}",
        files=Files(given.tls_cert_file, given.tls_private_key_file, given.client_ca_file),
        leader_elect=given.leader_elect,
        lease=given.leader_elect_resource_name,
        timing=Timing(
            given.leader_elect_lease_duration, given.leader_elect_renew_deadline, given.leader_elect_retry_period
        ),
        identity=given.leader_elect_identity,
        metrics_address=given.metrics_bind_address,
        gates=given.feature_gates,
        verbosity=given.verbosity,
        file=given.config,
    )


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f'invalid boolean "{text}"')
    return text.lower() == "true"
