"""YAML documents → JSON documents, as both doors take them."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import yaml

from api.errors import BadRequest

DEEPEST = 300
"""Levels of a YAML document; the converter below calls itself for each."""
MOST_VALUES = 100_000
"""Of a document: each is an object of some 440 bytes while it is read, so that three megabytes would be half a
gigabyte, and half a minute. A large definition of custom resources has 20,000."""
MERGE = "tag:yaml.org,2002:merge"
MOST_MERGED = 100_000
ALIASING = "yaml: document contains excessive aliasing"
_OFF_THREAD = 16 * 1024
_ONE_AT_A_TIME = ThreadPoolExecutor(1, "yaml")
"""For the larger ones: what several hold at once would have no bound, and none is done sooner for it."""


async def as_json(text: bytes, kind: str, repeated: list[str] | None = None) -> bytes:
    """A YAML document as JSON. `kind` is what upstream's messages call the object expected; "" leaves it out.

    `repeated` is told of the keys that a mapping has twice, as Go's YAML tells of them: `line 3: key "a" already set in
    map`.  Raises BadRequest in upstream's words.
    """
    try:
        if len(text) > _OFF_THREAD:
            return await asyncio.get_running_loop().run_in_executor(_ONE_AT_A_TIME, _convert, text, repeated)
        return _convert(text, repeated)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, OverflowError) as e:
        about = f" (must be of type {kind})" if kind else ""
        raise BadRequest(f"the object provided is unrecognized{about}: error converting YAML to JSON: {_say(e)}") from e


class _Loader(yaml.CSafeLoader):
    """Times stay strings, as Go's YAML leaves them when it does not decode into a time."""

    merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge keys copy pairs, those of merged mappings too: nine lines of them are a billion pairs."""
        for key, value in node.value:
            if key.tag != MERGE:
                continue
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(part, yaml.MappingNode):
                    self.flatten_mapping(part)
                    self.merged += len(part.value)
                if self.merged > MOST_MERGED:
                    raise ValueError(ALIASING)
        super().flatten_mapping(node)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _convert(text: bytes, repeated: list[str] | None) -> bytes:
    _check_size(text)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        told = _duplicates(node) if repeated is not None else []  # before merges are copied into the nodes
        loaded = loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()
    found = msgspec.json.encode(_Plain(10 * len(text) + 100_000).plain(loaded))
    if repeated is not None:
        repeated += told
    return found


def _check_size(text: bytes) -> None:
    """The loader's C code calls itself for every level, and at some 30,000 levels the process is dead. The parser
    below it does not, and keeps nothing, so it goes first.  Raises ValueError."""
    depth = values = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise ValueError(f"yaml: exceeded max depth of {DEEPEST}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            continue
        values += 1
        if values > MOST_VALUES:
            raise ValueError(f"yaml: document contains more than {MOST_VALUES} values")


def _duplicates(root: yaml.Node | None) -> list[str]:
    found: list[tuple[int, str]] = []
    pending = [root]
    seen: set[int] = set()  # an alias leads to a node that was looked at
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += node.value
        elif isinstance(node, yaml.MappingNode):
            names: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                    if key.value in names:
                        found.append((key.start_mark.line + 1, key.value))
                    names.add(key.value)
                pending.append(value)
    return [f'line {line}: key "{name}" already set in map' for line, name in sorted(found)]


class _Plain:
    """Copies YAML values into JSON ones. Aliases can blow a small text up beyond any memory, so there is a budget."""

    def __init__(self, budget: int) -> None:
        self.left = budget

    def plain(self, value: Any) -> Any:
        self.left -= 1 + (len(value) if isinstance(value, str | bytes) else 0)
        if self.left < 0:
            raise ValueError(ALIASING)
        if isinstance(value, dict):
            return {self._key(k): self.plain(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.plain(v) for v in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"json: unsupported value: {value}")
        return value

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            return key
        if isinstance(key, bool | int | float):
            return msgspec.json.encode(key).decode()
        raise TypeError(f"yaml: invalid map key: {key!r}")


def _say(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"yaml: line {mark.line + 1}: {getattr(error, 'problem', None) or error}"
    if isinstance(error, RecursionError):
        return "yaml: exceeded max depth"
    return str(error)
