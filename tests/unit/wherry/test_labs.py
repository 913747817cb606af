from pathlib import Path

import pytest

from wherry.labs import Lab, node_names
from wherry.troubles import Trouble


def test_a_lab_of_an_empty_environment_is_the_default_one() -> None:
    assert Lab.from_environment({}) == Lab()


def test_an_empty_setting_is_no_setting() -> None:
    assert Lab.from_environment({"WHERRY_API_PORT": "", "COMPOSE_PROJECT_NAME": ""}) == Lab()


def test_a_lab_passes_itself_on_by_its_environment() -> None:
    lab = Lab("other", Path("/tmp/state"), Path("/tmp/data"), "10.9.8", 1, 2, 3, 4)
    assert Lab.from_environment(lab.environment()) == lab


def test_nodes_count_from_one() -> None:
    assert node_names(2) == ["node1", "node2"]


@pytest.mark.parametrize("lines", [3, 50])
def test_trouble_tells_the_part_the_reason_the_last_lines_and_the_way_out(lines: int) -> None:
    said = "\n".join(f"line {n}" for n in range(lines))
    told = str(Trouble("etcd", "it ended", said, "Look.")).splitlines()
    assert told[0] == "etcd: it ended"
    assert told[-2] == f"  | line {lines - 1}"
    assert told[-1] == "What to do: Look."
    assert len(told) == 2 + min(lines, 20)
