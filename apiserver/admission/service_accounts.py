"""ServiceAccount: every pod runs as a service account that exists, and has its token at hand."""

import random
from typing import Any

from api import errors, kinds
from api.types import (
    ConfigMapProjection,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    KeyToPath,
    ObjectFieldSelector,
    Pod,
    ProjectedVolumeSource,
    ServiceAccount,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from apiserver.admission.reading import Reader, find
from apiserver.requests import Request
from machinery.clocks import SYSTEM, Clock

PODS = kinds.of(Pod)
ACCOUNTS = kinds.of(ServiceAccount)
MIRROR = "kubernetes.io/config.mirror"
VOLUME = "kube-api-access-"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
LIFETIME = 3607
"""Seconds. The odd seven mark the tokens that nobody asked for."""
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
ATTEMPTS = 3
INTERVAL = 0.15


class ServiceAccounts:
    """Names the account `default` where a pod names none, hands its imagePullSecrets on, and mounts its token.

    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
    """

    def __init__(self, reader: Reader, clock: Clock = SYSTEM, *, mount_tokens: bool = False) -> None:
        self.reader = reader
        self.mount_tokens = mount_tokens
        self.clock = clock

    async def admit(self, request: Request, obj: Any, old: Any) -> None:
        if request.kind is not PODS or request.subresource or old is not None or obj is None:
            return
        pod: Pod = obj
        if MIRROR in pod.metadata.annotations:
            if pod.spec.serviceAccountName:
                raise _refusal(pod, "a mirror pod may not reference service accounts")
            return
        name = pod.spec.serviceAccountName or "default"
        pod.spec.serviceAccountName = pod.spec.serviceAccount = name
        account = await self._account(request.namespace, name)
        if account is None:
            missing = f'serviceaccount "{name}" not found'
            raise _refusal(pod, f"error looking up service account {request.namespace}/{name}: {missing}")
        wanted = pod.spec.automountServiceAccountToken
        if wanted is None:
            wanted = account.automountServiceAccountToken is not False
        if self.mount_tokens and wanted:
            _mount_token(pod)
        if not pod.spec.imagePullSecrets:
            pod.spec.imagePullSecrets = list(account.imagePullSecrets)

    async def _account(self, namespace: str, name: str) -> Any | None:
        """Waits a little, as upstream does: the accounts of a new namespace come moments after it."""
        account = await find(self.reader, ACCOUNTS, namespace, name)
        for _ in range(ATTEMPTS):
            if account is not None:
                break
            await self.clock.sleep(INTERVAL)
            account = await self.reader.get_fresh(ACCOUNTS, namespace, name)
        return account


def _mount_token(pod: Pod) -> None:
    """In every container that has nothing else there."""
    name = next((v.name for v in pod.spec.volumes if (v.name or "").startswith(VOLUME)), "")
    present, name = bool(name), name or VOLUME + "".join(random.choices(ALPHABET, k=5))
    lacking = [
        container
        for container in (*pod.spec.initContainers, *pod.spec.containers)
        if all(mount.mountPath != MOUNT_PATH for mount in container.volumeMounts)
    ]
    for container in lacking:
        mount = VolumeMount(name=name, readOnly=True, mountPath=MOUNT_PATH)
        container.volumeMounts = [*container.volumeMounts, mount]
    if lacking and not present:
        pod.spec.volumes = [*pod.spec.volumes, Volume(name=name, projected=_token_files())]


def _token_files() -> ProjectedVolumeSource:
    namespace = DownwardAPIVolumeFile(
        path="namespace", fieldRef=ObjectFieldSelector(apiVersion="v1", fieldPath="metadata.namespace")
    )
    authority = ConfigMapProjection(name="kube-root-ca.crt", items=[KeyToPath(key="ca.crt", path="ca.crt")])
    token = ServiceAccountTokenProjection(path="token", expirationSeconds=LIFETIME)
    return ProjectedVolumeSource(
        defaultMode=0o644,
        sources=[
            VolumeProjection(serviceAccountToken=token),
            VolumeProjection(configMap=authority),
            VolumeProjection(downwardAPI=DownwardAPIProjection(items=[namespace])),
        ],
    )


def _refusal(pod: Pod, why: str) -> errors.Forbidden:
    return errors.forbidden("pods", pod.metadata.name, why)
