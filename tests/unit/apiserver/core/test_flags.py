"""The flags by which several API servers stand on one machine."""

import pytest

from apiserver.config import Config, parse

NEEDED = [
    "--etcd-servers", "http://127.0.0.1:1", "--tls-cert-file", "c", "--tls-private-key-file", "k", "--client-ca-file", "a",
]  # fmt: skip


def parsed(*flags: str) -> Config:
    return parse([*NEEDED, *flags])


@pytest.mark.parametrize(
    ("flags", "shares"),
    [
        ((), False),
        (("--permit-port-sharing",), True),
        (("--permit-port-sharing=true", "--permit-address-sharing"), True),
        (("--permit-port-sharing=F", "--permit-address-sharing=0"), False),
    ],
)
def test_a_port_is_shared_only_if_that_is_asked_for(flags: tuple[str, ...], shares: bool) -> None:
    assert parsed(*flags).share_port is shares


def test_what_is_neither_true_nor_false_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--permit-port-sharing=perhaps")
    assert "is neither true nor false" in capsys.readouterr().err


def test_feature_gates_are_off_unless_they_are_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert parsed().gates == parsed("--feature-gates=").gates == parsed("--feature-gates=GenericWorkload=false").gates
    assert parsed("--feature-gates=GenericWorkload=true").gates == {"GenericWorkload"}
    with pytest.raises(SystemExit):
        parsed("--feature-gates=Unheard=true")
    assert "unrecognized feature gate: Unheard" in capsys.readouterr().err
