"""/healthz, /livez and /readyz, and the single checks below them.

https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from collections.abc import Callable, Collection, Mapping

Checks = Mapping[str, Callable[[], bool]]
PATHS = ("healthz", "livez", "readyz")
INDIRECT = {"livez": frozenset({"etcd", "shutdown"}), "healthz": frozenset({"shutdown"}), "readyz": frozenset[str]()}
"""What makes a server not ready, but would not be healed by starting it anew, and is no part of the other pages."""


def _always() -> bool:
    return True


class Health:
    def __init__(self, checks: Checks) -> None:
        self._checks: Checks = {"ping": _always, "log": _always, **checks}

    def answer(self, page: str, single: str, excluded: Collection[str], verbose: bool) -> tuple[int, str] | None:
        """(status, text) of a page, or of the `single` check below it; None if there is no such check."""
        if single:
            if single not in self._checks:
                return None
            checks: Checks = {single: self._checks[single]}
        else:
            checks = {n: c for n, c in self._checks.items() if n not in INDIRECT[page]}
        failed, lines = False, []
        for name, check in checks.items():
            if name in excluded:
                lines.append(f"[+]{name} excluded: ok")
            elif check():
                lines.append(f"[+]{name} ok")
            else:
                failed = True
                lines.append(f"[-]{name} failed: reason withheld")
        if unknown := sorted(set(excluded) - checks.keys() - {""}):
            quoted = ",".join(f'"{name}"' for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {quoted}")
        title = f"{page}/{single}" if single else page
        if failed:
            return 500, "\n".join([*lines, f"{title} check failed", ""])
        return 200, "\n".join([*lines, f"{title} check passed", ""]) if verbose else "ok"
