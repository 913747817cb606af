"""The running HAProxy: started once, told of servers through its socket, and of all else by a reload.
https://docs.haproxy.org/2.6/management.html

A reload starts new workers with the sockets of the old ones, which answer what they have accepted: no connection is
refused meanwhile. That it is done is told by the datagram that a service manager would get (`-Ws`).
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from ingress_controller.haproxy import Place, Seats, certificate_files, configuration, fits, moves, seat
from ingress_controller.sites import Site
from machinery.running import CannotGoOn

READY_SECONDS = 20.0
STOP_SECONDS = 20.0
AT_ONCE = 64
"""Commands on one line of the socket, which holds 16 KB."""
DONE = ("IP changed", "port changed", "no need to change", "nothing changed")

log = logging.getLogger(__name__)


class Refused(Exception):
    """HAProxy does not take a configuration or a command; the message is its own."""


class Haproxy:
    """`own` is the certificate, with its key, for whoever asks for no name that has one."""

    def __init__(self, place: Place, own: str, program: str = "haproxy") -> None:
        self._place = place
        self._own = own
        self._program = program
        self._directory = Path(place.directory)
        self._process: asyncio.subprocess.Process | None = None
        self._notices: socket.socket | None = None
        self._running = asyncio.Event()
        self._seats: Seats = {}
        self._shape: object = None

    async def run(self) -> None:
        """Until cancelled, which lets HAProxy answer what it has accepted.  Raises CannotGoOn if it ends by itself."""
        path = f"{self._directory}/notices.sock"
        with self._prepare(path) as self._notices:
            self._write(Site(), {})
            self._process = await asyncio.create_subprocess_exec(
                self._program, "-Ws", "-f", str(self._file), stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "NOTIFY_SOCKET": path},
            )  # fmt: skip
            self._running.set()
            try:
                code = await self._process.wait()
                raise CannotGoOn(f"haproxy has ended with {code}")
            finally:
                await self._stop(self._process)

    def _prepare(self, notices: str) -> socket.socket:
        Path(self._place.certificates).mkdir(parents=True, exist_ok=True)
        Path(notices).unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(notices)
        made.setblocking(False)
        return made

    async def started(self) -> None:
        """Returns when it serves, for the first time, an empty site.  Raises Refused."""
        await self._running.wait()
        await self._told_ready()

    async def serve(self, site: Site) -> None:
        """Serve this from now on.  Raises Refused; what was served before goes on then."""
        seats = seat(site, self._seats)
        shape = self._shape_of(site, seats)
        if shape == self._shape and fits(self._seats, seats):
            commands = [*moves(self._seats, seats)]
            try:
                await self._command(commands)
            except (Refused, OSError) as e:
                log.warning("what runs is not as it should be, and is replaced: %s", e)
            else:
                if commands:
                    # For workers that follow.
                    self._write(site, seats)
                self._seats = seats
                return
        self._write(site, seats)
        await self._check()
        await self._reload()
        self._seats, self._shape = seats, shape

    def _shape_of(self, site: Site, seats: Seats) -> object:
        """All of the configuration but who is in which place."""
        nobody = {name: (None,) * len(places) for name, places in seats.items()}
        return configuration(site, nobody, self._place), certificate_files(site, self._own)

    @property
    def _file(self) -> Path:
        return self._directory / "haproxy.cfg"

    def _write(self, site: Site, seats: Seats) -> None:
        files = certificate_files(site, self._own)
        certificates = Path(self._place.certificates)
        for stale in {p.name for p in certificates.iterdir()} - files.keys():
            (certificates / stale).unlink()
        _replace({certificates / name: content for name, content in files.items()})
        _replace({self._file: configuration(site, seats, self._place)})

    async def _check(self) -> None:
        pipe = asyncio.subprocess.PIPE
        checking = await asyncio.create_subprocess_exec(
            self._program, "-c", "-f", str(self._file), stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await checking.communicate()
        if checking.returncode:
            raise Refused(said.decode(errors="replace").strip())

    async def _reload(self) -> None:
        assert self._process is not None
        before = await self._worker()
        self._process.send_signal(signal.SIGUSR2)
        await self._told_ready()
        # It is ready, too, after it has gone back to the workers it had: for want of memory, say.
        if before and await self._worker() == before:
            raise Refused("haproxy has not replaced its workers")

    async def _worker(self) -> str:
        """The process that answers; "" if there is none, which a reload mends."""
        try:
            said = await self._say("show info")
        except OSError:
            return ""
        return next((line for line in said.splitlines() if line.startswith("Pid:")), "")

    async def _told_ready(self) -> None:
        assert self._notices is not None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(READY_SECONDS):
                while b"READY=1" not in await loop.sock_recv(self._notices, 4096):
                    pass
        except TimeoutError as e:
            raise Refused(f"haproxy was not ready within {READY_SECONDS:.0f} s") from e

    async def _command(self, commands: list[str]) -> None:
        for start in range(0, len(commands), AT_ONCE):
            said = await self._say("; ".join(commands[start : start + AT_ONCE]))
            if faults := [told for told in said.splitlines() if told.strip() and not told.startswith(DONE)]:
                raise Refused("; ".join(faults))

    async def _say(self, line: str) -> str:
        reader, writer = await asyncio.open_unix_connection(self._place.socket)
        try:
            writer.write(line.encode() + b"\n")
            return (await reader.read()).decode(errors="replace")
        finally:
            writer.close()

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return
        process.send_signal(signal.SIGUSR1)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _replace(files: Mapping[Path, str]) -> None:
    """Whole or not at all, each."""
    for path, content in files.items():
        partial = path.with_name(f".{path.name}.partial")
        partial.touch(0o600)
        partial.write_text(content)
        partial.replace(path)
