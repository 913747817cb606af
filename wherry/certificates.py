"""The lab's certificates: one directory for each component, as compose.yaml mounts them.

Each holds `ca.crt`, `tls.crt`, `tls.key` and `kubeconfig`. The authority's own key stays in `ca/`, which no component
mounts; the controller manager, which signs certificates that are asked for, has a copy. etcd, which lets in whoever has
a certificate of the authority that it knows, knows another one (`etcd-ca/`). The API servers' directory also has
`sa.key` and `sa.pub`, with which service account tokens are signed, `encryption.yaml`, which says how Secrets lie in
etcd, `etcd-*`, by which etcd knows them, and `front-proxy-*`, which make aggregated API servers believe it. Run as a
program this is the one-shot
service `certificates` of compose.yaml; it needs nothing of the lab's command line, because the component image does
not have it.
"""

import argparse
import base64
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from machinery import kubeconfigs
from machinery.certificates import Authority, Subject, public_half, signing_pair
from machinery.kubeconfigs import Access
from machinery.pairs import Pair, matching, replace

# The API servers' port for gRPC, as components reach it inside the lab's network.
INSIDE = "https://apiserver:6444"
NETWORK = "10.123.0"
SERVICE_ADDRESS = "10.96.0.1"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
KUBERNETES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")

CLUSTER, STORAGE, PROXIES = "ca", "etcd-ca", "front-proxy-ca"
AUTHORITIES = {CLUSTER: "wherry", PROXIES: "wherry-front-proxy", STORAGE: "wherry-etcd"}
"""Directory → common name."""
ETCD = "etcd"
ETCD_CLIENT = "etcd-client"
FRONT_PROXY = "front-proxy-client"
ENCRYPTION = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aesgcm: {{keys: [{{name: key1, secret: {secret}}}]}}
  - identity: {{}}
