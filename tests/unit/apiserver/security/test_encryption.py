"""The file that says what is encrypted: which resources it means, and what it may not say."""

import base64
from pathlib import Path

import pytest

from apiserver import encryption
from apiserver.storage.ciphers import Cbc, Gcm, Key, Keys, Plain, Undecipherable

HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
SECRET = base64.b64encode(b"0" * 32).decode()
KEY = f"[{{aesgcm: {{keys: [{{name: k, secret: {SECRET}}}]}}}}]"


def load(path: Path, text: str) -> encryption.Ciphers:
    file = path / "encryption.yaml"
    file.write_text(HEAD + text)
    return encryption.load(file)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("secrets", {"secrets"}),
        ("deployments.apps", {"apps/deployments"}),
        ("'*.apps'", {"apps/deployments"}),
        ("'*.'", {"secrets", "pods"}),
        ("'*.*'", {"secrets", "pods", "apps/deployments"}),
    ],
)
def test_resources_are_named_or_meant_by_a_wildcard(tmp_path: Path, name: str, meant: set[str]) -> None:
    ciphers = load(tmp_path, f"- {{resources: [{name}], providers: {KEY}}}\n")
    assert {r for r in ("secrets", "pods", "apps/deployments") if ciphers[r] is not None} == meant


def test_the_first_entry_that_names_a_resource_counts(tmp_path: Path) -> None:
    entries = f"- {{resources: [pods], providers: [{{identity: {{}}}}]}}\n- {{resources: ['*.*'], providers: {KEY}}}\n"
    ciphers = load(tmp_path, entries)
    pods, secrets = ciphers["pods"], ciphers["secrets"]
    assert pods is not None
    assert pods.seal(b"k", b"{}") == b"{}"
    assert secrets is not None
    assert secrets.seal(b"k", b"{}").startswith(b"k8s:enc:aesgcm:v1:k:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {resources: ['*'], providers: [{identity: {}}]}", "is not PLURAL"),
        ("- {resources: [secrets], providers: []}", "at least one is required"),
        ("- {resources: [secrets], providers: [{secretbox: {keys: []}}]}", "secretbox is not supported here"),
        ("- {resources: [secrets], providers: [{kms: {}}]}", "kms plug-ins are not supported here"),
        ("- {resources: [secrets], providers: [{rot13: {}}]}", "there is no 'rot13'"),
        ("- {resources: [secrets], providers: [{aesgcm: {keys: [{name: k, secret: '*'}]}}]}", "is not base64"),
        ("- {resources: [secrets], providers: [{aesgcm: {keys: [{name: k, secret: YQ==}]}}]}", "has 1 bytes"),
        ("nonsense", "encryption configuration"),
    ],
)
def test_what_the_file_may_not_say(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize("key", [Gcm("k", b"1" * 16), Cbc("k", b"1" * 24)])
def test_what_was_sealed_is_opened_and_looks_different_each_time(key: Key) -> None:
    keys = Keys([key])
    first, second = (keys.seal(b"/place", b'{"a":1}') for _ in range(2))
    assert first != second
    assert keys.open(b"/place", first) == keys.open(b"/place", second) == b'{"a":1}'
    with pytest.raises(Undecipherable):
        keys.open(b"/place", first[:-7])
    with pytest.raises(Undecipherable, match="no matching prefix found"):
        keys.open(b"/place", b'{"a":1}')


def test_what_the_first_key_did_not_write_is_stale_until_it_does() -> None:
    keys = Keys([Gcm("new", b"2" * 32), Gcm("old", b"1" * 32), Plain()])
    keys.open(b"/a", b"{}")
    keys.open(b"/b", Keys([Gcm("old", b"1" * 32)]).seal(b"/b", b"{}"))
    assert keys.stale == {b"/a", b"/b"}
    keys.open(b"/a", keys.seal(b"/a", b"{}"))
    assert keys.stale == {b"/b"}
