"""What the kubelet's flags say of its own certificates, under upstream's names."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from machinery.flags import truth


@dataclass(frozen=True, slots=True)
class CertificateConfig:
    directory: Path
    renews_client: bool
    renews_server: bool
    bootstrap: Path | None
    """The kubeconfig of whoever may ask for a kubelet's first certificate."""

    @property
    def client(self) -> Path:
        return self.directory / "kubelet-client-current.pem"

    @property
    def server(self) -> Path:
        return self.directory / "kubelet-server-current.pem"

    @property
    def client_pair(self) -> Path | None:
        """What counts instead of what the kubeconfig says of the user, once it is there."""
        return self.client if self.renews_client else None


def add_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--rotate-certificates", nargs="?", type=truth, const=True, default=False, metavar="true|false",
        help="ask the API server for a new client certificate before the present one ends",
    )  # fmt: skip
    add(
        "--rotate-server-certificates", nargs="?", type=truth, const=True, default=False, metavar="true|false",
        help="ask the API server for the serving certificate, instead of --tls-cert-file; somebody must approve that",
    )  # fmt: skip
    add("--cert-dir", type=Path, default=None, help="of certificates that are asked for; by default pki in the root")
    add(
        "--bootstrap-kubeconfig", type=Path, default=None,
        help="asks for the first client certificate, and writes --kubeconfig, if that cannot be used",
    )  # fmt: skip


def read(flags: argparse.Namespace, root: Path) -> CertificateConfig:
    """Raises ValueError."""
    asks = flags.rotate_certificates or flags.rotate_server_certificates or flags.bootstrap_kubeconfig is not None
    if asks and flags.simulated_nodes > 1:
        raise ValueError("many nodes in one process share one certificate, and cannot ask for their own")
    return CertificateConfig(
        flags.cert_dir or root / "pki", flags.rotate_certificates, flags.rotate_server_certificates,
        flags.bootstrap_kubeconfig,
    )  # fmt: skip
