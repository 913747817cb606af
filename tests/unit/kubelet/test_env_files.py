"""Files of variables."""

import pytest

from kubelet.containers import env_files
from kubelet.containers.fields import ConfigError

TEXT = """
# a comment
A='one' # and why
  B='two
lines'
C= 'nothing'
A='later'
"""


@pytest.mark.parametrize(("key", "value"), [("A", "one"), ("B", "two\nlines"), ("C", ""), ("D", "")])
def test_a_variable_is_what_stands_in_its_quotes(key: str, value: str) -> None:
    assert env_files.value(TEXT, key) == value


@pytest.mark.parametrize("line", ["A=one", "A='one", "A ='one'", "='one'", "A", "A='one'two", 'A="one"'])
def test_anything_else_is_a_fault(line: str) -> None:
    with pytest.raises(ConfigError, match="couldn't parse env file"):
        env_files.value(f"{line}\nB='two'\n", "B")


def test_a_fault_behind_what_is_sought_does_no_harm() -> None:
    assert env_files.value("A='one'\nB=two\n", "A") == "one"
