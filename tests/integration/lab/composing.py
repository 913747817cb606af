"""`docker compose` on the tests' lab, for what `wherry` has no command for."""

import subprocess

from wherry.composing import Compose
from wherry.labs import Lab


def compose(lab: Lab, *arguments: str) -> None:
    made = Compose(lab)
    subprocess.run(made.command(*arguments), env=made.environment(), check=True, capture_output=True)
