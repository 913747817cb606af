"""Claims for devices: made for pods from templates, given up when their pods are done.

https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#resourceclaims-templates

    template ──(for each pod)──▶ claim ──(scheduler)──▶ allocated, reserved for pods ──(here)──▶ free again, or deleted

Whoever allocates puts the finalizer on the claim first, and clears nothing.  Here the order is the reverse: the last
consumer and the allocation go in one write, and only then the finalizer, so that nobody finds a claim that holds
devices and can vanish.  A finalizer that is left without an allocation does no harm: it goes when the claim is deleted.
"""

from contextlib import suppress

from api import errors, meta
from api.meta import Key
from api.resource_claims import FINALIZER, is_reserved_for
from api.types import (
    Pod,
    PodResourceClaim,
    PodResourceClaimStatus,
    ResourceClaimConsumerReference,
    ResourceClaimStatus,
    ResourceClaimTemplate,
    ResourceV1ResourceClaim,
)
from controller_manager import pod_claims
from controller_manager.contexts import Context
from controller_manager.informing import Written
from controller_manager.pod_claims import POD_CLAIM
from controller_manager.pods import is_finished, is_terminating
from controller_manager.refusals import namespace_is_going
from machinery.controllers import Controller

COMPONENT = "resource_claim"
MANAGER = "ResourceClaimController"
MOST_NAMES = 5
"""Tried for one claim at once, should other claims have them."""


def new(context: Context) -> Controller:
    return ResourceClaims(context).controller


