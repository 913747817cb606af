"""ServiceAccount: every pod runs as a service account that exists."""

from typing import Any

from api import errors, kinds
from api.types import Pod, ServiceAccount
from apiserver.admission.reading import Reader, find
from apiserver.requests import Request

PODS = kinds.of(Pod)
ACCOUNTS = kinds.of(ServiceAccount)
MIRROR = "kubernetes.io/config.mirror"


class ServiceAccounts:
    """Names the account `default` where a pod names none, and hands its imagePullSecrets on.

    The volume kube-api-access-xxxxx with the account's token is not added: tokens cannot be requested yet
    (the serviceaccounts/token subresource), and a volume that waits for one would keep every pod from starting.
    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-admission-controller
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

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
        account = await find(self.reader, ACCOUNTS, request.namespace, name)
        if account is None:
            missing = f'serviceaccount "{name}" not found'
            raise _refusal(pod, f"error looking up service account {request.namespace}/{name}: {missing}")
        if not pod.spec.imagePullSecrets:
            pod.spec.imagePullSecrets = list(account.imagePullSecrets)


def _refusal(pod: Pod, why: str) -> errors.Forbidden:
    return errors.forbidden("pods", pod.metadata.name, why)
