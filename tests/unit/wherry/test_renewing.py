"""What `wherry certificates` says and does to the files; the running lab is in tests/integration/lab/test_tls.py."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from machinery import kubeconfigs
from machinery.certificates import LIFETIME
from wherry import authorities, bringing_up, certificates, renewing
from wherry.labs import NODES, Lab, node_names
from wherry.troubles import Trouble


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(state=tmp_path)
    certificates.write(made.pki, node_names(NODES), made.network)
    bringing_up.write_kubeconfigs(made)
    return made


def serials(lab: Lab) -> dict[str, int]:
    found = {}
    for holding in certificates.holdings(node_names(NODES), lab.network):
        pair = certificates.held(lab.pki, holding)
        assert pair is not None
        found[holding.name] = x509.load_pem_x509_certificate(pair.certificate).serial_number
    return found


def test_the_table_says_of_each_until_when_it_lasts_and_by_whom_it_is(lab: Lab) -> None:
    now = datetime.now(UTC)
    head, *lines = renewing.table(lab, now)
    assert head.split("  ")[0] == "CERTIFICATE"
    rows = {line.split()[0]: line for line in lines}
    assert set(rows) == {*serials(lab), *certificates.AUTHORITIES}
    assert rows["etcd"].endswith(" etcd-ca")
    assert rows["ca"].endswith(" CN=wherry")
    left = (LIFETIME - timedelta(minutes=1)).days
    assert f" {left}d " in rows["scheduler"]
    almost = next(line for line in renewing.table(lab, now + LIFETIME - timedelta(hours=2)) if "scheduler" in line)
    assert " 1h59m " in almost or " 2h0m " in almost
    assert all(" expired " in line for line in [*renewing.table(lab, now + LIFETIME)][1:])


def test_without_a_name_every_certificate_is_another_one_and_no_authority(lab: Lab) -> None:
    before = serials(lab)
    trusted = {name: (lab.pki / name / "ca.crt").read_bytes() for name in certificates.AUTHORITIES}
    said = renewing.renew(lab, [])
    after = serials(lab)
    assert said == f"renewed: {', '.join(after)}"
    assert [name for name in after if after[name] == before[name]] == []
    assert trusted == {name: (lab.pki / name / "ca.crt").read_bytes() for name in certificates.AUTHORITIES}
    admin = (lab.pki / "admin" / "tls.crt").read_bytes()
    assert [kubeconfigs.load(path).certificate for path in (lab.kubeconfig, lab.grpc_kubeconfig)] == [admin] * 2


def test_only_who_is_named_is_renewed(lab: Lab) -> None:
    before = serials(lab)
    assert renewing.renew(lab, ["node2-kubelet"]) == "renewed: node2-kubelet"
    after = serials(lab)
    assert [name for name in after if after[name] != before[name]] == ["node2-kubelet"]


def test_the_key_of_accounts_is_renewed_and_the_old_one_forgotten(lab: Lab) -> None:
    known = lab.pki / "apiserver" / "sa.pub"
    before = known.read_bytes()
    assert "until `wherry certificates forget service-accounts`" in renewing.renew(lab, [renewing.ACCOUNTS])
    assert known.read_bytes().endswith(before)
    renewing.forget(lab, [renewing.ACCOUNTS])
    assert before not in known.read_bytes()


def test_what_makes_no_sense_changes_nothing(lab: Lab) -> None:
    before = serials(lab)
    with pytest.raises(Trouble, match="nobody holds nobody"):
        renewing.renew(lab, ["scheduler", "nobody"])
    with pytest.raises(Trouble, match="scheduler is no authority"):
        renewing.forget(lab, ["scheduler"])
    authorities.begin(lab.pki, "ca")
    with pytest.raises(Trouble, match="ca is only half renewed"):
        renewing.forget(lab, ["ca"])
    assert serials(lab) == before


def test_a_lab_that_was_never_up_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert renewing.main(Lab(state=tmp_path), renewing.check, ()) == 1
    assert "the lab has none yet" in capsys.readouterr().err
