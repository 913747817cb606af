"""What can be wrong with an expression, before and while it is evaluated.

CelFault
├── CompilationFault      it does not parse, or its types do not fit; `issues` say where
└── EvaluationFault       it has no value: no such key, division by zero …
    └── BudgetFault       it would cost more than it may; nothing absorbs this one
"""

from dataclasses import dataclass


class CelFault(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Issue:
    offset: int
    text: str


class CompilationFault(CelFault):
    """`message` is what upstream's compiler prints, one paragraph for each issue."""

    def __init__(self, message: str, issues: tuple[Issue, ...] = ()) -> None:
        super().__init__(message)
        self.issues = issues


class EvaluationFault(CelFault):
    pass


class BudgetFault(EvaluationFault):
    pass


MOST_ISSUES = 100


def compilation_fault(source: str, issues: list[Issue]) -> CompilationFault:
    """In cel-go's words and layout, sorted by place."""
    ordered = sorted(dict.fromkeys(issues), key=lambda issue: issue.offset)
    text = "\n".join(_shown(source, issue) for issue in ordered[:MOST_ISSUES])
    return CompilationFault(text, tuple(ordered))


def _shown(source: str, issue: Issue) -> str:
    before = source[: issue.offset]
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1)
    lines = source.split("\n")
    snippet = lines[line - 1] if line <= len(lines) else ""
    dots = "".join("." if ord(c) < 0x1100 else "．" for c in snippet[:column]).ljust(column, ".")
    return f"ERROR: <input>:{line}:{column + 1}: {issue.text}\n | {snippet.replace(chr(9), ' ')}\n | {dots}^"
