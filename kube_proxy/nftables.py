"""libnftables in this process: 0.2 ms a transaction, where the `nft` command takes 17.

https://manpages.debian.org/bookworm/libnftables-dev/libnftables.3.en.html
"""

import ctypes
from functools import cache
from typing import Any

_STATELESS, _JSON, _NUMERIC_PROTOCOL, _NUMERIC_PRIORITY, _TERSE = 1 << 2, 1 << 4, 1 << 7, 1 << 8, 1 << 11


class NftablesError(Exception):
    """The kernel or the library refused a command; the text is the library's, and nothing has changed."""


class Nftables:
    """One context of the library, for one thread at a time, in the network namespace of the thread that made it."""

    def __init__(self) -> None:
        self._library = _library()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise NftablesError("libnftables gives no context")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        self._library.nft_ctx_free(self._context)
        self._context = None

    def run(self, commands: str) -> str:
        """Commands in nft's language, as one transaction; returns what they print.  Raises NftablesError."""
        return self._run(commands, 0)

    def structure(self, table: str) -> str:
        """The table's chains, rules, maps and sets, without their elements and counters; "" if there is no such table.

        Only a listing of the whole ruleset leaves the elements in the kernel (0.5 ms at 10,000 services); `list table`
        fetches them all before it leaves them out (200 ms).
        """
        listed = self._run("list ruleset ip", _STATELESS | _NUMERIC_PRIORITY | _TERSE)
        _, found, rest = f"\n{listed}".partition(f"\ntable ip {table} {{\n")
        return rest.partition("\n}\n")[0] if found else ""

    def listed(self, table: str, name: str, *, kind: str = "map") -> str:
        """One map or set with its elements, as libnftables-json(5).

        Protocols are numbers: their names would depend on whether there is an /etc/protocols, as in most images not.
        """
        return self._run(f"list {kind} ip {table} {name}", _JSON | _NUMERIC_PROTOCOL)

    def _run(self, commands: str, flags: int) -> str:
        self._library.nft_ctx_output_set_flags(self._context, flags)
        failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context)
        error: bytes = self._library.nft_ctx_get_error_buffer(self._context)
        if failed:
            raise NftablesError(error.decode(errors="replace").strip() or "libnftables failed and gave no reason")
        return output.decode(errors="replace")


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as e:
        raise NftablesError(f"{e} (Debian and Ubuntu have it in the package libnftables1)") from e
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("nft_ctx_free", "nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_ctx_output_set_flags.restype = None
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.nft_run_cmd_from_buffer.restype = ctypes.c_int
    return library
