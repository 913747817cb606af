"""The distribution's packages, through apt."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from wherry.troubles import Trouble


def missing(names: Sequence[str]) -> list[str]:
    if not shutil.which("dpkg-query"):
        return list(names)
    asked = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    there = {line.split()[0] for line in told if line.endswith(" installed")}
    return [name for name in names if name not in there]


def install(names: Sequence[str]) -> None:
    """Installs what is not there yet; asks nothing and starts at once. Raises Trouble."""
    wanted = missing(names)
    if not wanted:
        return
    if not shutil.which("apt-get"):
        raise Trouble("packages", "this is not Debian or Ubuntu", advice=f"Install {' '.join(wanted)} by hand.")
    for arguments in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *wanted]):
        command = [*as_root(), "apt-get", *arguments]
        ran = subprocess.run(
            command,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # A mirror that is half down still often has what is needed: only the installation decides.
        if ran.returncode and arguments[0] == "install":
            advice = f"Run `apt-get install {' '.join(wanted)}` as root and look at what it says."
            raise Trouble("packages", f"{' '.join(wanted)} could not be installed", ran.stdout, advice)


def as_root() -> list[str]:
    """The words before a command that needs root. Raises Trouble where there is no way."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        return ["sudo", "-n"]
    raise Trouble("packages", "installing packages needs root", advice="Run this as root once.")
