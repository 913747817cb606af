"""Requests made up from the served OpenAPI documents: what they say is possible, and what they say is not.

schemathesis makes up parameters and bodies.  Its bodies for a whole PodSpec take a second each, so every round leaves
most optional fields out of the schemas, others each time, and every body is sent in several ways.
"""

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

SPACE = "generated"
NAMES = ("a", "b", "c.d", "e-f")
KEPT = {"apiVersion", "kind", "metadata", "spec", "name"}
PATCHES = ("merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml", "json-patch+json")
# What these objects do reaches every request after them; such are only tried out.
DRY = ("/apis/admissionregistration.k8s.io/", "/apis/apiregistration.k8s.io/")


class Made(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    media: str
    body: bytes


def made(document: dict[str, Any], number: int, operations: int, examples: int) -> Iterator[Made]:
    """The requests of a round: so many examples of so many operations, each in some variations."""
    chance = random.Random(number)
    thin = _thinned(_understandable(document), chance)
    possible = [o.ok() for o in schemathesis.openapi.from_dict(thin).get_all_operations()]
    possible = [o for o in possible if _is_safe(o.definition.raw, o.path)]
    writing = [o for o in possible if o.method in ("post", "put", "patch")]
    chosen = chance.sample(possible, min(operations // 2, len(possible)))
    chosen += chance.sample(writing, min(operations // 2, len(writing)))
    for operation in chosen:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            for case in _cases(operation, mode, number, examples):
                yield from _variations(case, operation, chance)


def _cases(operation: Any, mode: GenerationMode, number: int, examples: int) -> list[Any]:
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(case)

    try:
        collect()
    except Exception as e:
        if type(e).__name__ not in ("Unsatisfiable", "Skipped", "InvalidSchema", "Unsupported"):
            raise
    return found


def _understandable(document: dict[str, Any]) -> dict[str, Any]:
    """A copy in which bodies have a media type, and patches are as the objects that they change."""
    found: dict[str, Any] = json.loads(json.dumps(document))
    for path in found["paths"].values():
        whole = path.get("put", {}).get("requestBody", {}).get("content", {}).get("*/*")
        for method in ("post", "put", "patch", "delete"):
            content = path.get(method, {}).get("requestBody", {}).get("content", {})
            if "*/*" in content:
                content["application/json"] = content.pop("*/*")
            if method == "patch" and whole and "patch" in path:
                path[method]["requestBody"]["content"] = {"application/json": whole}
    return found


def _thinned(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    for schema in document["components"]["schemas"].values():
        needed = KEPT | set(schema.get("required", ()))
        optional = [name for name in schema.get("properties", {}) if name not in needed]
        dropped = set(optional) - set(chance.sample(optional, min(3, len(optional))))
        for name in dropped:
            del schema["properties"][name]
    return document


def _is_safe(definition: dict[str, Any], path: str) -> bool:
    """Not what leads to kubelets that do not exist, nor what takes the ground away."""
    return definition.get("x-kubernetes-action") != "connect" and not path.endswith(("/log", "/proxy", "/{path}"))


def _variations(case: Any, operation: Any, chance: random.Random) -> Iterator[Made]:
    known = {"namespace": SPACE, "name": chance.choice(NAMES)}
    given_ = {k: str(v) for k, v in (case.path_parameters or {}).items()}
    path = operation.path
    for name in ("namespace", "name", *given_):
        value = given_[name] if name in given_ and chance.random() < 0.1 else known.get(name, "x")
        path = path.replace(f"{{{name}}}", _quoted(value))
    query = {str(k): str(v)[:2000] for k, v in (case.query or {}).items() if v is not None}
    if "watch" in query or "watch" in path:
        query["timeoutSeconds"] = "1"
    if operation.path.startswith(DRY) and operation.method != "get":
        query["dryRun"] = "All"
    method = operation.method.upper()
    body = case.body if isinstance(case.body, dict | list | str | int | float | bool) else None
    if body is None:
        yield Made(method, path, query, "", b"")
        return
    schema = operation.definition.raw.get("x-kubernetes-group-version-kind", {})
    fitting = _fitting(body, schema, known["name"])
    if method == "PATCH":
        for media in PATCHES:
            content = [{"op": chance.choice(("add", "replace", "test")), "path": f"/{k}", "value": v} for k, v in
                       (body if isinstance(body, dict) else {}).items()] if media.startswith("json-") else fitting  # fmt: skip
            more = {"fieldManager": "m", "force": "true"} if media.startswith("apply") else {}
            more |= {k: v for k, v in query.items() if k != "force"}
            yield Made(method, path, more, f"application/{media}", json.dumps(content).encode())
        return
    yield Made(method, path, query, "application/json", json.dumps(body).encode())
    yield Made(method, path, {}, "application/json", json.dumps(fitting).encode())
    yield Made(method, path, {"fieldValidation": "Strict"}, "application/yaml", yaml.safe_dump(fitting).encode())


def _fitting(body: Any, schema: dict[str, str], name: str) -> Any:
    """The same body for the object and the kind that the path is about, so that it comes further."""
    if not isinstance(body, dict):
        return body
    group, version = schema.get("group", ""), schema.get("version", "v1")
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    kept = {k: v for k, v in metadata.items() if k in ("labels", "annotations", "finalizers", "ownerReferences")}
    about = {"apiVersion": f"{group}/{version}" if group else version, "kind": schema.get("kind", "")}
    return body | about | {"metadata": kept | {"name": name}}


def _quoted(value: str) -> str:
    from urllib.parse import quote

    return quote(value, safe="") or "x"
