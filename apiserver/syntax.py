"""What Go's encoding/json says of a text that is not JSON.

A small scanner that stops at the same byte with the same words.  It runs only when msgspec has refused the text, and
over its beginning only: it takes two microseconds for a byte, in which nobody else is served.
"""

WHITE = " \t\r\n"
DIGITS = "0123456789"
END = "unexpected end of JSON input"
MOST_SCANNED = 64 * 1024


class SyntaxFault(Exception):
    """The message of Go's SyntaxError."""


def fault_of(text: bytes) -> str:
    """Go's words for what is wrong with `text`; a general sentence if this scanner finds nothing wrong with it."""
    try:
        scanner = _Scanner(text[:MOST_SCANNED].decode("utf-8", errors="replace"))
        scanner.value("looking for beginning of value")
        scanner.white()
        if scanner.at < len(scanner.text):
            raise scanner.unexpected("after top-level value")
    except SyntaxFault as e:
        if str(e) != END or len(text) <= MOST_SCANNED:
            return str(e)
    except RecursionError:
        return "exceeded max depth"
    return "invalid JSON"


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def unexpected(self, where: str) -> SyntaxFault:
        if self.at >= len(self.text):
            return SyntaxFault(END)
        c = self.text[self.at]
        shown = {"'": r"'\''", '"': "'\"'"}.get(c) or "'" + c.encode("unicode_escape").decode() + "'"
        return SyntaxFault(f"invalid character {shown} {where}")

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def white(self) -> None:
        while self.peek() and self.peek() in WHITE:
            self.at += 1

    def value(self, where: str) -> None:
        self.white()
        c = self.peek()
        if c == "{":
            self.object()
        elif c == "[":
            self.array()
        elif c == '"':
            self.string()
        elif c and c in "-" + DIGITS:
            self.number()
        elif c and c in "tfn":
            self.literal({"t": "true", "f": "false", "n": "null"}[c])
        else:
            raise self.unexpected(where)

    def object(self) -> None:
        self.at += 1
        self.white()
        if self.peek() == "}":
            self.at += 1
            return
        while True:
            self.white()
            if self.peek() != '"':
                raise self.unexpected("looking for beginning of object key string")
            self.string()
            self.white()
            if self.peek() != ":":
                raise self.unexpected("after object key")
            self.at += 1
            self.value("looking for beginning of value")
            self.white()
            if self.peek() == "}":
                self.at += 1
                return
            if self.peek() != ",":
                raise self.unexpected("after object key:value pair")
            self.at += 1

    def array(self) -> None:
        self.at += 1
        self.white()
        if self.peek() == "]":
            self.at += 1
            return
        while True:
            self.value("looking for beginning of value")
            self.white()
            if self.peek() == "]":
                self.at += 1
                return
            if self.peek() != ",":
                raise self.unexpected("after array element")
            self.at += 1

    def string(self) -> None:
        self.at += 1
        while self.peek() != '"':
            c = self.peek()
            if not c:
                raise SyntaxFault(END)
            if c < " ":
                raise self.unexpected("in string literal")
            self.at += 1
            if c == "\\":
                self.escape()
        self.at += 1

    def escape(self) -> None:
        c = self.peek()
        if c == "u":
            for _ in range(4):
                self.at += 1
                if not self.peek() or self.peek() not in "0123456789abcdefABCDEF":
                    raise self.unexpected("in \\u hexadecimal character escape")
        elif not c or c not in 'bfnrt\\/"':
            raise self.unexpected("in string escape code")
        self.at += 1

    def number(self) -> None:
        if self.peek() == "-":
            self.at += 1
            if not self.peek() or self.peek() not in DIGITS:
                raise self.unexpected("in numeric literal")
        if self.peek() == "0":
            self.at += 1
        else:
            self.digits()
        if self.peek() == ".":
            self.at += 1
            if not self.peek() or self.peek() not in DIGITS:
                raise self.unexpected("after decimal point in numeric literal")
            self.digits()
        if self.peek() and self.peek() in "eE":
            self.at += 1
            if self.peek() and self.peek() in "+-":
                self.at += 1
            if not self.peek() or self.peek() not in DIGITS:
                raise self.unexpected("in exponent of numeric literal")
            self.digits()

    def digits(self) -> None:
        while self.peek() and self.peek() in DIGITS:
            self.at += 1

    def literal(self, word: str) -> None:
        self.at += 1
        for c in word[1:]:
            if self.peek() != c:
                raise self.unexpected(f"in literal {word} (expecting {c!r})")
            self.at += 1