class ResourceClaims:
    """Its keys are names of pods and of claims: what is there under a key is looked at, be it one or both."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder(COMPONENT)
        self._pods = context.informers(Pod)
        self._claims = context.informers(ResourceV1ResourceClaim, indexes=("controller",))
        self._templates = context.informers(ResourceClaimTemplate)
        self._pods.add_index("resource-claim", _claims_of)
        self._pods.add_index("resource-claim-template", _templates_of)
        self._pods_written = Written(self._pods)
        self._claims_written = Written(self._claims)
        self.controller = Controller(
            "resourceclaim-controller", self.reconcile, workers=context.config.concurrent_syncs,
            informers=(self._pods, self._claims, self._templates),
        )  # fmt: skip
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)
        self._templates.on_change(self._template_changed)

    # --- what concerns whom

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        assert pod is not None
        if not pod_claims.has_any(pod):
            return
        if new is None or pod_claims.is_done(new):
            for name in pod_claims.held(pod):
                self.controller.queue.add(Key(pod.metadata.namespace, name))
        elif pod.spec.resourceClaims:
            self.controller.queue.add(meta.key(pod))

    def _claim_changed(self, old: ResourceV1ResourceClaim | None, new: ResourceV1ResourceClaim | None) -> None:
        key = meta.key(new or old)
        if new is not None:
            self.controller.queue.add(key)
        self._wake("resource-claim", key)

    def _template_changed(self, old: ResourceClaimTemplate | None, new: ResourceClaimTemplate | None) -> None:
        if old is None:
            self._wake("resource-claim-template", meta.key(new))

    def _wake(self, index: str, key: Key) -> None:
        for pod in self._pods.by_index(index, str(key)):
            self.controller.queue.add(meta.key(pod))

    async def reconcile(self, key: Key) -> None:
        pod = self._pods_written.get(key)
        if pod is not None and pod.spec.resourceClaims and not is_terminating(pod) and not is_finished(pod):
            await self._serve(pod)
        claim = self._claims_written.get(key)
        if claim is not None:
            await self._release(claim)

    # --- pods

    async def _serve(self, pod: Pod) -> None:
        made: dict[str, str] = {}
        for entry in pod.spec.resourceClaims:
            try:
                claim = await self._ensure(pod, entry)
            except errors.ApiError as e:
                if namespace_is_going(e):
                    return
                message = f"PodResourceClaim {entry.name}: {e.message}"
                self._recorder.event(pod, "Warning", "FailedResourceClaimCreation", message)
                raise
            if claim is not None:
                made[entry.name] = claim.metadata.name
        try:
            pod = await self._say(pod, made)
        except errors.NotFound:
            return  # garbage collection removes what was made
        if pod.spec.nodeName:  # else a scheduler reserves
            for entry in pod.spec.resourceClaims:
                await self._reserve(pod, entry)

    async def _ensure(self, pod: Pod, entry: PodResourceClaim) -> ResourceV1ResourceClaim | None:
        """The claim for an entry that names a template; None for others, or if none is needed.  Raises ApiError."""
        status = pod_claims.status_of(pod, entry)
        if not entry.resourceClaimTemplateName or (status is not None and not status.resourceClaimName):
            return None
        if status is not None:
            known = self._claims_written.get(Key(pod.metadata.namespace, status.resourceClaimName))
            if known is not None and meta.is_controlled_by(known, pod):
                return known
        return self._found(pod, entry) or await self._make(pod, entry)

    def _found(self, pod: Pod, entry: PodResourceClaim) -> ResourceV1ResourceClaim | None:
        """One that was made, and the pod's status was not written."""
        owned = self._claims.by_index("controller", pod.metadata.uid)
        return next((c for c in owned if c.metadata.annotations.get(POD_CLAIM) == entry.name), None)

    async def _make(self, pod: Pod, entry: PodResourceClaim) -> ResourceV1ResourceClaim:
        template = await self._template(pod.metadata.namespace, entry.resourceClaimTemplateName)
        for attempt in range(MOST_NAMES):
            wanted = pod_claims.generated(pod, entry, template, attempt)
            try:
                return self._claims_written.note(await self._create(wanted))
            except errors.AlreadyExists as e:
                taken = e
            with suppress(errors.NotFound):
                there = await self._client.get(ResourceV1ResourceClaim, wanted.metadata.name, pod.metadata.namespace)
                if meta.is_controlled_by(there, pod) and there.metadata.annotations.get(POD_CLAIM) == entry.name:
                    return self._claims_written.note(there)
        raise taken

    async def _template(self, namespace: str, name: str) -> ResourceClaimTemplate:
        """Raises NotFound; one that was made in one go with its pod may not be seen yet."""
        known = self._templates.get(namespace, name)
        if known is not None:
            return known
        try:
            return await self._client.get(ResourceClaimTemplate, name, namespace)
        except errors.NotFound as e:
            missing = errors.not_found("resourceclaimtemplate.resource.k8s.io", name)
            raise errors.NotFound(f'resource claim template "{name}": {missing.message}', missing.details) from e

    async def _create(self, claim: ResourceV1ResourceClaim) -> ResourceV1ResourceClaim:
        try:
            return await self._client.create(claim)
        except errors.ApiError as e:
            raise type(e)(f"create ResourceClaim {claim.metadata.name}: {e.message}", e.details) from e

    async def _say(self, pod: Pod, made: dict[str, str]) -> Pod:
        """Write into the pod's status which claims were made for it, if it does not say so yet.  Raises ApiError."""
        said = {s.name: s.resourceClaimName for s in pod.status.resourceClaimStatuses}
        if made.items() <= said.items():
            return pod
        wanted = [PodResourceClaimStatus(name=n, resourceClaimName=c) for n, c in (said | made).items()]
        patch = {"metadata": {"uid": pod.metadata.uid}, "status": {"resourceClaimStatuses": wanted}}
        # Not an update: the scheduler and the kubelet write other parts of the status at the same time.
        return self._pods_written.note(
            await self._client.patch(
                Pod, pod.metadata.name, pod.metadata.namespace, patch, kind="strategic", subresource="status",
                field_manager=MANAGER,
            )
        )  # fmt: skip

    async def _reserve(self, pod: Pod, entry: PodResourceClaim) -> None:
        """Let a pod use an allocated claim, if it was bound by somebody who knows nothing of claims."""
        claim = self._claims_written.get(Key(pod.metadata.namespace, pod_claims.name_of(pod, entry)))
        if claim is None or claim.status.allocation is None or is_reserved_for(claim, pod):
            return
        if claim.metadata.deletionTimestamp:
            return  # it may lose consumers, but gets no more
        if entry.resourceClaimTemplateName and not meta.is_controlled_by(claim, pod):
            return
        changed = meta.clone(claim)
        changed.status.reservedFor.append(
            ResourceClaimConsumerReference(resource="pods", name=pod.metadata.name, uid=pod.metadata.uid)
        )
        self._claims_written.note(await self._client.update_status(changed))

    # --- claims

    async def _release(self, claim: ResourceV1ResourceClaim) -> None:
        consumers = claim.status.reservedFor
        kept = [each for each in consumers if not pod_claims.is_pod(each) or await self._may_run(claim, each)]
        if len(kept) < len(consumers):
            claim = await self._keep_only(claim, kept)
        elif not kept and claim.metadata.deletionTimestamp and FINALIZER in claim.metadata.finalizers:
            if claim.status.allocation is not None:
                claim = await self._keep_only(claim, [])
            await self._unprotect(claim)
        if not kept and not claim.metadata.deletionTimestamp and self._outlived(claim):
            with suppress(errors.NotFound):
                await self._client.delete(
                    ResourceV1ResourceClaim, claim.metadata.name, claim.metadata.namespace, uid=claim.metadata.uid
                )

    async def _may_run(self, claim: ResourceV1ResourceClaim, consumer: ResourceClaimConsumerReference) -> bool:
        pod = self._pods.get(claim.metadata.namespace, consumer.name)
        if pod is None or pod.metadata.uid != consumer.uid:
            # A pod that is not seen yet would lose its devices: the last look is past the cache.
            try:
                pod = await self._client.get(Pod, consumer.name, claim.metadata.namespace)
            except errors.NotFound:
                return False
        return pod.metadata.uid == consumer.uid and not pod_claims.is_done(pod)

    async def _keep_only(
        self, claim: ResourceV1ResourceClaim, kept: list[ResourceClaimConsumerReference]
    ) -> ResourceV1ResourceClaim:
        """Drop the other consumers, and with the last one what is allocated: the next one may fit elsewhere."""
        changed = meta.clone(claim)
        changed.status.reservedFor = kept
        if not kept and FINALIZER in claim.metadata.finalizers:
            changed.status = ResourceClaimStatus()
        # An update, which fails if a scheduler has reserved the claim meanwhile.
        claim = self._claims_written.note(await self._client.update_status(changed))
        return claim if claim.status.allocation is not None else await self._unprotect(claim)

    async def _unprotect(self, claim: ResourceV1ResourceClaim) -> ResourceV1ResourceClaim:
        if FINALIZER not in claim.metadata.finalizers:
            return claim
        changed = meta.clone(claim)
        changed.metadata.finalizers.remove(FINALIZER)
        return self._claims_written.note(await self._client.update(changed))

    def _outlived(self, claim: ResourceV1ResourceClaim) -> bool:
        """Whether it was made for a pod that is done and not deleted; else garbage collection removes it."""
        owner = meta.controller_of(claim)
        if owner is None or (owner.apiVersion, owner.kind) != ("v1", "Pod"):
            return False
        pod = self._pods.get(claim.metadata.namespace, owner.name)
        return pod is not None and pod.metadata.uid == owner.uid and pod_claims.is_done(pod)


def _claims_of(pod: Pod) -> list[str]:
    if not pod.spec.resourceClaims:
        return []
    return [str(Key(pod.metadata.namespace, name)) for name in pod_claims.used(pod)]


def _templates_of(pod: Pod) -> list[str]:
    if not pod.spec.resourceClaims:
        return []
    names = (entry.resourceClaimTemplateName for entry in pod.spec.resourceClaims)
    return [str(Key(pod.metadata.namespace, name)) for name in names if name]
