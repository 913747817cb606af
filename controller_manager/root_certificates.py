"""The cluster's certificate authority in every namespace, in the ConfigMap kube-root-ca.crt.

https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ : pods mount it beside their token.
"""

from collections.abc import Callable
from pathlib import Path

from api import errors, meta
from api.meta import Key
from api.types import ConfigMap, Namespace, ObjectMeta
from controller_manager.contexts import Context
from controller_manager.refusals import namespace_is_going
from machinery.controllers import Controller
from machinery.rereading import Reread
from machinery.running import CannotGoOn

NAME = "kube-root-ca.crt"
FILE = "ca.crt"
LOOK_AGAIN = 10.0
"""Seconds after which the file is looked at again, for each namespace."""
DESCRIPTION = {
    "kubernetes.io/description": (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
        "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
        "Kubernetes clusters."
    )
}


def new(context: Context) -> Controller:
    return RootCertificateController(context, authority(context.config.root_ca_file)).controller


def authority(path: Path) -> Reread[str]:
    """The authorities that pods are told to trust.  Raises CannotGoOn."""
    try:
        return Reread(path.read_text, path)
    except OSError as e:
        raise CannotGoOn(f"the root certificate (--root-ca-file) is needed: {e}") from e


class RootCertificateController:
    """Its keys are namespaces."""

    def __init__(self, context: Context, certificate: Callable[[], str]) -> None:
        self._client = context.client
        self._certificate = certificate
        self._namespaces = context.informers(Namespace)
        # Only these: the other config maps may be large and are nobody's business here.
        self._maps = context.informers(ConfigMap, field_selector=f"metadata.name={NAME}")
        self.controller = Controller(
            "root-ca-certificate-publisher-controller", self.reconcile, informers=(self._namespaces, self._maps)
        )
        self._namespaces.on_change(self._namespace_changed)
        self._maps.on_change(self._map_changed)

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None:
            self.controller.queue.add(meta.key(new))

    def _map_changed(self, old: ConfigMap | None, new: ConfigMap | None) -> None:
        changed = new or old
        if changed is not None:
            self.controller.queue.add(Key("", changed.metadata.namespace))

    async def reconcile(self, key: Key) -> float | None:
        namespace = self._namespaces.get(*key)
        if namespace is None or namespace.metadata.deletionTimestamp:
            return None
        await self._publish(key)
        return LOOK_AGAIN

    async def _publish(self, key: Key) -> None:
        data = {FILE: self._certificate()}
        current = self._maps.get(key.name, NAME)
        if current is not None and current.data == data and DESCRIPTION.items() <= current.metadata.annotations.items():
            return
        try:
            if current is None:
                metadata = ObjectMeta(name=NAME, namespace=key.name, annotations=dict(DESCRIPTION))
                await self._client.create(ConfigMap(metadata=metadata, data=data))
            else:
                wanted = meta.clone(current)
                wanted.data = data
                wanted.metadata.annotations |= DESCRIPTION
                await self._client.update(wanted)
        except errors.AlreadyExists:
            raise errors.Conflict(f"{NAME} exists in {key.name} but is not seen yet") from None
        except errors.ApiError as e:
            if not namespace_is_going(e) and not isinstance(e, errors.NotFound):
                raise
