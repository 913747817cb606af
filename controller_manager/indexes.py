"""Sets of completion indexes as a job's status writes them: `0,1,3-5`. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode
"""

from collections.abc import Iterable


def parse(text: str, end: int) -> set[int]:
    """The indexes below `end`: a job whose completions were lowered forgets those above."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        found.update(range(int(first), min(int(last or first) + 1, end)))
    return found


def dump(indexes: Iterable[int]) -> str:
    """In order, three and more in a row as a range."""
    parts: list[str] = []
    run: list[int] = []
    for index in [*sorted(indexes), None]:
        if run and index != run[-1] + 1:
            parts += [str(i) for i in run] if len(run) < 3 else [f"{run[0]}-{run[-1]}"]
            run = []
        if index is not None:
            run.append(index)
    return ",".join(parts)
