"""Bootstrap tokens whose time is over are deleted.

https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#token-management . Upstream's controller of
that name is off by default, because nothing but kubeadm makes such tokens; it costs nothing here.
"""

import base64
import binascii
from contextlib import suppress

from api import errors, meta, times
from api.meta import Key
from api.types import Secret
from controller_manager.contexts import Context
from machinery.controllers import Controller

TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
EXPIRATION = "expiration"


def new(context: Context) -> Controller:
    return TokenCleaner(context).controller


class TokenCleaner:
    """Its keys are secrets."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._secrets = context.informers(Secret, field_selector=f"type={TYPE}")
        self.controller = Controller("token-cleaner-controller", self.reconcile, workers=1, informers=(self._secrets,))
        self._secrets.on_change(self._changed)

    def _changed(self, old: Secret | None, new: Secret | None) -> None:
        if new is not None and new.metadata.namespace == NAMESPACE:
            self.controller.queue.add(meta.key(new))

    async def reconcile(self, key: Key) -> float | None:
        secret = self._secrets.get(*key)
        if secret is None or secret.type != TYPE or EXPIRATION not in secret.data:
            return None
        left = _expires(secret.data[EXPIRATION]) - self._clock.now()
        if left > 0:
            return left
        with suppress(errors.NotFound, errors.Conflict):
            await self._client.delete(Secret, key.name, key.namespace, uid=secret.metadata.uid)
        return None


def _expires(encoded: str) -> float:
    """In seconds since the epoch. A time that nobody can read has passed, as upstream takes it."""
    try:
        return times.parse(base64.b64decode(encoded, validate=True).decode())
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return 0.0
