"""The health check of a component's container: `python3 -m wherry.probing [--plain] PORT [PATH]`.

A TLS handshake proves that the event loop turns and that the certificate is the cluster's, and costs a fraction of an
import of gRPC. With a path, the answer to a GET must be 200 as well. A `--plain` port speaks HTTP without TLS.
"""

import socket
import ssl
import sys
from http.client import HTTPConnection, HTTPSConnection

PKI = "/etc/wherry/pki"
SECONDS = 4


def probe(port: int, path: str = "", directory: str = PKI, *, plain: bool = False) -> str:
    """What is wrong, or "" if nothing is."""
    try:
        if plain:
            return _get(HTTPConnection("localhost", port, timeout=SECONDS), path)
    except OSError as e:
        return str(e)
    context = ssl.create_default_context(cafile=f"{directory}/ca.crt")
    context.load_cert_chain(f"{directory}/tls.crt", f"{directory}/tls.key")
    try:
        if path:
            return _get(HTTPSConnection("localhost", port, timeout=SECONDS, context=context), path)
        context.set_alpn_protocols(["h2"])
        with socket.create_connection(("localhost", port), SECONDS) as connection:
            context.wrap_socket(connection, server_hostname="localhost").close()
    except OSError as e:
        return str(e)
    return ""


def _get(connection: HTTPConnection, path: str) -> str:
    connection.request("GET", path)
    status = connection.getresponse().status
    return "" if status == 200 else f"{path} answers {status}"


if __name__ == "__main__":
    port, *path = [argument for argument in sys.argv[1:] if argument != "--plain"]
    fault = probe(int(port), *path[:1], plain="--plain" in sys.argv)
    if fault:
        sys.exit(f"unhealthy: {fault}")
