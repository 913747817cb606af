"""Many owner references, and many warnings."""

from api import kinds
from api.types import ConfigMap, ObjectMeta, OwnerReference
from apiserver.registry.owners import dedup
from apiserver.requests import Request, User


def test_many_owners_and_many_warnings_are_gone_through_once():
    # Each with each, either takes minutes.
    request = Request(User("admin"), "create", kinds.of(ConfigMap), "default")
    owners = [OwnerReference(apiVersion="v1", kind="Pod", name="o", uid=str(n)) for n in range(100_000)]
    again = OwnerReference(apiVersion="v1", kind="Pod", name="o", uid="1")
    obj = ConfigMap(metadata=ObjectMeta(ownerReferences=[*owners, again]))
    dedup(request, obj, admitted=False)
    assert obj.metadata.ownerReferences == owners
    messages = [str(n) for n in range(100_000)]
    request.warn(messages)
    request.warn([*messages, "more"])
    assert request.warnings[1:] == [*messages, "more"]
