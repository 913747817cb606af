"""Tokens → trees, by recursive descent.

    expression = or ["?" or ":" expression]
    binary     = unary {operator binary}         by precedence
    unary      = {"!" | "-"} member
    member     = primary {"." name ["(" … ")"] | ".?" name | "[" ["?"] expression "]"}

Macros are expanded while parsing, as upstream does, so that the names that they declare are known to nobody else.
"""

from machinery.cel import macros
from machinery.cel.faults import Issue, compilation_fault
from machinery.cel.lexing import RESERVED, Token, tokens
from machinery.cel.trees import Call, Entry, FieldValue, Ident, ListNode, Literal, MapNode, Node, Select, Struct

LONGEST = 100_000
DEEPEST = 100
TOO_DEEP = "expression recursion limit exceeded: 250"
STARTS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
PRECEDENCE = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
    "+": 4, "-": 4,
    "*": 5, "/": 5, "%": 5,
}  # fmt: skip
FUNCTIONS = {
    "||": "_||_", "&&": "_&&_", "==": "_==_", "!=": "_!=_", "<": "_<_", "<=": "_<=_", ">": "_>_", ">=": "_>=_",
    "in": "@in", "+": "_+_", "-": "_-_", "*": "_*_", "/": "_/_", "%": "_%_",
}  # fmt: skip


def parse(source: str, *, binds: bool = False) -> Node:
    """`binds`: `cel.bind` is known.  Raises CompilationFault."""
    if len(source) > LONGEST:
        issue = Issue(0, f"expression code point size exceeds limit: size: {len(source)}, limit {LONGEST}")
        raise compilation_fault(source, [issue])
    issues: list[Issue] = []
    found = tokens(source, issues)
    parser = _Parser(found, issues, binds)
    tree: Node | None = None
    try:
        tree = parser.whole()
    except _Stop:
        pass
    except RecursionError:
        issues.append(Issue(0, TOO_DEEP))
    if issues or tree is None:
        raise compilation_fault(source, issues)
    return tree


class _Stop(Exception):
    """The issue has been noted; what comes after it cannot be understood."""


