"""Values of flags as Go reads them."""

import argparse
import re

from api import kinds

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def truth(text: str) -> bool:
    """For `--flag`, `--flag=true` and `--flag=false`: with nargs="?" and const=True."""
    if text.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("1", "t", "true")


def duration(text: str) -> float:
    """2m, 1h30m, 500ms → seconds."""
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s)", text)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def feature_gates(text: str) -> frozenset[str]:
    """`--feature-gates=A=true,B=false`: those that are on; all are off by default."""
    given = dict(each.partition("=")[::2] for each in text.split(",") if each.strip())
    for gate in given:
        if gate not in kinds.GATED:
            raise argparse.ArgumentTypeError(f"unrecognized feature gate: {gate}")
    return frozenset(gate for gate, value in given.items() if truth(value))
