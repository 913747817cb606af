"""Expressions → tokens.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax
"""

import re
from typing import Any, NamedTuple

from machinery.cel.faults import Issue
from machinery.cel.values import Uint


class Token(NamedTuple):
    """`kind` is `int uint double string bytes name end`, or the operator or keyword itself."""

    kind: str
    text: str
    value: Any
    offset: int


_STRING = r"""(?:[rR]?[bB]?|[bB][rR])(?:\"\"\"|'''|"|')"""
_TOKEN = re.compile(
    rf"""
      (?P<space>(?:[\t\n\f\r\ ]+|//[^\n]*)+)
    | (?P<string>{_STRING})
    | (?P<double>(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
    | (?P<int>(?:0x[0-9a-fA-F]+|[0-9]+)[uU]?)
    | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
    | (?P<operator>==|!=|<=|>=|&&|\|\||[<>\[\]{{}}().,\-!?:+*/%])
    """,
    re.VERBOSE,
)
KEYWORDS = frozenset({"true", "false", "null", "in"})
RESERVED = frozenset(
    {
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package",
        "namespace", "return", "var", "void", "while",
    }
)  # fmt: skip
_SIMPLE_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_ESCAPE = re.compile(
    r"""\\(?:(?P<simple>[abfnrtv\\?"'`])|(?:[xX](?P<hex>[0-9a-fA-F]{2}))|u(?P<u4>[0-9a-fA-F]{4})"""
    r"""|U(?P<u8>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2}))"""
)


def tokens(source: str, issues: list[Issue]) -> list[Token]:
    """All tokens, with one of kind `end` at the end.  What is no token goes to the issues and is passed over."""
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            at = _unknown(source, at, issues)
            continue
        kind = match.lastgroup or ""
        if kind == "string":
            at = _string(source, match, found, issues)
            continue
        if kind != "space":
            found.append(_token(kind, match, issues))
        at = match.end()
    found.append(Token("end", "<EOF>", None, len(source)))
    return found


def _unknown(source: str, at: int, issues: list[Issue]) -> int:
    """`=`, `&` and `|` begin operators: the lexer that upstream generates names the character after them too."""
    wide = source[at] in "=&|" and at + 1 < len(source)
    text = source[at : at + 2] if wide else source[at]
    issues.append(Issue(at, f"Syntax error: token recognition error at: '{text}'"))
    return at + len(text)


def _token(kind: str, match: re.Match[str], issues: list[Issue]) -> Token:
    text, at = match[0], match.start()
    if kind == "int":
        digits = text.rstrip("uU")
        number = int(digits, 16) if digits.startswith("0x") else int(digits)
        if digits != text:
            if number >= 2**64:
                issues.append(Issue(at, "invalid uint literal"))
            return Token("uint", text, Uint(number), at)
        if number > 2**63:
            issues.append(Issue(at, "invalid int literal"))
        return Token("int", text, number, at)
    if kind == "double":
        return Token("double", text, float(text), at)
    if kind == "name":
        return Token(text if text in KEYWORDS else "name", text, text, at)
    return Token(text, text, text, at)


def _string(source: str, match: re.Match[str], found: list[Token], issues: list[Issue]) -> int:
    opening = match[0]
    quote = opening.lstrip("rRbB")
    prefix = opening[: len(opening) - len(quote)].lower()
    at, raw = match.end(), "r" in prefix
    while not source.startswith(quote, at):
        if at >= len(source) or (len(quote) == 1 and source[at] in "\n\r"):
            text = source[match.start() : at]
            issues.append(Issue(match.start(), f"Syntax error: token recognition error at: '{text}'"))
            return max(at, match.end())
        at += 2 if source[at] == "\\" and not raw else 1
    body = source[match.end() : at]
    end = at + len(quote)
    kind = "bytes" if "b" in prefix else "string"
    try:
        value = _unescaped(body, raw, kind == "bytes")
    except ValueError:
        text = source[match.start() : end]
        issues.append(Issue(match.start(), f"Syntax error: token recognition error at: '{text}'"))
        return end
    found.append(Token(kind, source[match.start() : end], value, match.start()))
    return end


def _unescaped(body: str, raw: bool, as_bytes: bool) -> str | bytes:
    """Raises ValueError."""
    if raw:
        return body.encode() if as_bytes else body
    pieces: list[str | bytes] = []
    at = 0
    while (slash := body.find("\\", at)) >= 0:
        pieces.append(body[at:slash])
        match = _ESCAPE.match(body, slash)
        if match is None:
            raise ValueError(body)
        pieces.append(_escape(match, as_bytes))
        at = match.end()
    pieces.append(body[at:])
    if as_bytes:
        return b"".join(p if isinstance(p, bytes) else p.encode() for p in pieces)
    return "".join(p for p in pieces if isinstance(p, str))


def _escape(match: re.Match[str], as_bytes: bool) -> str | bytes:
    if match["simple"]:
        return _SIMPLE_ESCAPES[match["simple"]]
    if match["u4"] or match["u8"]:
        code = int(match["u4"] or match["u8"], 16)
        if as_bytes or code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ValueError(match[0])
        return chr(code)
    code = int(match["hex"], 16) if match["hex"] else int(match["octal"], 8)
    return bytes([code]) if as_bytes else chr(code)
