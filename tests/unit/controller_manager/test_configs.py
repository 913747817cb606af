"""Flags, and which controllers they start."""

import pytest

from controller_manager.catalogue import CONTROLLERS
from controller_manager.configs import Config, parse, seconds
from controller_manager.running import check_names
from machinery.running import CannotGoOn


def test_flags_become_a_config() -> None:
    config = parse(["--node-monitor-grace-period", "1m30s", "--leader-elect=false", "--secure-port", "1234"])
    assert (config.node_monitor_grace_period, config.leader_elect) == (90, False)
    assert config.address.endswith(":1234")
    assert parse([]) == Config()


@pytest.mark.parametrize(("text", "expected"), [("40s", 40), ("1h2m3.5s", 3723.5), ("250ms", 0.25), ("0", 0)])
def test_durations_are_written_as_in_go(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "flags", [["--node-monitor-grace-period", "40"], ["--node-cidr-mask-size", "8"], ["--nonsense"]]
)
def test_flags_that_make_no_sense_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(flags)
    assert "usage" in capsys.readouterr().err


def test_controllers_are_chosen_by_name_star_and_minus() -> None:
    def chosen(text: str) -> set[str]:
        config = parse([f"--controllers={text}"])
        return {name for name in CONTROLLERS if config.enabled(name)}

    assert chosen("*") == set(CONTROLLERS)
    assert chosen("*,-deployment-controller") == set(CONTROLLERS) - {"deployment-controller"}
    assert chosen("deployment-controller") == {"deployment-controller"}


def test_an_unknown_controller_is_named() -> None:
    with pytest.raises(CannotGoOn, match='"-deploymnet" is not in the list of known controllers'):
        check_names(parse(["--controllers=*,-deploymnet"]))