"""


def subjects(nodes: Sequence[str], network: str = NETWORK) -> Iterator[tuple[str, Subject]]:
    """Directory name and subject of every component. `network` is the first three numbers of the lab's /24.

    Addresses are the ones that compose.yaml gives: etcd .10–.19, API servers .20–.29, controller managers .30,
    schedulers .40, cluster DNS .50, and the node of number N at .100 + N. Several of one kind share a directory.
    """
    api_servers = tuple(f"{network}.{20 + n}" for n in range(10))
    names = ("apiserver", *(f"apiserver{n}" for n in range(1, 10)))
    hosts = (*LOOPBACK, *names, *KUBERNETES, SERVICE_ADDRESS, *api_servers)
    yield "apiserver", Subject("system:apiserver", ("system:masters",), hosts)
    members = tuple(f"{network}.{10 + n}" for n in range(10))
    yield ETCD, Subject(ETCD, (), (*LOOPBACK, "etcd", *(f"etcd{n}" for n in range(1, 10)), *members))
    yield (
        "controller-manager",
        Subject("system:kube-controller-manager", (), (*LOOPBACK, "controller-manager", "controller-manager1")),
    )
    yield "scheduler", Subject("system:kube-scheduler", (), (*LOOPBACK, "scheduler", "scheduler1"))
    yield "cluster-dns", Subject("system:kube-dns", (), (*LOOPBACK, "cluster-dns", "cluster-dns1"))
    yield "admin", Subject("kubernetes-admin", ("system:masters",))
    for node in nodes:
        here = (*LOOPBACK, node, address_of(node, network))
        yield f"{node}-kubelet", Subject(f"system:node:{node}", ("system:nodes",), here)
        yield f"{node}-kube-proxy", Subject("system:kube-proxy", ("system:node-proxier",), here)


def address_of(node: str, network: str = NETWORK) -> str:
    return f"{network}.{100 + int(node.removeprefix('node'))}"


@dataclass(frozen=True, slots=True)
class Holding:
    """A certificate and where it lies: `tls.crt`, `tls.key` and `kubeconfig` of a component, or another pair beside."""

    name: str
    directory: str
    subject: Subject
    authority: str
    """The directory of the one that issues it; its holders know it as `trusted`."""
    stem: str = "tls"
    trusted: str = "ca.crt"


def holdings(nodes: Sequence[str], network: str = NETWORK) -> Iterator[Holding]:
    """All there are, but for the authorities' own. The front proxy's is of an authority of its own, since whoever has
    it would be believed anything; etcd's too: it asks nobody for a name, so with the cluster's a node's certificate
    would open every secret."""
    for name, authority in ((FRONT_PROXY, PROXIES), (ETCD_CLIENT, STORAGE)):
        yield Holding(name, "apiserver", Subject(name), authority, name, f"{authority}.crt")
    for name, subject in subjects(nodes, network):
        yield Holding(name, name, subject, STORAGE if name == ETCD else CLUSTER)


def write(directory: Path, nodes: Sequence[str], network: str = NETWORK, renew: Collection[str] = ()) -> list[str]:
    """Makes what is missing or no longer good enough, or is to be renewed, keeps the rest; returns the names of what it
    wrote.

    Files are replaced, directories never: compose mounts them before this has run.
    """
    authorities = {name: authority_of(directory, name) for name in AUTHORITIES}
    written = [*_account_keys(directory / "apiserver"), *_encryption(directory / "apiserver")]
    for holding in holdings(nodes, network):
        place, authority = directory / holding.directory, authorities[holding.authority]
        pair = None if holding.name in renew else held(directory, holding)
        if pair is None or not authority.still_serves(pair.certificate, holding.subject):
            pair = authority.issue(holding.subject)
        changed = [_keep(place / holding.trusted, authority.pair.certificate, 0o644)]
        changed += [_keep(place / f"{holding.stem}.key", pair.key, 0o600)]
        if holding.stem == "tls":
            changed += [_keep(place / "kubeconfig", _config(authority.pair, pair, holding.subject.user), 0o600)]
        if any([*changed, _keep(place / f"{holding.stem}.crt", pair.certificate, 0o644)]):
            written.append(holding.name)
    # After the certificate that goes with it: the controller manager goes on with the old ones in between.
    if _keep(directory / "controller-manager" / "ca.key", authorities[CLUSTER].pair.key, 0o600):
        written.append("signing key")
    return written


def held(directory: Path, holding: Holding) -> Pair | None:
    """None if it is not there, or not whole."""
    place = directory / holding.directory
    try:
        return matching(place / f"{holding.stem}.crt", place / f"{holding.stem}.key")
    except (OSError, ValueError):
        return None


def _keep(path: Path, content: bytes, mode: int) -> bool:
    """Whether the file had to be written."""
    if path.exists() and path.read_bytes() == content:
        return False
    replace(path, content, mode)
    return True


def access(directory: Path, server: str, cluster: str) -> bytes:
    """The administrator's kubeconfig for a server address outside of the lab's network."""
    held = kubeconfigs.load(directory / "admin" / "kubeconfig")
    return kubeconfigs.dump(Access(server, held.ca, held.certificate, held.key), cluster, "kubernetes-admin").encode()


def _config(authority: Pair, pair: Pair, user: str) -> bytes:
    return kubeconfigs.dump(Access(INSIDE, authority.certificate, pair.certificate, pair.key), "wherry", user).encode()


def _account_keys(place: Path) -> list[str]:
    """The pair that service account tokens are signed with, which all API servers share."""
    if (place / "sa.key").exists() and (place / "sa.pub").exists():
        return []
    renew_account_keys(place)
    return ["service account keys"]


def renew_account_keys(place: Path) -> None:
    """What earlier keys have signed stays good: their public halves stay in the file after the new one's."""
    pair, known = signing_pair(), place / "sa.pub"
    # In this order: nobody signs with a key that another API server does not know yet.
    replace(known, pair.public + (known.read_bytes() if known.exists() else b""), 0o644)
    replace(place / "sa.key", pair.private, 0o600)


def forget_account_keys(place: Path) -> None:
    """All but the one that signs."""
    replace(place / "sa.pub", public_half((place / "sa.key").read_bytes()), 0o644)


def _encryption(place: Path) -> list[str]:
    """What Secrets are encrypted with, the same for all API servers; never replaced, because whatever was written with
    the key is unreadable without it. What was written before there was one stays readable."""
    path = place / "encryption.yaml"
    if path.exists():
        return []
    replace(path, ENCRYPTION.format(secret=base64.b64encode(secrets.token_bytes(32)).decode()).encode(), 0o600)
    return ["encryption key"]


def authority_of(directory: Path, name: str) -> Authority:
    """One of AUTHORITIES, which is made if it is not there."""
    certificate, key = directory / name / "ca.crt", directory / name / "ca.key"
    if certificate.exists() and key.exists():
        return Authority(Pair(certificate.read_bytes(), key.read_bytes()))
    authority = Authority.create(AUTHORITIES[name])
    replace(key, authority.pair.key, 0o600)
    replace(certificate, authority.pair.certificate, 0o644)
    return authority


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="wherry certificates", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, dest="directory", help="where the directories go")
    parser.add_argument("--nodes", nargs="*", default=["node1", "node2", "node3"], help="names of the lab's nodes")
    parser.add_argument("--network", default=NETWORK, help="first three numbers of the lab's /24")
    asked = parser.parse_args(arguments)
    written = write(asked.directory, asked.nodes, asked.network)
    print(f"certificates: wrote {', '.join(written)}" if written else "certificates: all there")


if __name__ == "__main__":
    main()
