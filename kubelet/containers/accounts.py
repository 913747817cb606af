"""The users and groups of an image, read as the engine reads them.
https://man7.org/linux/man-pages/man5/passwd.5.html and https://man7.org/linux/man-pages/man5/group.5.html
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Accounts:
    """What an image's /etc/passwd and /etc/group say; "" where it has none."""

    passwd: str = ""
    group: str = ""

    def explicit(self, user: str) -> str:
        """USER, or "" for root → USER:GROUP.  The engine is left to refuse a name that is unknown."""
        name, _, group = user.partition(":")
        if group:
            return user
        found = self._entry(name)
        if found is None and name and not name.isdecimal():
            return user
        return f"{name or 0}:{_number(found[3]) if found is not None else 0}"

    def joined(self, user: str) -> list[int]:
        """The groups that have the user for a member."""
        found = self._entry(user.partition(":")[0])
        if found is None or not found[0]:
            return []
        return [_number(gid) for _, _, gid, members in _lines(self.group, 4) if found[0] in members.split(",")]

    def misnamed(self, groups: Collection[int]) -> str:
        """The name of a group that reads as one of these numbers and is another one: the engine prefers names.  Without
        such a group ""."""
        for name, _, gid in _lines(self.group, 3):
            if name.lstrip("+").isdecimal() and int(name) in groups and int(name) != _number(gid):
                return name
        return ""

    def _entry(self, user: str) -> list[str] | None:
        """The first one: a number is always a uid, though a name may look like one."""
        wanted = user or "0"
        by_number = wanted.isdecimal()
        for line in _lines(self.passwd, 4):
            if _number(line[2]) == int(wanted) if by_number else line[0] == wanted:
                return line
        return None


def _lines(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.strip():
            words = line.strip().split(":")
            yield [*words, *[""] * fields][:fields]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0  # the engine takes what is no number for 0 too
