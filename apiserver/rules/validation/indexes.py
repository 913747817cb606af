"""Lists of a job's completion indexes: `1,3-5`.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#success-policy
"""


def parse(text: str, completions: int) -> list[tuple[int, int]]:
    """The intervals, both ends included; raises ValueError, in upstream's words, for what is none or out of order."""
    found: list[tuple[int, int]] = []
    for piece in text.split(",") if text else ():
        low, high = _interval(piece, completions)
        if found and found[-1][1] >= low:
            raise ValueError(f"non-increasing order, previous: {found[-1][1]}, current: {low}")
        found.append((low, high))
    return found


def count(intervals: list[tuple[int, int]]) -> int:
    return sum(high - low + 1 for low, high in intervals)


def overlap(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> int | None:
    """The first index that is in both. Both are in order, so that one way through them will do."""
    at, there = 0, 0
    while at < len(one) and there < len(other):
        first, last = max(one[at][0], other[there][0]), min(one[at][1], other[there][1])
        if first <= last:
            return first
        if one[at][1] < other[there][1]:
            at += 1
        else:
            there += 1
    return None


def _interval(piece: str, completions: int) -> tuple[int, int]:
    ends = piece.split("-")
    if len(ends) > 2:
        why = "violates the requirement that an index interval can have at most two parts separated by '-'"
        raise ValueError(f'the fragment "{piece}" {why}')
    numbers = [_number(end, completions) for end in ends]
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        raise ValueError(f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}")
    return numbers[0], numbers[-1]


def _number(text: str, completions: int) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise ValueError(f'too large index: "{text}"')
    return int(text)
