"""Links of pages that are shown through a proxy."""

import gzip

import pytest

from apiserver.rest.rewriting import PIECE, Links, Page, rewriter

PROXY = "/api/v1/namespaces/n/pods/p/proxy"
LINKS = Links(PROXY, "api.example:6443", ["10.0.0.1:80"])


@pytest.mark.parametrize(
    ("link", "through"),
    [
        ("/", f"{PROXY}/"),
        ("/next/?q=a%2Fb#c", f"{PROXY}/next/?q=a%2Fb#c"),
        ("/a%20b", f"{PROXY}/a%20b"),
        ("http://10.0.0.1:80/next", f"{PROXY}/next"),
        ("//10.0.0.1:80/next", f"{PROXY}/next"),
        ("https://api.example:6443/next", f"https://api.example:6443{PROXY}/next"),
        ("/../../etc", f"{PROXY.rpartition('/')[0].rpartition('/')[0]}/etc"),
        (f"{PROXY}/there", f"{PROXY}/there"),
        ("next", "next"),
        ("?page=2", "?page=2"),
        ("#top", "#top"),
        ("https://example.com/next", "https://example.com/next"),
        ("mailto:somebody@example.com", "mailto:somebody@example.com"),
        ("http://[", "http://["),
    ],
)
def test_a_link_to_the_server_itself_leads_through_the_proxy(link, through):
    assert LINKS.through(link) == through


PAGE = """<!DOCTYPE html><!-- <a href="/no"> --><html><head><title><a href="/no"></title>
<script src="/s.js">if (a </b/.test(c)) "<a href='/no'>"</script><STYLE>a < b</STYLE></head>
<body data-x="a>b" background='/b.png'><A class=x HREF=/plain>ü</A> 1 < 2 <a href="/a?b&amp;c">x</a><img src="/i"/>
<a title="/no" href="relative">y</a><form action="http://10.0.0.1:80/f" method=post></form><"""
SHOWN = (
    PAGE.replace('"/s.js"', f'"{PROXY}/s.js"').replace("'/b.png'", f'"{PROXY}/b.png"')
    .replace("=/plain", f'="{PROXY}/plain"').replace('"/a?', f'"{PROXY}/a?').replace('"/i"', f'"{PROXY}/i"')
    .replace('"http://10.0.0.1:80/f"', f'"{PROXY}/f"')
)  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_page_may_be_cut_anywhere(size):
    page, whole = Page(LINKS), PAGE.encode()
    shown = b"".join(page.feed(whole[at : at + size]) for at in range(0, len(whole), size))
    assert (shown + page.feed(b"", last=True)).decode() == SHOWN


def test_what_is_complete_is_not_held_back():
    assert Page(LINKS).feed(b"<p>one</p>two<a hr") == b"<p>one</p>two"


def test_a_tag_that_never_ends_is_text():
    endless = b"<a title='" + bytes(70_000)
    assert Page(LINKS).feed(endless) == endless


def test_bytes_that_are_no_text_stay():
    page = Page(LINKS)
    assert page.feed(b"\xff\xfe<b>\xc3") + page.feed(b"", last=True) == b"\xff\xfe<b>\xc3"


@pytest.mark.parametrize(
    "endless", ["<a " + "a" * 60_000 + ">", "<a" * 60_000, "<a a" + " " * 60_000 + ">", "<" * 60_000, "<b>" * 60_000]
)
def test_a_page_takes_no_longer_than_it_is_long(endless):
    # A minute and more for each of the first two, if anything is tried again from every letter on.
    page = Page(LINKS)
    assert page.feed(endless.encode()) + page.feed(b"", last=True) == endless.encode()


def _shown(found, packed, size):
    parts = [packed[at : at + size] for at in range(0, len(packed), size)]
    return [*(piece for part in parts for piece in found.pieces(part)), *found.pieces(b"", last=True)]


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_a_compressed_page_stays_compressed(size):
    packed = gzip.compress(b"<a href=/x>" * 100_000)
    shown = b"".join(_shown(rewriter(LINKS, "text/html; charset=utf-8", "gzip"), packed, size))
    assert gzip.decompress(shown) == f'<a href="{PROXY}/x">'.encode() * 100_000


def test_what_a_few_bytes_hold_comes_in_pieces():
    content = b"<b>" * 1_000_000
    packed = gzip.compress(content)
    found = rewriter(LINKS, "text/html", "gzip")
    assert len(_shown(found, packed, len(packed))) > len(content) // PIECE


@pytest.mark.parametrize(("kind", "encoding"), [("text/plain", ""), ("", ""), ("text/html", "br")])
def test_what_is_no_readable_page_stays_as_it_is(kind, encoding):
    assert rewriter(LINKS, kind, encoding) is None
