"""Garbage collection and the end of namespaces, with objects of custom kinds."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from machinery.testing import ControlPlane
from tests.integration.api.conftest import Send
from tests.integration.api.customs import Customs, define, definition, until
from tests.integration.processes import controller_manager

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def controllers(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
    wanted = ("--leader-elect=false", "--controllers", "namespace-controller,garbage-collector-controller")
    async with controller_manager(plane, tmp_path_factory.mktemp("controllers"), *wanted):
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def widgets(send: Send) -> Customs:
    return await define(send, definition())


def owned_by(owner: dict[str, Any], **more: Any) -> dict[str, Any]:
    reference = {key: owner[key] for key in ("apiVersion", "kind")}
    reference |= {key: owner["metadata"][key] for key in ("name", "uid")}
    return {"ownerReferences": [{**reference, **more}]}


async def gone(send: Send, path: str) -> None:
    await until(send, path, lambda answer: answer.code == 404)


async def test_owners_of_either_sort_take_their_dependents_along(send: Send, widgets: Customs) -> None:
    owner = (await widgets.create("owner")).body
    owned = {"metadata": {"name": "owned-by-custom", **owned_by(owner)}}
    config_map = (await send("POST", CONFIG_MAPS, owned)).body
    await widgets.create("leaf", metadata=owned_by(config_map))
    await send("DELETE", f"{widgets.path}/owner")
    await gone(send, f"{CONFIG_MAPS}/owned-by-custom")
    await gone(send, f"{widgets.path}/leaf")


async def test_a_foreground_deletion_waits_for_custom_dependents(send: Send, widgets: Customs) -> None:
    owner = (await widgets.create("front")).body
    held = {"finalizers": ["example.com/hold"], **owned_by(owner, blockOwnerDeletion=True)}
    await widgets.create("back", metadata=held)
    answer = await send("DELETE", f"{widgets.path}/front", {"propagationPolicy": "Foreground"})
    assert answer.code == 200
    await until(send, f"{widgets.path}/back", lambda a: "deletionTimestamp" in a.body["metadata"])
    assert (await widgets.get("front"))["metadata"]["finalizers"] == ["foregroundDeletion"]
    await widgets.patch("back", {"metadata": {"finalizers": None}})
    await gone(send, f"{widgets.path}/front")


async def test_orphans_lose_their_reference(send: Send, widgets: Customs) -> None:
    owner = (await widgets.create("parent")).body
    await widgets.create("orphan", metadata=owned_by(owner))
    await send("DELETE", f"{widgets.path}/parent", {"propagationPolicy": "Orphan"})
    await gone(send, f"{widgets.path}/parent")
    assert "ownerReferences" not in (await widgets.get("orphan"))["metadata"]


async def test_a_namespace_goes_with_its_custom_objects(send: Send) -> None:
    late = await define(send, definition())
    await send("POST", "/api/v1/namespaces", {"metadata": {"name": "full"}})
    inside = late.path.replace("/default/", "/full/")
    assert (await send("POST", inside, late.document("one"))).code == 201
    await send("DELETE", "/api/v1/namespaces/full")
    await gone(send, "/api/v1/namespaces/full")
    assert (await send("GET", inside)).body["items"] == []


async def test_dependents_of_a_definition_that_went_go_too(send: Send) -> None:
    short = await define(send, definition())
    owner = (await short.create("owner")).body
    await send("POST", CONFIG_MAPS, {"metadata": {"name": "left-over", **owned_by(owner)}})
    await short.gone()
    await gone(send, f"{CONFIG_MAPS}/left-over")
