"""Values of flags as Go reads them."""

import argparse


def truth(text: str) -> bool:
    """For `--flag`, `--flag=true` and `--flag=false`: with nargs="?" and const=True."""
    if text.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("1", "t", "true")