class _Parser:
    def __init__(self, found: list[Token], issues: list[Issue], binds: bool) -> None:
        self._tokens = found
        self._issues = issues
        self._binds = binds
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        tree = self.expression()
        if self._next.kind != "end":
            last = self._tokens[self._at + 1].kind == "end"
            what = "extraneous" if last else "mismatched"
            self._stop(f"Syntax error: {what} input '{self._next.text}' expecting <EOF>")
        return tree

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, kind: str) -> Token | None:
        return self._take() if self._next.kind == kind else None

    def _expect(self, kind: str) -> Token:
        if self._next.kind != kind:
            self._stop(f"Syntax error: mismatched input '{self._next.text}' expecting '{kind}'")
        return self._take()

    def _stop(self, text: str) -> None:
        self._issues.append(Issue(self._next.offset, text))
        raise _Stop

    def _note(self, offset: int, text: str) -> Node:
        self._issues.append(Issue(offset, text))
        return Literal(offset, None)

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            self._stop(TOO_DEEP)
        tree = self._binary(1)
        if question := self._accept("?"):
            yes = self._binary(1)
            self._expect(":")
            tree = Call(question.offset, "_?_:_", None, [tree, yes, self.expression()])
        self._depth -= 1
        return tree

    def _binary(self, least: int) -> Node:
        tree = self._unary()
        while (level := PRECEDENCE.get(self._next.kind, 0)) >= least:
            operator = self._take()
            if level <= PRECEDENCE["&&"]:
                tree = self._logical(operator, tree, level)
            else:
                right = self._binary(level + 1)
                tree = Call(operator.offset, FUNCTIONS[operator.kind], None, [tree, right])
        return tree

    def _logical(self, operator: Token, first: Node, level: int) -> Node:
        """A long chain becomes a balanced tree, so that it is not deep."""
        terms, offsets = [first], [operator.offset]
        terms.append(self._binary(level + 1))
        while again := self._accept(operator.kind):
            offsets.append(again.offset)
            terms.append(self._binary(level + 1))
        return _balanced(FUNCTIONS[operator.kind], terms, offsets)

    def _unary(self) -> Node:
        if self._next.kind not in ("!", "-"):
            return self._member(self._primary())
        operator = self._take()
        count = 1
        while self._accept(operator.kind):
            count += 1
        if operator.kind == "-" and count == 1 and self._next.kind in ("int", "double"):
            number = self._take()
            return self._member(self._number(operator.offset, number, -number.value))
        operand = self._member(self._primary())
        if count % 2 == 0:
            return operand
        return Call(operator.offset, "!_" if operator.kind == "!" else "-_", None, [operand])

    def _number(self, offset: int, token: Token, value: int | float) -> Node:
        if token.kind == "int" and value == 2**63:
            return self._note(offset, "invalid int literal")
        return Literal(offset, value)

    def _member(self, tree: Node) -> Node:
        while True:
            if dot := self._accept("."):
                tree = self._selection(tree, dot)
            elif bracket := self._accept("["):
                optional = bool(self._accept("?"))
                index = self.expression()
                self._expect("]")
                tree = Call(bracket.offset, "_[?_]" if optional else "_[_]", None, [tree, index])
            else:
                return tree

    def _selection(self, tree: Node, dot: Token) -> Node:
        optional = self._accept("?")
        if self._next.kind != "name":
            self._stop(f"Syntax error: no viable alternative at input '.{self._next.text}'")
        name = self._take().text
        if optional:
            return Select(dot.offset, tree, name, optional=True)
        if opening := self._accept("("):
            return self._call(opening, name, tree)
        return Select(dot.offset, tree, name)

    def _call(self, opening: Token, name: str, target: Node | None) -> Node:
        arguments = self._list(")")
        expanded = macros.expand(opening.offset, name, target, arguments, self._note, binds=self._binds)
        return expanded if expanded is not None else Call(opening.offset, name, target, arguments)

    def _list(self, closing: str) -> list[Node]:
        found: list[Node] = []
        while self._next.kind != closing:
            found.append(self.expression())
            if not self._accept(","):
                break
        self._expect(closing)
        return found

    def _primary(self) -> Node:
        token = self._next
        match token.kind:
            case "true" | "false" | "null":
                self._take()
                return Literal(token.offset, {"true": True, "false": False, "null": None}[token.kind])
            case "int" | "double":
                self._take()
                return self._number(token.offset, token, token.value)
            case "uint" | "string" | "bytes":
                self._take()
                return Literal(token.offset, token.value)
            case "(":
                self._take()
                tree = self.expression()
                self._expect(")")
                return tree
            case "[":
                return self._list_literal(self._take())
            case "{":
                return self._map_literal(self._take())
            case "name" | ".":
                return self._name()
        extraneous = token.kind != "end" and self._tokens[self._at + 1].kind in ("name", "int", "string", "double")
        self._stop(
            f"Syntax error: {'extraneous' if extraneous else 'mismatched'} input '{token.text}' expecting {STARTS}"
        )
        raise AssertionError("unreachable")

    def _list_literal(self, opening: Token) -> Node:
        elements: list[Node] = []
        optional: set[int] = set()
        while self._next.kind != "]":
            if self._accept("?"):
                optional.add(len(elements))
            elements.append(self.expression())
            if not self._accept(","):
                break
        self._expect("]")
        return ListNode(opening.offset, elements, frozenset(optional))

    def _map_literal(self, opening: Token) -> Node:
        entries: list[Entry] = []
        while self._next.kind != "}":
            optional = bool(self._accept("?"))
            key = self.expression()
            colon = self._expect(":")
            entries.append(Entry(colon.offset, key, self.expression(), optional))
            if not self._accept(","):
                break
        self._expect("}")
        return MapNode(opening.offset, entries)

    def _name(self) -> Node:
        leading = self._accept(".")
        if self._next.kind != "name":
            self._stop(f"Syntax error: mismatched input '{self._next.text}' expecting IDENTIFIER")
        token = self._take()
        offset = leading.offset if leading else token.offset
        if opening := self._accept("("):
            return self._call(opening, token.text, None)
        if struct := self._struct(token):
            return struct
        if token.text in RESERVED:
            return self._note(token.offset, f"reserved identifier: {token.text}")
        return Ident(offset, token.text)

    def _struct(self, first: Token) -> Node | None:
        """`A.b{…}`, if the names are followed by a brace."""
        at = self._at
        while self._tokens[at].kind == "." and self._tokens[at + 1].kind == "name":
            at += 2
        if self._tokens[at].kind != "{":
            return None
        name = first.text + "".join(t.text for t in self._tokens[self._at : at])
        self._at = at + 1
        fields: list[FieldValue] = []
        while self._next.kind != "}":
            optional = bool(self._accept("?"))
            field = self._expect_name()
            colon = self._expect(":")
            fields.append(FieldValue(colon.offset, field.text, self.expression(), optional))
            if not self._accept(","):
                break
        self._expect("}")
        return Struct(self._tokens[at].offset, name, fields)

    def _expect_name(self) -> Token:
        if self._next.kind != "name":
            self._stop(f"Syntax error: mismatched input '{self._next.text}' expecting {{'}}', ',', '?', IDENTIFIER}}")
        return self._take()


def _balanced(function: str, terms: list[Node], offsets: list[int]) -> Node:
    if len(terms) == 1:
        return terms[0]
    middle = (len(terms) + 1) // 2
    left = _balanced(function, terms[:middle], offsets[: middle - 1])
    right = _balanced(function, terms[middle:], offsets[middle:])
    return Call(offsets[middle - 1], function, None, [left, right])
