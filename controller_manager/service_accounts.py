"""A service account `default` in every namespace.

https://kubernetes.io/docs/concepts/security/service-accounts/#default-service-accounts
"""

from contextlib import suppress

from api import errors, meta
from api.meta import Key
from api.types import Namespace, ObjectMeta, ServiceAccount
from controller_manager.contexts import Context
from controller_manager.refusals import namespace_is_going
from machinery.controllers import Controller

NAME = "default"


def new(context: Context) -> Controller:
    return ServiceAccountController(context).controller


class ServiceAccountController:
    """Its keys are namespaces."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._namespaces = context.informers(Namespace)
        self._accounts = context.informers(ServiceAccount)
        self.controller = Controller(
            "serviceaccount-controller", self.reconcile, informers=(self._namespaces, self._accounts)
        )
        self._namespaces.on_change(self._namespace_changed)
        self._accounts.on_change(self._account_changed)

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None:
            self.controller.queue.add(meta.key(new))

    def _account_changed(self, old: ServiceAccount | None, new: ServiceAccount | None) -> None:
        if new is None and old is not None and old.metadata.name == NAME:
            self.controller.queue.add(Key("", old.metadata.namespace))

    async def reconcile(self, key: Key) -> None:
        namespace = self._namespaces.get(*key)
        if namespace is None or namespace.metadata.deletionTimestamp or self._accounts.get(key.name, NAME) is not None:
            return
        try:
            with suppress(errors.AlreadyExists):
                await self._client.create(ServiceAccount(metadata=ObjectMeta(name=NAME, namespace=key.name)))
        except errors.ApiError as e:
            if not namespace_is_going(e):
                raise
