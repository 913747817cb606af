"""One command at a time changes a lab: two would take each other's containers away."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wherry.labs import Lab
from wherry.troubles import Trouble


@contextmanager
def alone(lab: Lab) -> Iterator[None]:
    """Waits until no other command is at this lab. The lock goes with the process, however that ends.

    Raises Trouble.
    """
    try:
        lab.state.mkdir(parents=True, exist_ok=True)
        place = os.open(lab.state, os.O_RDONLY)
    except OSError as e:
        raise Trouble("lab", f"{lab.state} cannot be used", str(e), "Choose another WHERRY_STATE.") from e
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another scripts/up or scripts/down is at work on this lab: waiting for it.", file=sys.stderr)
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)
