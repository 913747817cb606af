"""The Docker engine: the one that answers, or else the distribution's own, installed and started."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import docker
from docker.errors import DockerException

from wherry import packages
from wherry.progress import Step
from wherry.troubles import Trouble

LOG = Path("/var/log/wherry-dockerd.log")
SYMPTOMS = {
    "Devices cgroup isn't mounted": "Mount the control groups: `apt-get install cgroupfs-mount && cgroupfs-mount`.",
    "cgroup": "The engine cannot use this machine's control groups; look at `mount -t cgroup,cgroup2`.",
    "overlay": "This file system cannot carry overlayfs: start `dockerd --storage-driver=vfs` by hand, then try again.",
    "iptables": "The engine needs iptables and the kernel's NAT tables; `apt-get install iptables` and try again.",
    "permission denied": "Run this as root.",
}


def client() -> docker.DockerClient:
    """A client of the engine that DOCKER_HOST names, or of the local socket."""
    return docker.from_env(timeout=600)


def ensure(step: Step) -> docker.DockerClient:
    """A client of an engine that answers; installs and starts one if there is none. Raises Trouble."""
    if engine := _answering():
        return engine
    if address := os.environ.get("DOCKER_HOST"):
        advice = "Start that engine, or unset DOCKER_HOST to use this machine's own."
        raise Trouble("engine", f"no Docker engine answers at {address}, which DOCKER_HOST names", advice=advice)
    if not shutil.which("dockerd"):
        step.waits_for("apt-get install docker.io iptables")
        packages.install(["docker.io", "iptables"])
    # A service manager starts the engine by itself once it is installed, or is asked to.
    if Path("/run/systemd/system").exists():
        subprocess.run([*packages.as_root(), "systemctl", "start", "docker"], capture_output=True, check=False)
        if engine := _answering():
            return engine
    return _start(step)


def _answering() -> docker.DockerClient | None:
    try:
        engine = client()
        engine.ping()
    except DockerException as e:
        if "Permission denied" in str(e):
            advice = "Run this as root, or join the group: `usermod -aG docker $USER`, and log in again."
            raise Trouble("engine", "you may not use the Docker engine", str(e), advice) from e
        return None
    return engine


def _start(step: Step) -> docker.DockerClient:
    if os.geteuid() != 0:
        raise Trouble("engine", "no Docker engine answers", advice="Start it, or run this as root.")
    step.waits_for(f"dockerd, started by hand (its log: {LOG})")
    with LOG.open("ab") as log:
        # Its own session: it outlives this command, because other people's containers may run on it by then.
        daemon = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and daemon.poll() is None:
        if engine := _answering():
            return engine
        time.sleep(0.1)  # the socket appears without telling anyone
    said = LOG.read_text(errors="replace")
    advice = next((what for sign, what in SYMPTOMS.items() if sign in said[-4000:]), f"Look into {LOG}.")
    raise Trouble("engine", "dockerd does not come up", said, advice)
