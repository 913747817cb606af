"""A Docker engine of the tests' own, which they may kill, stop and start again, and whose images they may delete."""

import shutil
import signal
import socket
import subprocess
import time
import zlib
from pathlib import Path

import docker

PATIENCE = 30.0
BRIDGE_ADDRESS = "169.254.253.1/30"  # nothing is ever on it


class PrivateEngine:
    """Everything of it stands under `home`, with a bridge of its own and no firewall rules, so it touches nothing that
    others use.  (An engine that is told to have no bridge removes docker0, which is another's.)

    `images` is an archive that `docker save` has written.  Starting it takes 0.7 s, loading two small images 0.2 s.
    """

    def __init__(self, home: Path, images: Path) -> None:
        self.home = home
        self.endpoint = f"unix://{home}/docker.sock"
        self._images = images
        self._bridge = f"wherry-{zlib.crc32(str(home).encode()):08x}"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: docker.APIClient | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def client(self) -> docker.APIClient:
        """Of the engine as it runs now: one that was taken before a restart is good after it too."""
        if self._client is None:
            self._client = docker.APIClient(self.endpoint, version="auto", timeout=PATIENCE)
        return self._client

    def start(self) -> None:
        """Returns when it answers."""
        if self.running:
            return
        self.home.mkdir(parents=True, exist_ok=True)
        # What a killed one leaves behind would be taken for a living one, whoever has its number by now, or nobody:
        # its containerd goes with it, and may never be reaped where process 1 is no init.
        for stale in ("docker.pid", "run/containerd/containerd.pid"):
            (self.home / stale).unlink(missing_ok=True)
        if not Path("/sys/class/net", self._bridge).exists():
            subprocess.run(["ip", "link", "add", self._bridge, "type", "bridge"], check=True)
            subprocess.run(["ip", "address", "add", BRIDGE_ADDRESS, "dev", self._bridge], check=True)
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", "--data-root", str(self.home / "data"), "--exec-root", str(self.home / "run"),
                 "--host", self.endpoint, "--pidfile", str(self.home / "docker.pid"),
                 "--bridge", self._bridge, "--iptables=false", "--ip-forward=false"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            said = (self.home / "log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.02)  # the socket appears without telling anyone

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as knock:
            try:
                knock.connect(self.endpoint.removeprefix("unix://"))
            except OSError:
                return False
        return bool(self.client.ping())

    def load(self) -> None:
        """The images that the tests' pods are made of; no more than a look if they are there."""
        with self._images.open("rb") as archive:
            for _ in self.client.load_image(archive):
                pass

    def stop(self) -> None:
        """As an administrator would: every container ends first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash would.  The processes of containers go on; the next start ends these."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(PATIENCE)
        self._process = None
        if self._client is not None:
            self._client.close()  # its connections; it makes others when it is used again

    def remove(self) -> None:
        """Leaves nothing: no container, no mount, no directory."""
        self.start()
        for left in self.client.containers(all=True):
            self.client.remove_container(left["Id"], force=True, v=True)
        self.stop()
        subprocess.run(["ip", "link", "delete", self._bridge], check=True)
        for mount in _mounts_under(self.home):
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(self.home)


def _mounts_under(directory: Path) -> list[str]:
    """The innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((p for p in points if p.startswith(f"{directory}/")), reverse=True)
