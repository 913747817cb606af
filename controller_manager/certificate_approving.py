"""Kubelets' requests for their own client certificates are approved if the asker has the right to have them approved.

https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/#approval
"""

from api import errors, meta, times
from api.meta import Key
from api.types import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from controller_manager import certificates
from controller_manager.certificates import Refused
from controller_manager.contexts import Context
from machinery.controllers import Controller

NAME = "certificatesigningrequest-approving-controller"
GROUP, RESOURCE = "certificates.k8s.io", "certificatesigningrequests"


def new(context: Context) -> Controller:
    return ApprovingController(context).controller


class ApprovingController:
    """Its keys are requests."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._requests = context.informers(CertificateSigningRequest)
        self.controller = Controller(NAME, self.reconcile, informers=(self._requests,))
        self._requests.on_change(self._changed)

    def _changed(self, old: CertificateSigningRequest | None, new: CertificateSigningRequest | None) -> None:
        if new is not None and _is_open(new):
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> None:
        """Raises Forbidden if the asker lacks the right: it may be granted later, so that is tried again."""
        request = self._requests.get(*key)
        if request is None or not _is_open(request):
            return
        ways = list(recognized(request))
        for permission, message in ways:
            if await self._may(request, permission):
                await self._approve(request, message)
                return
        if ways:
            tried = ", ".join(permission for permission, _ in ways)
            raise errors.Forbidden(
                f"recognized csr {key.name!r} as [{tried}] but subject access review was not approved"
            )

    async def _may(self, request: CertificateSigningRequest, permission: str) -> bool:
        spec = request.spec
        asked = ResourceAttributes(verb="create", group=GROUP, resource=RESOURCE, subresource=permission, version="*")
        review = SubjectAccessReview(
            spec=SubjectAccessReviewSpec(
                user=spec.username, uid=spec.uid, groups=spec.groups, extra=spec.extra, resourceAttributes=asked
            )
        )
        return (await self._client.create(review)).status.allowed is True

    async def _approve(self, request: CertificateSigningRequest, message: str) -> None:
        new = meta.clone(request)
        now = times.format(self._clock.now())
        new.status.conditions.append(
            CertificateSigningRequestCondition(
                type="Approved", status="True", reason="AutoApproved", message=message,
                lastUpdateTime=now, lastTransitionTime=now,
            )
        )  # fmt: skip
        try:
            await self._client.update(new, subresource="approval")
        except errors.NotFound:
            return


def _is_open(request: CertificateSigningRequest) -> bool:
    decided = any(meta.is_true(request, type_) for type_ in ("Approved", "Denied", "Failed"))
    return not decided and not request.status.certificate and request.spec.signerName == certificates.KUBELET_CLIENT


def recognized(request: CertificateSigningRequest) -> list[tuple[str, str]]:
    """Which rights would do, and what the approval then says.  None for what is not for a kubelet to call with."""
    try:
        asked = certificates.parse(request)
        certificates.check_kubelet_client(asked, request.spec.usages)
    except Refused:
        return []
    any_node = ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.")
    if request.spec.username != certificates.common_name(asked):
        return [any_node]
    return [("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."), any_node]
