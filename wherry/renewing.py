"""`wherry certificates …`: until when the lab's certificates last, and new ones for those who hold them, while it runs.

https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/.  Nobody is restarted, since everybody looks
at the files at the next handshake; but for etcd, which reads once by whom its clients' certificates must be.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from cryptography import x509
from docker.models.containers import Container

from wherry import authorities, bringing_up, certificates, diagnoses, engine, masters
from wherry.composing import Compose
from wherry.kubectl import Kubectl
from wherry.labs import Lab, node_names
from wherry.locks import alone
from wherry.outcomes import told
from wherry.troubles import Trouble

ACCOUNTS = "service-accounts"
PUBLISHED = {
    certificates.CLUSTER: ("kube-root-ca.crt", "ca.crt"),
    certificates.PROXIES: ("extension-apiserver-authentication", "requestheader-client-ca-file"),
}
"""Authority → the ConfigMaps in which others find whom to trust, and the key there."""
PATIENCE = 60.0
"""Seconds that others have for what they must notice."""
FORM = "{:<28} {:<24} {:<15} {}"


def table(lab: Lab, now: datetime) -> Iterator[str]:
    yield FORM.format("CERTIFICATE", "EXPIRES", "RESIDUAL TIME", "CERTIFICATE AUTHORITY")
    for holding in certificates.holdings(node_names(Compose(lab).nodes()), lab.network):
        if pair := certificates.held(lab.pki, holding):
            yield _line(holding.name, x509.load_pem_x509_certificate(pair.certificate), now, holding.authority)
    for name in certificates.AUTHORITIES:
        for found in x509.load_pem_x509_certificates((lab.pki / name / "ca.crt").read_bytes()):
            yield _line(name, found, now, found.subject.rfc4514_string())


def _line(name: str, certificate: x509.Certificate, now: datetime, authority: str) -> str:
    ends = certificate.not_valid_after_utc
    return FORM.format(name, f"{ends:%b %d, %Y %H:%M UTC}", _residual(ends - now), authority)


def _residual(left: timedelta) -> str:
    if left < timedelta():
        return "expired"
    return f"{left.days}d" if left.days else f"{left.seconds // 3600}h{left.seconds // 60 % 60}m"


def renew(lab: Lab, names: Sequence[str]) -> str:
    """Without names every certificate, but no authority and no key.  Raises Trouble."""
    leaves = _leaves(lab)
    for name in names:
        if name not in (*leaves, *certificates.AUTHORITIES, ACCOUNTS):
            known = ", ".join([*leaves, *certificates.AUTHORITIES, ACCOUNTS])
            raise Trouble("certificates", f"nobody holds {name}", advice=f"Known are: {known}.")
    if ACCOUNTS in names:
        certificates.renew_account_keys(lab.pki / "apiserver")
    for name in certificates.AUTHORITIES:
        if name in names:
            _roll(lab, name)
    chosen = [name for name in leaves if name in names] if names else leaves
    _write(lab, chosen)
    said = [f"renewed: {', '.join(names or leaves)}"]
    if rolled := [name for name in names if name in (*certificates.AUTHORITIES, ACCOUNTS)]:
        said.append(f"what was there before is still believed until `wherry certificates forget {' '.join(rolled)}`")
    return "\n".join(said)


def forget(lab: Lab, names: Sequence[str]) -> str:
    """Who was replaced is believed no more.  Raises Trouble."""
    for name in names:
        if name == ACCOUNTS:
            certificates.forget_account_keys(lab.pki / "apiserver")
        elif name not in certificates.AUTHORITIES:
            raise Trouble("certificates", f"{name} is no authority", advice=f"Forget {', '.join(_forgettable())}.")
        elif (lab.pki / name / authorities.NEXT).exists():
            raise Trouble("certificates", f"{name} is only half renewed", advice=f"`wherry certificates renew {name}`.")
        elif authorities.forget(lab.pki, name):
            _write(lab)
            if name == certificates.STORAGE:
                _restart_etcd(lab)
    return f"forgotten: what {', '.join(names)} had before"


def _forgettable() -> list[str]:
    return [*certificates.AUTHORITIES, ACCOUNTS]


def _roll(lab: Lab, name: str) -> None:
    authorities.begin(lab.pki, name)
    _write(lab)
    if name == certificates.STORAGE:
        _restart_etcd(lab)
    else:
        _until(lambda: _is_published(lab, name), "pods are not told of the new authority")
    authorities.switch(lab.pki, name)
    _write(lab)


def _write(lab: Lab, renewed: Sequence[str] = ()) -> None:
    certificates.write(lab.pki, node_names(Compose(lab).nodes()), lab.network, renewed)
    bringing_up.write_kubeconfigs(lab)


def _leaves(lab: Lab) -> list[str]:
    return [holding.name for holding in certificates.holdings(node_names(Compose(lab).nodes()), lab.network)]


def _is_published(lab: Lab, name: str) -> bool:
    """To pods, in every namespace, or to the API servers behind this lab's."""
    where, key = PUBLISHED[name]
    told = json.loads(Kubectl(lab)("get", "configmaps", "-A", f"--field-selector=metadata.name={where}", "-o", "json"))
    bundle = certificates.authority_of(lab.pki, name).pair.certificate.decode()
    return all(each["data"][key] == bundle for each in told["items"])


def _restart_etcd(lab: Lab) -> None:
    """One member after the other, so that with several of them the API goes on."""
    services = diagnoses.services(engine.client(), lab)
    for name in masters.names("etcd"):
        if member := services.get(name):
            member.restart(timeout=10)
            _until(partial(_is_well, member), f"{name} does not come back")


def _is_well(member: Container) -> bool:
    return member.exec_run(["python3", "-m", "wherry.probing", "2379", "/health"])[0] == 0


def _until(holds: Callable[[], bool], fault: str) -> None:
    """Raises Trouble."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            advice = "Once that is mended, the same command goes on from here."
            raise Trouble("certificates", f"{fault} after {PATIENCE:.0f} s", advice=advice)
        time.sleep(0.5)


def main(lab: Lab, act: Callable[[Lab, Sequence[str]], str], names: Sequence[str]) -> int:
    """An exit code, as `outcomes.told`."""

    def work() -> str:
        if not (lab.pki / certificates.CLUSTER / "ca.key").exists():
            raise Trouble("certificates", "the lab has none yet", advice="scripts/up makes them.")
        with alone(lab):
            return act(lab, names)

    return told(work)


def check(lab: Lab, _names: Sequence[str]) -> str:
    return "\n".join(table(lab, datetime.now(UTC)))
