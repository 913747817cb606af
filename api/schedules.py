"""The schedules of cron jobs, as upstream's parser (robfig/cron) reads them and in its words. Pure.

https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

import re
from dataclasses import dataclass

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: at for at, name in enumerate(MONTHS, 1)}),
    (0, 6, {name: at for at, name in enumerate(DAYS)}),
)
MACROS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Either `fields` or `every`."""

    fields: tuple[str, ...] = ()
    """Minute, hour, day of the month, month, day of the week: `*`, or numbers separated by commas."""
    every: int = 0
    """Seconds between two runs."""


def parse(text: str) -> Schedule:
    """Raises ValueError with upstream's reason."""
    if text.startswith("@every "):
        return Schedule(every=max(1, int(_duration(text))))
    if text.startswith("@"):
        if text not in MACROS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = MACROS[text]
    if not text:
        raise ValueError("empty spec string")
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"expected exactly {len(FIELDS)} fields, found {len(fields)}: [{' '.join(fields)}]")
    return Schedule(tuple(_field(field, *form) for field, form in zip(fields, FIELDS, strict=True)))


def _field(text: str, low: int, high: int, names: dict[str, int]) -> str:
    values: set[int] = set()
    any_value = False
    for part in text.split(","):
        if part:
            found, star = _range(part, low, high, names)
            values |= found
            any_value |= star
    # A star leaves the choice of days to the other of the two day fields, `*/2` does not.
    return "*" if any_value else ",".join(str(v) for v in sorted(values))


def _range(text: str, low: int, high: int, names: dict[str, int]) -> tuple[set[int], bool]:
    bounds, *steps = text.split("/")
    first, *last = bounds.split("-")
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    star = first in ("*", "?")
    if star:
        start, end = low, high
    else:
        if len(last) > 1:
            raise ValueError(f"too many hyphens: {text}")
        start = _number(first, names)
        end = _number(last[0], names) if last else high if steps else start
    step = _number(steps[0], {}) if steps else 1
    if start < low:
        raise ValueError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return set(range(start, end + 1, step)), star and step == 1


def _number(text: str, names: dict[str, int]) -> int:
    named = names.get(text.lower())
    if named is not None:
        return named
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    value = int(text)
    if value < 0:
        raise ValueError(f"negative number ({value}) not allowed: {text}")
    return value


def _duration(text: str) -> float:
    given = text.removeprefix("@every ")
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)", given)
    if not parts or "".join(n + u for n, u in parts) != given.lstrip("+-"):
        raise ValueError(f'failed to parse duration {text}: time: invalid duration "{given}"')
    return sum(float(n) * UNITS[u] for n, u in parts) * (-1 if given.startswith("-") else 1)
