"""How a command that changes the lab ends, for whoever typed it."""

import sys
from collections.abc import Callable

from docker.errors import DockerException

from wherry.troubles import Trouble


def told(work: Callable[[], str]) -> int:
    """An exit code: 0 after telling what was done, 1 after trouble that it has told."""
    try:
        print(work())
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except DockerException as e:
        print(Trouble("engine", "it does not do it", str(e), "scripts/up starts an engine."), file=sys.stderr)
        return 1
    return 0
