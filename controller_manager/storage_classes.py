"""A default storage class, so that a claim binds out of the box.

https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass . Made when this process begins to
lead and the cluster has no class at all; who deletes it is not contradicted before the next start.
"""

from contextlib import suppress

from api import errors, volumes
from api.meta import Key
from api.types import ObjectMeta, StorageClass
from controller_manager.contexts import Context
from machinery.controllers import Controller

NAME = "standard"


def new(context: Context) -> Controller:
    return StorageClassController(context).controller


def standard() -> StorageClass:
    return StorageClass(
        metadata=ObjectMeta(name=NAME, annotations={volumes.DEFAULT_CLASS: "true"}),
        provisioner=volumes.LOCAL_DRIVER,
        reclaimPolicy="Delete",
        volumeBindingMode="WaitForFirstConsumer",
        allowVolumeExpansion=True,
    )


class StorageClassController:
    """Its one key is the class."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._classes = context.informers(StorageClass)
        self.controller = Controller("default-storage-class-controller", self.reconcile, informers=(self._classes,))
        self.controller.queue.add(Key("", NAME))

    async def reconcile(self, key: Key) -> None:
        if not self._classes.list():
            with suppress(errors.AlreadyExists):
                await self._client.create(standard())
