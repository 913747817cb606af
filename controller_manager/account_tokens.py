"""Secrets that ask for the token of a service account get it, and go with the account.

https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets

The token is one that is bound to the secret, for as long as tokens can last: it ends when the secret is deleted.
"""

import base64
from pathlib import Path
from typing import Any

import msgspec

from api import errors, meta
from api.meta import Key
from api.types import BoundObjectReference, Secret, ServiceAccount, TokenRequest, TokenRequestSpec
from controller_manager import root_certificates
from controller_manager.contexts import Context
from machinery.controllers import Controller

TYPE = "kubernetes.io/service-account-token"
ACCOUNT, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
FOREVER = 1 << 32
BY_ACCOUNT = "account"


def new(context: Context) -> Controller:
    return AccountTokenController(context, context.config.root_ca_file).controller


class AccountTokenController:
    """Its keys are secrets."""

    def __init__(self, context: Context, authority: Path) -> None:
        self._client = context.client
        self._authority = root_certificates.authority(authority)
        self._accounts = context.informers(ServiceAccount)
        self._secrets = context.informers(Secret, field_selector=f"type={TYPE}")
        self._secrets.add_index(BY_ACCOUNT, _account_of)
        self.controller = Controller(
            "serviceaccount-token-controller", self.reconcile, informers=(self._accounts, self._secrets)
        )
        self._secrets.on_change(self._secret_changed)
        self._accounts.on_change(self._account_changed)

    def _secret_changed(self, old: Secret | None, new: Secret | None) -> None:
        if new is not None:
            self.controller.queue.add(meta.key(new))

    def _account_changed(self, old: ServiceAccount | None, new: ServiceAccount | None) -> None:
        account = new or old
        if account is None or (old is not None and new is not None):
            return
        for secret in self._secrets.by_index(BY_ACCOUNT, f"{account.metadata.namespace}/{account.metadata.name}"):
            self.controller.queue.add(meta.key(secret))

    async def reconcile(self, key: Key) -> float | None:
        secret = self._secrets.get(*key)
        if secret is None or secret.metadata.deletionTimestamp or secret.type != TYPE:
            return None
        try:
            account = await self._account(secret)
            if account is None:
                await self._client.delete(Secret, key.name, key.namespace, uid=secret.metadata.uid)
            elif not _is_whole(secret, self._authority()):
                await self._fill(secret, account)
        except errors.NotFound:
            return None
        return root_certificates.LOOK_AGAIN

    async def _account(self, secret: Secret) -> ServiceAccount | None:
        """Asked for once more before a secret is deleted for what the cache has not seen yet."""
        name, namespace = secret.metadata.annotations.get(ACCOUNT, ""), secret.metadata.namespace
        account = self._accounts.get(namespace, name)
        if account is None:
            try:
                account = await self._client.get(ServiceAccount, name, namespace)
            except errors.NotFound:
                return None
        meant = secret.metadata.annotations.get(UID, "")
        return account if meant in ("", account.metadata.uid) else None

    async def _fill(self, secret: Secret, account: ServiceAccount) -> None:
        new = meta.clone(secret)
        new.metadata.annotations[UID] = account.metadata.uid
        new.data |= {"ca.crt": _encoded(self._authority()), "namespace": _encoded(secret.metadata.namespace)}
        if not new.data.get("token"):
            new.data["token"] = _encoded(await self._token(secret, account))
        await self._client.update(new)

    async def _token(self, secret: Secret, account: ServiceAccount) -> str:
        ref = BoundObjectReference(apiVersion="v1", kind="Secret", name=secret.metadata.name, uid=secret.metadata.uid)
        request = TokenRequest(spec=TokenRequestSpec(expirationSeconds=FOREVER, boundObjectRef=ref))
        name, namespace = account.metadata.name, account.metadata.namespace
        answer = await self._client.create_subresource(ServiceAccount, name, namespace, "token", request)
        found: dict[str, Any] = msgspec.json.decode(answer)
        return str(found["status"]["token"])


def _account_of(secret: Secret) -> list[str]:
    return [f"{secret.metadata.namespace}/{secret.metadata.annotations.get(ACCOUNT, '')}"]


def _is_whole(secret: Secret, authority: str) -> bool:
    data = secret.data
    return bool(data.get("token") and secret.metadata.annotations.get(UID)) and (
        data.get("ca.crt"),
        data.get("namespace"),
    ) == (_encoded(authority), _encoded(secret.metadata.namespace))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
