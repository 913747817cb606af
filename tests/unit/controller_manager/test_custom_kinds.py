"""Kinds that controllers learn of from their definitions."""

from typing import Any

from api import meta
from api.types import CustomResourceDefinition
from controller_manager.custom_kinds import CustomKinds, kind_of
from controller_manager.informing import Informers
from machinery.testing import FakeClock
from tests.unit.controller_manager.worlds import World


def crd(*versions: tuple[str, bool, bool], established: str = "True") -> Any:
    """Versions are (name, served, storage)."""
    document = {
        "metadata": {"name": "widgets.example.com", "uid": "u"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": n, "served": served, "storage": storage} for n, served, storage in versions],
        },
        "status": {
            "acceptedNames": {"plural": "widgets", "kind": "Widget"}, "storedVersions": [],
            "conditions": [{"type": "Established", "status": established}],
        },
    }  # fmt: skip
    return meta.decode(meta.encode(document), CustomResourceDefinition)


def test_a_definition_is_one_kind_in_the_version_it_is_stored_in_if_that_is_served() -> None:
    both = kind_of(crd(("v1", True, False), ("v2", True, True)))
    assert both is not None
    assert (both.api_version, both.plural, both.namespaced, both.custom) == ("example.com/v2", "widgets", True, True)
    hidden = kind_of(crd(("v1", True, False), ("v2", False, True)))
    assert hidden is not None
    assert hidden.version == "v1"


def test_what_is_not_served_is_no_kind() -> None:
    assert kind_of(crd(("v1", False, True))) is None
    assert kind_of(crd(("v1", True, True), established="False")) is None


def test_handlers_are_told_of_what_comes_and_goes(world: World, clock: FakeClock) -> None:
    kinds = CustomKinds(Informers(world, clock))  # type: ignore[arg-type]
    told: list[str] = []
    kinds.on_change(lambda kind, _: told.append(f"+{kind.version}"), lambda kind, _: told.append(f"-{kind.version}"))
    first, second = crd(("v1", True, True)), crd(("v1", True, False), ("v2", True, True))
    kinds._changed(None, first)
    kinds._changed(first, first)
    kinds._changed(first, second)
    kinds._changed(second, None)
    assert told == ["+v1", "-v1", "+v2", "-v2"]
