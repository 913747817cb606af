"""Certificate signing requests: who asks is written down by the server, and signers' names are things to be permitted.

https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from typing import Any

from api import errors, kinds, times
from api.kinds import Kind
from api.types import CertificateSigningRequest
from apiserver.authorization.deciding import MASTERS, Authorizer
from apiserver.requests import Request, User
from apiserver.rules.validation.certificates import Unusable, organizations, parse
from machinery.clocks import Clock

REQUESTS = kinds.of(CertificateSigningRequest)
SIGNERS = Kind(REQUESTS.group, "", "Signer", "signers", namespaced=False)
CLIENT = "kubernetes.io/kube-apiserver-client"


class SigningRequests:
    """What upstream's strategies fill in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not REQUESTS or obj is None:
            return
        if old is None:
            user, spec = request.user, obj.spec
            spec.username, spec.uid, spec.groups = user.name, user.uid, list(user.groups)
            spec.extra = {key: list(values) for key, values in user.extra.items()}
        elif request.subresource:
            self._date(obj, old)

    def _date(self, new: Any, old: Any) -> None:
        now = times.format(self._clock.now())
        began = {(c.type, c.status): c.lastTransitionTime for c in old.status.conditions}
        for condition in new.status.conditions:
            condition.lastUpdateTime = condition.lastUpdateTime or now
            known = began.get((condition.type, condition.status), "")
            condition.lastTransitionTime = condition.lastTransitionTime or known or now


class SignerGuard:
    """Upstream's CertificateApproval, CertificateSigning and CertificateSubjectRestriction."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def judge(self, request: Request, obj: Any, old: Any) -> None:
        """Raises Forbidden."""
        if request.kind is not REQUESTS or obj is None:
            return
        if old is None:
            self._restrict(request, obj)
        elif request.subresource == "approval":
            self._confirm(request, old, "approve")
        elif request.subresource == "status" and obj.status != old.status:
            self._confirm(request, old, "sign")

    def _confirm(self, request: Request, old: Any, verb: str) -> None:
        signer = old.spec.signerName
        if not may(self._authorizer, request.user, verb, signer):
            why = f'user not permitted to {verb} requests with signerName "{signer}"'
            raise errors.forbidden(REQUESTS.group_resource, request.name, why)

    def _restrict(self, request: Request, obj: Any) -> None:
        if obj.spec.signerName != CLIENT:
            return
        try:
            found = organizations(parse(obj.spec.request))
        except Unusable:
            return  # validation has said so
        if MASTERS in found:
            why = f"use of {CLIENT} signer with {MASTERS} group is not allowed"
            raise errors.forbidden(REQUESTS.group_resource, obj.metadata.name, why)


def may(authorizer: Authorizer, user: User, verb: str, signer: str) -> bool:
    """A right may name the signer, or all of its domain: `example.com/*`."""
    names = (signer, signer.partition("/")[0] + "/*")
    return any(authorizer.decide(Request(user, verb, SIGNERS, "", name)).allowed for name in names)
