"""What a request is about in the words of admission: operation, resource, namespace, and the objects before and after.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request
"""

from dataclasses import dataclass
from typing import Any

from api.kinds import Kind
from apiserver.requests import Request

CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"
_OPERATIONS = {"create": CREATE, "delete": DELETE, "deletecollection": DELETE, "connect": CONNECT}


@dataclass(frozen=True, slots=True)
class Attributes:
    operation: str
    asked: Kind
    """The kind whose path the request came to; the objects are of the stored one."""
    subresource: str
    namespace: str
    """Of a namespace that exists: its own name."""
    name: str
    """"" for an object whose name the server makes up."""
    obj: Any
    old: Any

    @property
    def is_namespace(self) -> bool:
        return self.asked.plural == "namespaces" and not self.asked.group


def attributes(request: Request, obj: Any, old: Any) -> Attributes:
    operation = _OPERATIONS.get(request.verb) or (UPDATE if old is not None else CREATE)
    asked = request.asked or request.kind
    name = "" if request.generated else request.name
    namespace = request.namespace
    if asked.plural == "namespaces" and not asked.group and operation != CREATE:
        namespace = name
    # An eviction is a new object, although it is about a pod that is there.
    before = None if operation == CREATE else old
    return Attributes(operation, asked, request.subresource, namespace, name, obj, before)
