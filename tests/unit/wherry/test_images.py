from pathlib import Path

import pytest

from wherry import images, sites
from wherry.labs import PROJECT


def test_a_release_file_is_read_with_and_without_quotes(tmp_path: Path) -> None:
    told = tmp_path / "os-release"
    told.write_text('NAME="Debian GNU/Linux"\nID=debian\n\n# comment\nVERSION_CODENAME=bookworm\n')
    assert images.release(told) == {"NAME": "Debian GNU/Linux", "ID": "debian", "VERSION_CODENAME": "bookworm"}


@pytest.mark.parametrize("name", ["platform", "runtime", "component", "pause", "busybox", "echo"])
def test_every_image_has_a_recipe_whose_base_can_be_given(name: str) -> None:
    recipe = (PROJECT / "images" / name / "Dockerfile").read_text()
    assert "ARG BASE=" in recipe
    assert "FROM ${BASE}" in recipe


def test_recipes_that_need_a_compiler_share_its_layer() -> None:
    lines = {
        next(
            line for line in (PROJECT / "images" / name / "Dockerfile").read_text().splitlines() if "gcc libc6" in line
        )
        for name in ("pause", "busybox", "echo")
    }
    assert len(lines) == 1


def test_the_image_has_every_package_that_its_commands_start() -> None:
    assert {"apiserver", "controller_manager", "scheduler", "kubelet", "kube_proxy", "wherry"} <= set(images.PACKAGES)


def test_of_the_schemas_package_one_file_stays(tmp_path: Path) -> None:
    from api import schema

    package = tmp_path / "kubernetes_validate"
    wanted = package / schema.path().relative_to(schema.path().parents[2])
    wanted.parent.mkdir(parents=True)
    wanted.write_text("the definitions")
    (package / "other.py").write_text("code")
    (tmp_path / "jsonschema").mkdir()
    (tmp_path / "numpy" / "f2py").mkdir(parents=True)
    (tmp_path / "numpy" / "core.py").write_text("kept")
    sites.prune(tmp_path)
    kept = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert kept == {sites.SCHEMA, "numpy/core.py"}
    assert (tmp_path / sites.SCHEMA).read_text() == "the definitions"


def test_dependencies_are_pinned() -> None:
    assert all("==" in name for name in sites.dependencies(PROJECT))
