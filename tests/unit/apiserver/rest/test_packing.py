"""What is packed comes out again, whatever was packed before it; and large lists are the same bytes, however sent."""

import gzip as standard
import random

import pytest

from apiserver.rest import listings, packing
from apiserver.rest.packing import Packer

HEAD = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"%d"},"items":['


def items(count: int, seed: int = 0, size: int = 300) -> list[bytes]:
    chance = random.Random(seed)
    return [b'{"name":"%d","data":"%b"}' % (i, chance.randbytes(size // 2).hex().encode()) for i in range(count)]


def whole(head: bytes, parts: list[bytes]) -> bytes:
    return head + b",".join(parts) + b"]}\n"


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 500])
def test_every_list_comes_out_as_it_was(count: int) -> None:
    packer, before = Packer(), items(count)
    for version in (1, 2, 1000):
        head = HEAD % version
        assert standard.decompress(packer.gzip(head, before, b"]}\n")) == whole(head, before)


def test_what_has_changed_is_packed_anew_and_nothing_else() -> None:
    packer, before = Packer(), items(1000)
    packer.gzip(HEAD % 1, before, b"]}\n")
    assert packer.is_ready(before)
    known = dict(packer._runs)
    # Python hashes bytes otherwise in each process: here one is taken that ends no run, for another that ends none.
    run = next(run for run in packing.runs_of(before) if len(run) > 1)
    new = next(item for item in items(1000, seed=2) if hash(item) % packing.MEAN_RUN)
    after = [new if item is run[0] else item for item in before]
    assert packer.is_ready(after)
    assert standard.decompress(packer.gzip(HEAD % 2, after, b"]}\n")) == whole(HEAD % 2, after)
    assert packer._runs.keys() - known.keys() == {(new, *run[1:])}
    assert not packer.is_ready(items(1000, seed=1))


def test_no_more_is_kept_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LARGEST", 100_000)
    packer = Packer()
    for seed in range(5):
        parts = items(1000, seed)
        assert standard.decompress(packer.gzip(HEAD % seed, parts, b"]}\n")) == whole(HEAD % seed, parts)
        assert sum(block.size for block in packer._runs.values()) == packer._size <= 100_000


@pytest.mark.parametrize("count", [0, 1, 2, 100])
@pytest.mark.parametrize("size", [10, 5000, 400_000])
def test_the_pieces_of_a_list_are_the_list(count: int, size: int) -> None:
    if count * size > 10_000_000:
        count = 20
    parts, head = items(count, size=size), HEAD % 1
    pieces = list(listings.pieces(head, parts))
    assert b"".join(pieces) == whole(head, parts)
    assert listings.size_of(head, parts) == len(whole(head, parts))
    assert all(len(piece) < listings.PIECE + size + 1000 for piece in pieces)
