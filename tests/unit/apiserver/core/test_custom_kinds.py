"""Kinds that come and go while the world is followed."""

import asyncio
import json
from dataclasses import replace

import pytest

from api import fields
from api.errors import NotFound
from api.kinds import Kind
from apiserver.storage import keys
from apiserver.storage.etcd import Etcd
from apiserver.storage.tables import EVERYTHING, Filter
from apiserver.storage.transactions import Store
from apiserver.storage.worlds import World
from tests.unit.apiserver.customs.definitions import definition, version

COLORED = {"type": "object", "properties": {"color": {"type": "string"}}}


def widgets(*selectable: str) -> Kind:
    found = [{"jsonPath": path} for path in selectable]
    return definition(version(spec=COLORED, selectableFields=found)).kinds["v1"]


def at(name: str) -> bytes:
    return keys.whole("example.com/widgets", f"default/{name}")


def widget(name: str, color: str = "red") -> bytes:
    metadata = {"name": name, "namespace": "default"}
    tree = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"color": color}}
    return json.dumps(tree, separators=(",", ":")).encode()


def names(world: World, kind: Kind, selector: str = "") -> list[str]:
    filter_ = Filter(fields=fields.parse(selector))
    return [item.name for item in world.resource(kind).table.select("", filter_).items]


async def test_a_new_kind_is_loaded_and_then_followed(world: World, store: Store) -> None:
    kind = widgets()
    await store.create(at("before"), widget("before"))
    with pytest.raises(NotFound):
        world.resource(kind)
    await world.add(kind)
    assert names(world, kind) == ["before"]
    await store.create(at("later"), widget("later"))
    await world.fresh()
    assert names(world, kind) == ["before", "later"]


async def test_nothing_is_lost_that_is_written_while_a_kind_is_loaded(world: World, store: Store) -> None:
    kind = widgets()

    async def write() -> None:
        for number in range(50):
            await store.create(at(f"{number:02}"), widget(f"{number:02}"))

    writing = asyncio.create_task(write())
    await world.add(kind)
    await writing
    await world.fresh()
    assert len(names(world, kind)) == 50


async def test_watches_end_with_their_kind_after_what_they_were_not_told_yet(world: World, store: Store) -> None:
    kind = widgets()
    await world.add(kind)
    with world.watcher(kind, "", EVERYTHING, bookmarks=False) as watcher:
        await store.create(at("a"), widget("a"))
        await world.fresh()
        world.remove(kind)
        assert [event.type for event in await watcher.take()] == ["ADDED"]
        assert await watcher.take() == []
    with pytest.raises(NotFound):
        world.resource(kind)


async def test_a_kind_that_cannot_be_loaded_may_be_tried_again(
    world: World, store: Store, etcd: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = widgets()

    async def fails(*_: object, **__: object) -> None:
        raise NotFound("away")

    with monkeypatch.context() as patch:
        patch.setattr(etcd, "range", fails)
        with pytest.raises(NotFound):
            await world.add(kind)
    await store.create(at("a"), widget("a"))
    await world.add(kind)
    assert names(world, kind) == ["a"]


async def test_objects_are_selected_by_the_fields_of_the_definition(world: World, store: Store) -> None:
    kind = widgets()
    await store.create(at("a"), widget("a"))
    await world.add(kind)
    selectable = widgets(".spec.color")
    world.reindex(replace(kind, shape=selectable.shape))
    await store.create(at("b"), widget("b", "blue"))
    await world.fresh()
    assert names(world, kind, "spec.color=red") == ["a"]
    assert names(world, kind, "spec.color=blue") == ["b"]
