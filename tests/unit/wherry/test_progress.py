import io

import pytest
from rich.console import Console

from wherry.progress import Progress


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


def progress_on(output: io.StringIO, *, terminal: bool) -> Progress:
    return Progress(Console(file=output, force_terminal=terminal, width=200, highlight=False))


def test_plain_lines_tell_what_is_waited_for_once_and_the_end(output: io.StringIO) -> None:
    with progress_on(output, terminal=False) as progress, progress.step("nodes") as step:
        step.passes("a detail")
        step.waits_for("Ready: node1")
        step.waits_for("Ready: node1")
    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("nodes: Ready: node1")
    assert "✓ nodes" in lines[1]


def test_a_failed_step_is_marked_and_fails(output: io.StringIO) -> None:
    with (
        pytest.raises(ValueError, match="no"),
        progress_on(output, terminal=False) as progress,
        progress.step("images"),
    ):
        raise ValueError("no")
    assert "✗ images" in output.getvalue()


def test_a_terminal_keeps_the_ended_steps(output: io.StringIO) -> None:
    with progress_on(output, terminal=True) as progress:
        with progress.step("[odd] name"):
            pass
        with progress.step("another") as step:
            step.waits_for("a while")
    assert "✓ [odd] name" in output.getvalue()
    assert "✓ another" in output.getvalue()
