"""Steps with elapsed time: a live display on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import Progress as Live
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Step:
    """One thing that is being done. Its methods may be called from any thread, as often as one likes."""

    def __init__(self, progress: "Progress", what: str) -> None:
        self._progress = progress
        self._what = what
        self._started = time.monotonic()
        self._task: TaskID | None = None
        self._last = ""
        if progress.live:
            self._task = progress.live.add_task(what, total=None)

    def waits_for(self, what: str) -> None:
        """Something that may take long: a line of its own where nothing moves."""
        if what != self._last:
            self._last = what
            self.passes(what)
            if not self._progress.live:
                self._progress.say(f"  {self._what}: {what}")

    def passes(self, detail: str) -> None:
        """Something that comes and goes: only a live display shows it."""
        if self._progress.live and self._task is not None:
            self._progress.live.update(self._task, description=f"{self._what}: {detail}")

    def end(self, mark: str) -> None:
        if self._progress.live and self._task is not None:
            self._progress.live.remove_task(self._task)
        self._progress.say(f"{mark} {self._what}  {time.monotonic() - self._started:.1f} s")


class Progress:
    """`with Progress() as progress: with progress.step("images") as step: …`"""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.live: Live | None = None
        self._started = time.monotonic()
        if self.console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
            self.live = Live(*columns, console=self.console, transient=True)

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        prefix = "" if self.live else f"[{time.monotonic() - self._started:6.1f} s] "
        self.console.print(f"{prefix}{text}", markup=False)
        sys.stderr.flush()

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        step = Step(self, what)
        try:
            yield step
        except BaseException:
            step.end("✗")
            raise
        step.end("✓")
