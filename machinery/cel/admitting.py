"""What the expressions of admission policies and match conditions may use.

https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/#validation-expression
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from api.types import Variable
from machinery.cel import schemas
from machinery.cel.environments import Environment, Program
from machinery.cel.faults import CompilationFault
from machinery.cel.libraries.authorizing import AUTHORIZER, RESOURCE_CHECK
from machinery.cel.libraries.tables import STANDARD, WITH_PATCHES
from machinery.cel.types import DYN, STRING, Field, Type

FAILED = "compilation failed: "
VARIABLES = "variables"
VARIABLES_TYPE = "kubernetes.variables"
OBJECT = "Object"
JSON_PATCH = "JSONPatch"

_TEXT: dict[str, Any] = {"type": "string"}
_TEXTS: dict[str, Any] = {"type": "array", "items": _TEXT}
_MAP: dict[str, Any] = {"type": "object", "additionalProperties": _TEXT}
_TIME: dict[str, Any] = {"type": "string", "format": "date-time"}


def _fields(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_KIND = _fields(group=_TEXT, version=_TEXT, kind=_TEXT)
_RESOURCE = _fields(group=_TEXT, version=_TEXT, resource=_TEXT)
_REQUEST = _fields(
    kind=_KIND,
    resource=_RESOURCE,
    subResource=_TEXT,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=_TEXT,
    name=_TEXT,
    namespace=_TEXT,
    operation=_TEXT,
    userInfo=_fields(
        username=_TEXT, uid=_TEXT, groups=_TEXTS, extra={"type": "object", "additionalProperties": _TEXTS}
    ),
    dryRun={"type": "boolean"},
    options={"x-kubernetes-int-or-string": True},
)
_NAMESPACE = _fields(
    metadata=_fields(
        name=_TEXT,
        generateName=_TEXT,
        namespace=_TEXT,
        labels=_MAP,
        annotations=_MAP,
        UID=_TEXT,
        creationTimestamp=_TIME,
        deletionGracePeriodSeconds={"type": "integer"},
        deletionTimestamp=_TIME,
        generation={"type": "integer"},
        resourceVersion=_TEXT,
        finalizers=_TEXTS,
    ),
    spec=_fields(finalizers=_TEXTS),
    status=_fields(
        phase=_TEXT,
        conditions={
            "type": "array",
            "items": _fields(type=_TEXT, status=_TEXT, reason=_TEXT, message=_TEXT, lastTransitionTime=_TIME),
        },
    ),
)


def _hand_made(schema: dict[str, Any], name: str) -> Type:
    found = schemas.declared(schema, name=name, keywords=True)
    assert found is not None
    return found


REQUEST = _hand_made(_REQUEST, "kubernetes.AdmissionRequest")
NAMESPACE = _hand_made(_NAMESPACE, "kubernetes.Namespace")


class _Anything(Mapping[str, Field]):
    """Every field there might be."""

    def __getitem__(self, name: str) -> Field:
        return Field(schemas.unescape(name), DYN)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def get(self, name: str, default: Any = None) -> Field:
        return self[name]


_PATCH = Type(
    "struct",
    JSON_PATCH,
    fields={"op": Field("op", STRING), "path": Field("path", STRING), "from": Field("from", STRING),
            "value": Field("value", DYN)},
)  # fmt: skip
PATCH_OBJECT = Type("struct", OBJECT, fields=_Anything())
PATCH = _PATCH


def patch_structs(name: str) -> Type | None:
    """`Object`, `Object.spec` …, whose fields are checked when they are applied, and `JSONPatch`."""
    if name == JSON_PATCH:
        return _PATCH
    if name == OBJECT:
        return PATCH_OBJECT
    return Type("struct", name, fields=_Anything()) if name.startswith(f"{OBJECT}.") else None


def environment(
    *, params: Type | None = None, authorizer: bool = True, patches: bool = False, obj: Type = DYN
) -> Environment:
    """`params`: the type of that variable, None if there is none."""
    variables = {"object": obj, "oldObject": obj, "request": REQUEST, "namespaceObject": NAMESPACE}
    if params is not None:
        variables["params"] = params
    if authorizer:
        variables["authorizer"] = AUTHORIZER
        variables["authorizer.requestResource"] = RESOURCE_CHECK
    if patches:
        return Environment(variables, WITH_PATCHES, patch_structs)
    return Environment(variables, STANDARD)


def with_variables(within: Environment, types: Mapping[str, Type]) -> Environment:
    """With `variables.NAME` for each of these."""
    fields = {name: Field(name, t) for name, t in types.items()}
    return within.extended({VARIABLES: Type("struct", VARIABLES_TYPE, fields=fields)})


class Broken:
    """Stands for a program. `message` says what is wrong with it."""

    def __init__(self, source: str, message: str) -> None:
        self.source = source
        self.message = message


Compiled = Program | Broken


def compile_in(within: Environment, source: str, *wants: Type) -> Compiled:
    try:
        return within.compile(source.strip(), wants)
    except CompilationFault as e:
        return Broken(source, f"{FAILED}{e.message}" if e.issues else e.message)


def environments(
    variables: Sequence[Variable],
    params: Type | None,
    *,
    obj: Type = DYN,
    authorizer: bool = True,
    patches: bool = False,
) -> tuple[Environment, Environment, dict[str, Compiled]]:
    """(without the variables, with them, what they are): each variable sees those before it."""
    plain = environment(params=params, authorizer=authorizer, patches=patches, obj=obj)
    types: dict[str, Type] = {}
    compiled: dict[str, Compiled] = {}
    whole = with_variables(plain, types)
    for variable in variables:
        name = variable.name or ""
        found = compile_in(whole, variable.expression or "")
        compiled[name] = found
        types[name] = type_of(found)
        whole = with_variables(plain, types)
    return plain, whole, compiled


def type_of(found: Compiled) -> Type:
    return found.type if isinstance(found, Program) else DYN
