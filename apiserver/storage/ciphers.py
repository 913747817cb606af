"""Values as they lie in etcd, encrypted: `k8s:enc:aesgcm:v1:KEYNAME:` and then what only the key's holder can read.

The same bytes as upstream's, so that either reads what the other wrote.  The etcd key is authenticated with the value
(aesgcm): nobody who can write to etcd can pass one secret off as another.
https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MARK = b"k8s:enc:"
NONCE, BLOCK = 12, 16


class Undecipherable(Exception):
    """No key at hand opens the value, or somebody has changed it."""


class Key(Protocol):
    prefix: bytes

    def seal(self, place: bytes, value: bytes) -> bytes: ...

    def open(self, place: bytes, sealed: bytes) -> bytes:
        """Raises Undecipherable."""


class Plain:
    """Not encrypted at all."""

    prefix = b""

    def seal(self, place: bytes, value: bytes) -> bytes:
        return value

    def open(self, place: bytes, sealed: bytes) -> bytes:
        return sealed


class Gcm:
    def __init__(self, name: str, secret: bytes) -> None:
        self.prefix = b"k8s:enc:aesgcm:v1:%b:" % name.encode()
        self._cipher = AESGCM(secret)

    def seal(self, place: bytes, value: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return nonce + self._cipher.encrypt(nonce, value, place)

    def open(self, place: bytes, sealed: bytes) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], place)
        except (InvalidTag, ValueError) as e:
            raise Undecipherable("cipher: message authentication failed") from e


class Cbc:
    def __init__(self, name: str, secret: bytes) -> None:
        self.prefix = b"k8s:enc:aescbc:v1:%b:" % name.encode()
        self._algorithm = algorithms.AES(secret)

    def seal(self, place: bytes, value: bytes) -> bytes:
        start = os.urandom(BLOCK)
        padder = padding.PKCS7(BLOCK * 8).padder()
        encryptor = Cipher(self._algorithm, modes.CBC(start)).encryptor()
        return start + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()

    def open(self, place: bytes, sealed: bytes) -> bytes:
        if len(sealed) < 2 * BLOCK or len(sealed) % BLOCK:
            raise Undecipherable("the stored data is not a multiple of the block size")
        decryptor = Cipher(self._algorithm, modes.CBC(sealed[:BLOCK])).decryptor()
        unpadder = padding.PKCS7(BLOCK * 8).unpadder()
        try:
            padded = decryptor.update(sealed[BLOCK:]) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError as e:
            raise Undecipherable("invalid padding on input") from e


class Keys:
    """What a resource is encrypted with: the first key writes, all of them read."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._first = keys[0]
        self._keys = tuple(keys)
        self.stale: set[bytes] = set()
        """The places of values that were not written by the first key: writing them again, unchanged, is no no-op."""

    def seal(self, place: bytes, value: bytes) -> bytes:
        return self._first.prefix + self._first.seal(place, value)

    def open(self, place: bytes, sealed: bytes) -> bytes:
        """Raises Undecipherable."""
        failure = Undecipherable("no matching prefix found")
        for key in self._keys:
            if not sealed.startswith(key.prefix or b"{"):
                continue
            try:
                value = key.open(place, sealed[len(key.prefix) :])
            except Undecipherable as e:
                failure = e
                continue
            (self.stale.discard if key is self._first else self.stale.add)(place)
            return value
        raise failure


class Ciphers:
    """Which keys each resource (`secrets`, `apps/deployments`) is encrypted with. Most have none."""

    def __init__(self, choose: Callable[[str], Keys | None] = lambda resource: None) -> None:
        self._choose = choose
        self._known: dict[str, Keys | None] = {}

    @classmethod
    def of(cls, keys: Mapping[str, Keys]) -> "Ciphers":
        return cls(keys.get)

    def __getitem__(self, resource: str) -> Keys | None:
        if resource not in self._known:
            self._known[resource] = self._choose(resource)
        return self._known[resource]


NONE = Ciphers()
