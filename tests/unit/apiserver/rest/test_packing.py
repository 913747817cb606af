"""What is packed comes out again, whatever was packed before it."""

import gzip as standard

from apiserver.rest import packing
from apiserver.rest.packing import Packer


def listing(version: int, *items: str) -> bytes:
    return f'{{"metadata":{{"resourceVersion":"{version}"}},"items":[{",".join(items)}]}}\n'.encode()


def test_every_list_comes_out_as_it_was() -> None:
    packer = Packer()
    bodies = [
        listing(1, '"a"', '"b"'), listing(2, '"a"', '"b"'), listing(1000, '"a"', '"b"'), listing(3, '"a"', '"c"'),
        listing(4), listing(5, '"x"' * 100_000), b"no list at all",
    ]  # fmt: skip
    for body in bodies * 2:
        assert standard.decompress(packer.gzip(body)) == body


def test_unchanged_items_are_packed_once() -> None:
    packer = Packer()
    packer.gzip(listing(1, '"a"'))
    (before,) = packer._tails.values()
    packer.gzip(listing(2, '"a"'))
    assert list(packer._tails.values()) == [before]


def test_few_lists_are_kept() -> None:
    packer = Packer()
    for count in range(3 * packing.KEPT):
        packer.gzip(listing(1, *['"a"'] * count))
    assert len(packer._tails) == packing.KEPT
