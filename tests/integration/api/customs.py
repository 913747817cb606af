"""CustomResourceDefinitions for tests, each in a group of its own."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from tests.integration.api.conftest import Answer, Send

Tree = dict[str, Any]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_numbers = itertools.count(1)

SPEC: Tree = {"type": "object", "properties": {"replicas": {"type": "integer"}, "image": {"type": "string"}}}
STATUS: Tree = {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}


def schema(spec: Tree = SPEC, **more: Any) -> Tree:
    return {"type": "object", "properties": {"spec": spec, "status": STATUS}, **more}


def version(name: str = "v1", tree: Tree | None = None, *, storage: bool = True, **more: Any) -> Tree:
    whole = {"openAPIV3Schema": schema() if tree is None else tree}
    return {"name": name, "served": True, "storage": storage, "schema": whole, **more}


def definition(*versions: Tree, scope: str = "Namespaced", names: Tree | None = None, **more: Any) -> Tree:
    group = f"g{next(_numbers)}.example.com"
    named = {"plural": "widgets", "singular": "widget", "kind": "Widget", **(names or {})}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{named['plural']}.{group}"},
        "spec": {"group": group, "scope": scope, "names": named, "versions": [*versions] or [version()], **more},
    }


class Customs:
    """The objects of one definition, in the namespace `default` and one version."""

    def __init__(self, send: Send, crd: Tree, version: str) -> None:
        self.send = send
        self.crd = crd
        spec = crd["spec"]
        self.version = version
        self.kind = spec["names"]["kind"]
        self.api_version = f"{spec['group']}/{version}"
        place = f"/apis/{self.api_version}"
        inside = "/namespaces/default" if spec["scope"] == "Namespaced" else ""
        self.path = f"{place}{inside}/{spec['names']['plural']}"
        self.crd_path = f"{CRDS}/{crd['metadata']['name']}"

    def at(self, version: str) -> "Customs":
        return Customs(self.send, self.crd, version)

    def document(self, name: str, **content: Any) -> Tree:
        metadata = {"name": name, **content.pop("metadata", {})}
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata, **content}

    async def create(self, name: str, query: str = "", **content: Any) -> Answer:
        return await self.send("POST", self.path + query, self.document(name, **content))

    async def get(self, name: str) -> Tree:
        return (await self.send("GET", f"{self.path}/{name}")).body

    async def patch(self, name: str, patch: Any, media: str = MERGE, query: str = "") -> Answer:
        return await self.send("PATCH", f"{self.path}/{name}{query}", patch, media)

    async def redefine(self, change: Any) -> Answer:
        """Change the definition, in place of what is there; conditions may be written at the same time."""
        while True:
            found = (await self.send("GET", self.crd_path)).body
            change(found)
            answer = await self.send("PUT", self.crd_path, found)
            if answer.code != 409:
                return answer

    async def gone(self) -> None:
        """Delete the definition, and return when it is no more."""
        await self.send("DELETE", self.crd_path)
        await until(self.send, self.crd_path, lambda answer: answer.code == 404)


async def define(send: Send, crd: Tree, version: str = "") -> Customs:
    """Create a definition, and return when it is established."""
    answer = await send("POST", CRDS, crd)
    assert answer.code == 201, answer.body
    found = Customs(send, crd, version or crd["spec"]["versions"][0]["name"])
    await until(send, found.crd_path, lambda answer: "Established" in _conditions(answer))
    return found


async def until(send: Send, path: str, holds: Callable[[Answer], bool]) -> Answer:
    """Ask until the answer is as it should be."""
    async with asyncio.timeout(20):
        while True:
            answer = await send("GET", path)
            if holds(answer):
                return answer


async def conditions(customs: Customs) -> dict[str, Tree]:
    return _conditions(await customs.send("GET", customs.crd_path))


def _conditions(answer: Answer) -> dict[str, Tree]:
    return {condition["type"]: condition for condition in answer.body.get("status", {}).get("conditions", [])}
