"""A kubelet's first certificate, asked for by somebody who may do nothing else.

https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/
Upstream's kubelet with --rotate-certificates starts meanwhile; here nothing else begins before it has a name.
"""

import hashlib
import logging
from base64 import urlsafe_b64encode
from pathlib import Path

from cryptography import x509

from api import errors
from api.types import CertificateSigningRequest
from kubelet.certificates import asking, subjects
from kubelet.certificates.asking import NotIssued
from kubelet.certificates.stores import Store
from kubelet.config import Config
from machinery import certificates, kubeconfigs
from machinery.certificates import Subject
from machinery.client import Client
from machinery.clocks import Clock
from machinery.pairs import replace
from machinery.running import CannotGoOn

PATIENCE = 3600.0
RETRY_SECONDS = 2.0

log = logging.getLogger("certificates")


async def prepare(config: Config, clock: Clock) -> None:
    """Returns when the kubeconfig, or the pair beside it, says who this kubelet is.  Raises CannotGoOn."""
    settings, store = config.certificates, Store(config.certificates.client)
    try:
        held = store.current()
        if held is not None and _expired(held, clock):
            store.forget()
        if settings.bootstrap is not None and not _is_usable(config.kubeconfig, settings.client_pair, clock):
            await _bootstrap(config.kubeconfig, settings.bootstrap, subjects.of_client(config.node), store, clock)
    except (OSError, ValueError, NotIssued) as e:
        raise CannotGoOn(f"a client certificate is needed: {e}") from e


def _expired(certificate: x509.Certificate, clock: Clock) -> bool:
    return certificate.not_valid_after_utc.timestamp() <= clock.now()


def _is_usable(kubeconfig: Path, pair: Path | None, clock: Clock) -> bool:
    try:
        shown = kubeconfigs.load(kubeconfig, pair).certificate
        return not _expired(x509.load_pem_x509_certificate(shown), clock)
    except (OSError, ValueError) as e:
        log.info("using the bootstrap kubeconfig to ask for a client certificate: %s", e)
        return False


async def _bootstrap(kubeconfig: Path, bootstrap: Path, subject: Subject, store: Store, clock: Clock) -> None:
    """Raises OSError, ValueError, NotIssued."""
    access = kubeconfigs.load(bootstrap)
    # Until there is a certificate the key is kept, so that a kubelet that starts again finds its own request.
    draft = store.path.with_name("kubelet-client.key.tmp")
    if not draft.exists():
        replace(draft, certificates.new_key(), 0o600)
    key = draft.read_bytes()
    async with asking.stranger(bootstrap) as client:
        issued = await _issued(client, subject, key, clock)
    store.keep(issued, key)
    replace(kubeconfig, kubeconfigs.dump(access, "default-cluster", "default-auth", store.path).encode(), 0o600)
    draft.unlink()


async def _issued(client: Client, subject: Subject, key: bytes, clock: Clock) -> bytes:
    """Raises NotIssued."""
    document = asking.document(asking.CLIENT, certificates.request(subject, key), _name(subject, key))
    said = ""
    while True:
        try:
            asked = await _asked(client, document)
        except errors.ApiError as e:
            if str(e) != said:
                said = str(e)
                log.warning("waiting to ask for a client certificate: %s", said)
            await clock.sleep(RETRY_SECONDS)
        else:
            return await asking.issued(client, asked, clock, patience=PATIENCE)


async def _asked(client: Client, document: CertificateSigningRequest) -> CertificateSigningRequest:
    try:
        return await client.create(document, field_manager="kubelet")
    except errors.AlreadyExists:
        return await client.get(CertificateSigningRequest, document.metadata.name)


def _name(subject: Subject, key: bytes) -> str:
    """The same for the same key and wishes."""
    wishes = [part.encode() for part in (subject.user, *subject.groups, *asking.CLIENT.usages)]
    digest = hashlib.new("sha512_256", b"".join(_encoded(p) + b"|" for p in (certificates.public_half(key), *wishes)))
    return f"node-csr-{_encoded(digest.digest()).decode()}"


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
