"""Certificate signing requests that have had their time are deleted.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#request-signing-process
"""

import base64

from cryptography import x509

from api import errors, meta, times
from api.meta import Key
from api.types import CertificateSigningRequest
from controller_manager.contexts import Context
from machinery.controllers import Controller

NAME = "certificatesigningrequest-cleaner-controller"
DECIDED_SECONDS = 3600.0
PENDING_SECONDS = 24 * 3600.0


def new(context: Context) -> Controller:
    return CleaningController(context).controller


class CleaningController:
    """Its keys are requests."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._requests = context.informers(CertificateSigningRequest)
        self.controller = Controller(NAME, self.reconcile, informers=(self._requests,))
        self._requests.on_change(self._changed)

    def _changed(self, old: CertificateSigningRequest | None, new: CertificateSigningRequest | None) -> None:
        if new is not None:
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> float | None:
        request = self._requests.get(*key)
        if request is None:
            return None
        left = ends(request) - self._clock.now()
        if left > 0:
            return left
        try:
            await self._client.delete(CertificateSigningRequest, key.name, uid=request.metadata.uid)
        except (errors.NotFound, errors.Conflict):
            return None
        return None


def ends(request: CertificateSigningRequest) -> float:
    """When the request is of no more use, in seconds since the epoch."""
    end = times.parse(request.metadata.creationTimestamp) + PENDING_SECONDS
    certificate = request.status.certificate
    if certificate or any(c.type != "Approved" for c in request.status.conditions):
        decided = [c.lastUpdateTime for c in request.status.conditions if c.type in ("Approved", "Denied", "Failed")]
        end = min([times.parse(time) + DECIDED_SECONDS for time in decided if time], default=end)
    if certificate:
        end = min(end, _expires(certificate))
    return end


def _expires(certificate: str) -> float:
    try:
        found = x509.load_pem_x509_certificate(base64.b64decode(certificate))
    except ValueError:
        return float("inf")
    return found.not_valid_after_utc.timestamp()
