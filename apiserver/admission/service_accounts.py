"""ServiceAccount: every pod runs as a service account that exists."""

from typing import Any

from api import errors, kinds
from api.types import Pod, ServiceAccount
from apiserver.admission.reading import Reader, find
from apiserver.requests import Request
from machinery.clocks import SYSTEM, Clock

PODS = kinds.of(Pod)
ACCOUNTS = kinds.of(ServiceAccount)
MIRROR = "kubernetes.io/config.mirror"
ATTEMPTS = 3
INTERVAL = 0.15


class ServiceAccounts:
    """Names the account `default` where a pod names none, and hands its imagePullSecrets on.

    The volume kube-api-access-xxxxx with the account's token is not added: tokens cannot be requested yet
    (the serviceaccounts/token subresource), and a volume that waits for one would keep every pod from starting.
    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
    """

    def __init__(self, reader: Reader, clock: Clock = SYSTEM) -> None:
        self.reader = reader
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


def _refusal(pod: Pod, why: str) -> errors.Forbidden:
    return errors.forbidden("pods", pod.metadata.name, why)
