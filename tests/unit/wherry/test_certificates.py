from pathlib import Path

from machinery import kubeconfigs
from machinery.certificates import Authority, Subject
from machinery.pairs import Pair
from wherry import certificates

NODES = ["node1", "node2"]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


FRONT_PROXY = {"front-proxy-ca.crt", "front-proxy-client.crt", "front-proxy-client.key"}
STORAGE = {"etcd-ca.crt", "etcd-client.crt", "etcd-client.key"}
MORE = {"apiserver": {"sa.key", "sa.pub", "encryption.yaml"} | FRONT_PROXY | STORAGE, "controller-manager": {"ca.key"}}
AUTHORITIES = {"ca", "front-proxy-ca", "etcd-ca"}


def test_every_component_gets_its_own_directory(tmp_path: Path) -> None:
    certificates.write(tmp_path, NODES)
    control_plane = {"apiserver", "etcd", "controller-manager", "scheduler", "cluster-dns", "admin", *AUTHORITIES}
    nodes = {f"{node}-{part}" for node in NODES for part in ("kubelet", "kube-proxy")}
    assert {p.name for p in tmp_path.iterdir()} == control_plane | nodes
    for name in (control_plane | nodes) - AUTHORITIES:
        own = MORE.get(name, set())
        assert {p.name for p in (tmp_path / name).iterdir()} == {"ca.crt", "tls.crt", "tls.key", "kubeconfig"} | own


def test_nobody_else_may_read_keys(tmp_path: Path) -> None:
    certificates.write(tmp_path, NODES)
    secret = [*tmp_path.rglob("*.key"), *tmp_path.rglob("kubeconfig"), *tmp_path.rglob("encryption.yaml")]
    assert len(secret) == 2 * 10 + 8
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    certificates.write(tmp_path, NODES)
    before = contents(tmp_path)
    assert certificates.write(tmp_path, NODES) == []
    assert contents(tmp_path) == before


def test_a_new_node_is_added_and_the_others_stay(tmp_path: Path) -> None:
    certificates.write(tmp_path, NODES)
    before = contents(tmp_path)
    assert certificates.write(tmp_path, [*NODES, "node3"]) == ["node3-kubelet", "node3-kube-proxy"]
    assert before.items() <= contents(tmp_path).items()


def test_another_network_renews_only_those_that_name_addresses(tmp_path: Path) -> None:
    certificates.write(tmp_path, ["node1"])
    written = certificates.write(tmp_path, ["node1"], "10.9.8")
    assert written == ["apiserver", "etcd", "node1-kubelet", "node1-kube-proxy"]


def test_the_key_of_service_accounts_outlives_every_certificate(tmp_path: Path) -> None:
    certificates.write(tmp_path, ["node1"])
    before = (tmp_path / "apiserver" / "sa.key").read_bytes()
    certificates.write(tmp_path, ["node1"], "10.9.8")
    assert (tmp_path / "apiserver" / "sa.key").read_bytes() == before


def test_a_run_that_was_broken_off_is_finished_by_the_next(tmp_path: Path) -> None:
    certificates.write(tmp_path, NODES)
    (tmp_path / "scheduler" / "tls.crt").unlink()
    (tmp_path / "etcd" / ".tls.key.partial").write_text("half")
    (tmp_path / "etcd" / "tls.key").unlink()
    assert certificates.write(tmp_path, NODES) == ["etcd", "scheduler"]
    assert not list(tmp_path.rglob("*.partial"))


def test_directories_that_are_mounted_already_are_filled_in_place(tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    inode = (tmp_path / "etcd").stat().st_ino
    certificates.write(tmp_path, NODES)
    assert (tmp_path / "etcd").stat().st_ino == inode


def test_a_component_finds_the_api_server_by_its_kubeconfig(tmp_path: Path) -> None:
    certificates.write(tmp_path, NODES)
    access = kubeconfigs.load(tmp_path / "node1-kubelet" / "kubeconfig")
    assert access.target == "apiserver:6444"
    assert access.certificate == (tmp_path / "node1-kubelet" / "tls.crt").read_bytes()


def test_the_administrator_reaches_the_published_port(tmp_path: Path) -> None:
    certificates.write(tmp_path, NODES)
    path = tmp_path / "kubeconfig"
    certificates.replace(path, certificates.access(tmp_path, "https://127.0.0.1:6443", "mine"), 0o600)
    assert kubeconfigs.load(path).target == "127.0.0.1:6443"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys) -> None:
    certificates.main(["--dir", str(tmp_path), "--nodes", "node1"])
    assert "node1-kubelet" in capsys.readouterr().out
    certificates.main(["--dir", str(tmp_path), "--nodes", "node1"])
    assert "all there" in capsys.readouterr().out


def test_the_encryption_key_is_of_this_lab_and_stays(tmp_path: Path) -> None:
    certificates.write(tmp_path / "one", NODES)
    certificates.write(tmp_path / "two", NODES)
    first, second = (tmp_path / lab / "apiserver" / "encryption.yaml" for lab in ("one", "two"))
    written = first.read_bytes()
    assert written != second.read_bytes()
    certificates.write(tmp_path / "one", NODES)
    assert first.read_bytes() == written


def test_nobody_but_its_members_and_the_api_servers_has_a_certificate_that_etcd_accepts(tmp_path: Path) -> None:
    certificates.write(tmp_path, NODES)
    trusted = (tmp_path / "etcd" / "ca.crt").read_bytes()
    authority = Authority(Pair(trusted, (tmp_path / "etcd-ca" / "ca.key").read_bytes()))
    subjects = {f"{name}/tls.crt": subject for name, subject in certificates.subjects(NODES)}
    subjects["apiserver/etcd-client.crt"] = Subject(certificates.ETCD_CLIENT)
    subjects["apiserver/front-proxy-client.crt"] = Subject(certificates.FRONT_PROXY)
    good = {n for n, subject in subjects.items() if authority.still_serves((tmp_path / n).read_bytes(), subject)}
    assert good == {"etcd/tls.crt", "apiserver/etcd-client.crt"}
