"""Which login is shown to which registry."""

import base64
import json
from typing import Any

import pytest

from api.types import ObjectMeta, Secret
from kubelet.pods.credentials import full_name, logins
from kubelet.runtime.interfaces import Login


def secret(auths: dict[str, Any], kind: str = "dockerconfigjson") -> Secret:
    document = json.dumps({"auths": auths} if kind == "dockerconfigjson" else auths).encode()
    data = {f".{kind}": base64.b64encode(document).decode()}
    return Secret(metadata=ObjectMeta(name="s"), type=f"kubernetes.io/{kind}", data=data)


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


def test_a_password_is_not_printed() -> None:
    assert "secret" not in repr(Login("u", "secret"))
