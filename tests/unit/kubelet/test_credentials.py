"""Which login is shown to which registry."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from api.types import ObjectMeta, Secret
from kubelet.images.credentials import Holder, Key, keys
from kubelet.images.names import full_name
from kubelet.runtime.interfaces import Login


def logins(secrets: list[Secret], image: str) -> list[Login]:
    return [key.login for key in keys(secrets, Path("/nowhere"), image)]


def secret(auths: dict[str, Any], kind: str = "dockerconfigjson", name: str = "s") -> Secret:
    document = json.dumps({"auths": auths} if kind == "dockerconfigjson" else auths).encode()
    data = {f".{kind}": base64.b64encode(document).decode()}
    return Secret(
        metadata=ObjectMeta(name=name, namespace="n", uid=f"u-{name}"), type=f"kubernetes.io/{kind}", data=data
    )


@pytest.mark.parametrize(
    ("image", "whole"),
    [
        ("nginx", "docker.io/library/nginx"),
        ("me/app:1", "docker.io/me/app:1"),
        ("index.docker.io/me/app", "docker.io/me/app"),
        ("localhost/app", "localhost/app"),
        ("registry.example.com:5000/a/b", "registry.example.com:5000/a/b"),
    ],
)
def test_an_image_may_leave_its_registry_out(image: str, whole: str) -> None:
    assert full_name(image) == whole


@pytest.mark.parametrize(
    ("place", "image", "matches"),
    [
        ("https://index.docker.io/v1/", "me/app:1", True),
        ("registry.example.com", "registry.example.com/app", True),
        ("registry.example.com", "registry.example.org/app", False),
        ("registry.example.com/team", "registry.example.com/team/app:1", True),
        ("registry.example.com/team", "registry.example.com/teams/app:1", False),
        ("*.example.com", "registry.example.com/app", True),
        ("*.example.com", "a.registry.example.com/app", False),
        ("localhost:5000", "localhost:5001/app", False),
    ],
)
def test_a_login_is_for_one_registry_or_a_part_of_it(place: str, image: str, matches: bool) -> None:
    entry = {"username": "u", "password": "p"}
    assert logins([secret({place: entry})], image) == ([Login("u", "p")] if matches else [])


def test_the_most_exact_login_comes_first_and_each_once() -> None:
    auth = base64.b64encode(b"team:secret:word").decode()
    first = secret({"r.example.com": {"username": "all", "password": "p"}, "r.example.com/team": {"auth": auth}})
    old = secret({"https://r.example.com/v1/": {"username": "all", "password": "p"}}, "dockercfg")
    assert logins([first, old], "r.example.com/team/app") == [Login("team", "secret:word"), Login("all", "p")]


def test_what_cannot_be_read_holds_no_login() -> None:
    broken = Secret(metadata=ObjectMeta(name="s"), type="kubernetes.io/dockerconfigjson", data={})
    assert logins([broken, secret({"a": "text"})], "a/b") == []


@pytest.mark.parametrize("auth", [5, "ä", {"a": 1}, "a", ["b"]])
def test_a_login_that_is_no_text_is_none(auth: Any) -> None:
    assert logins([secret({"a.com": {"auth": auth}})], "a.com/b") == [Login()]


@pytest.mark.parametrize(
    "document", [b'[[1, {"auth": "x"}]]', b'{"a.com": ' * 5000, b'"text"', b'["ab"]', b'{"\xff": {}}']
)
@pytest.mark.parametrize("kind", ["dockercfg", "dockerconfigjson"])
def test_a_document_of_another_shape_holds_no_login(kind: str, document: bytes) -> None:
    whole = b'{"auths": ' + document + b"}" if kind == "dockerconfigjson" else document
    data = {f".{kind}": base64.b64encode(whole).decode()}
    odd = Secret(metadata=ObjectMeta(name="s"), type=f"kubernetes.io/{kind}", data=data)
    assert logins([odd], "a.com/b") == []


def test_a_password_is_not_printed() -> None:
    assert "secret" not in repr(Login("u", "secret"))


def test_the_nodes_own_logins_are_everybodys_and_come_last(tmp_path: Path) -> None:
    node = {"r.example.com": {"username": "node", "password": "p"}, "r.example.com/team": {"username": "u"}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": node}))
    (tmp_path / ".dockercfg").write_text(json.dumps({"r.example.com": {"username": "old", "password": "p"}}))
    own = secret({"r.example.com": {"username": "pod", "password": "p"}})
    found = keys([own], tmp_path, "r.example.com/team/app:1")
    assert found == [
        Key(Login("pod", "p"), Holder("u-s", "n", "s")), Key(Login("u")), Key(Login("node", "p")), Key(Login("old", "p")),
    ]  # fmt: skip
    assert "pod" not in found[0].digest


def test_a_nodes_file_that_cannot_be_read_holds_no_login(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert keys([], tmp_path, "r.example.com/app") == []
