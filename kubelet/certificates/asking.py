"""A CertificateSigningRequest from the asking to what was issued.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from api import meta
from api.types import CertificateSigningRequest, CertificateSigningRequestSpec, ObjectMeta
from kubelet.pods.means import first
from machinery.client import Client, connect
from machinery.clocks import Clock
from machinery.informers import Informer
from machinery.running import causes

PATIENCE = 15 * 60.0
"""Seconds; after that another request is made."""

log = logging.getLogger("certificates")


@dataclass(frozen=True, slots=True)
class Signer:
    name: str
    usages: tuple[str, ...]


# No key encipherment: that is for keys of RSA.
CLIENT = Signer("kubernetes.io/kube-apiserver-client-kubelet", ("digital signature", "client auth"))
SERVING = Signer("kubernetes.io/kubelet-serving", ("digital signature", "server auth"))


class NotIssued(Exception):
    """Why nothing came of a request."""


@asynccontextmanager
async def stranger(kubeconfig: Path) -> AsyncIterator[Client]:
    """Who asks for a kubelet that has no name yet.  Raises Unusable, OSError, and what the block does: the group that
    the client's tasks make of that is taken apart, so that callers can tell what went wrong."""
    try:
        async with connect(kubeconfig) as client:
            yield client
    except ExceptionGroup as e:
        raise causes(e)[0] from e


def document(signer: Signer, request: bytes, name: str = "") -> CertificateSigningRequest:
    """`request` is PEM; without a name the server makes one."""
    return CertificateSigningRequest(
        metadata=ObjectMeta(name=name, generateName="" if name else "csr-"),
        spec=CertificateSigningRequestSpec(
            request=base64.b64encode(request).decode(), signerName=signer.name, usages=list(signer.usages)
        ),
    )


async def issued(
    client: Client, asked: CertificateSigningRequest, clock: Clock, *others: Awaitable[object],
    patience: float = PATIENCE,
) -> bytes:  # fmt: skip
    """The certificate in PEM, once somebody has approved and signed.  Raises NotIssued, and what `others` do: the
    waiting ends with the first of them."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    selector = f"metadata.name={asked.metadata.name}"
    view = Informer(client, CertificateSigningRequest, field_selector=selector, clock=clock)
    view.on_change(partial(_tell, told, asked))
    await first(told, view.run(), clock.sleep(patience), *others)
    if told.cancelled():
        raise NotIssued("timed out waiting for the condition")
    return base64.b64decode(told.result())


def _tell(
    told: asyncio.Future[str], asked: CertificateSigningRequest, _: object, new: CertificateSigningRequest | None
) -> None:  # fmt: skip
    if told.done():
        return
    if new is None:
        told.set_exception(NotIssued(f'csr "{asked.metadata.name}" was deleted'))
    elif new.metadata.uid != asked.metadata.uid:
        told.set_exception(NotIssued(f'csr "{asked.metadata.name}" changed UIDs'))
    elif why := _refusal(new):
        told.set_exception(NotIssued(f"certificate signing request {why}"))
    elif meta.is_true(new, "Approved"):
        if new.status.certificate:
            told.set_result(new.status.certificate)
        else:
            log.info("certificate signing request %s is approved, waiting to be issued", asked.metadata.name)


def _refusal(request: CertificateSigningRequest) -> str:
    words = {"Denied": "is denied", "Failed": "failed"}
    for condition in request.status.conditions:
        if condition.type in words:
            return f"{words[condition.type]}, reason: {condition.reason}, message: {condition.message}"
    return ""
