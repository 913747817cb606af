"""The health check of a component's container: `python3 -m wherry.probing PORT [PATH]`.

A TLS handshake proves that the event loop turns and that the certificate is the cluster's, and costs a fraction of an
import of gRPC. With a path, the answer to a GET must be 200 as well.
"""

import socket
import ssl
import sys
from http.client import HTTPSConnection

PKI = "/etc/wherry/pki"
SECONDS = 4


def probe(port: int, path: str = "", directory: str = PKI) -> str:
    """What is wrong, or "" if nothing is."""
    context = ssl.create_default_context(cafile=f"{directory}/ca.crt")
    context.load_cert_chain(f"{directory}/tls.crt", f"{directory}/tls.key")
    try:
        if path:
            connection = HTTPSConnection("localhost", port, timeout=SECONDS, context=context)
            connection.request("GET", path)
            status = connection.getresponse().status
            return "" if status == 200 else f"{path} answers {status}"
        context.set_alpn_protocols(["h2"])
        with socket.create_connection(("localhost", port), SECONDS) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
    except OSError as e:
        return str(e)
    return ""


if __name__ == "__main__":
    fault = probe(int(sys.argv[1]), *sys.argv[2:3])
    if fault:
        sys.exit(f"unhealthy: {fault}")
