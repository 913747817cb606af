"""`python -m bench.flooding URL PKI USER CLIENTS`: lists everything again and again as USER, until its input ends.

A process of its own, so that it does not slow those whom the flood must not slow.  Prints {HTTP code: how often}.
"""

import asyncio
import json
import ssl
import sys
from collections import Counter
from pathlib import Path

import aiohttp

PATH = "/api/v1/configmaps?includeObject=None"
# A table costs the server more than plain objects, and the client less: so one client is a flood.
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def flood(url: str, pki: Path, user: str, clients: int) -> Counter[int]:
    tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    tls.load_cert_chain(pki / "tls.crt", pki / "tls.key")
    answers: Counter[int] = Counter()
    headers = {"Impersonate-User": user, "Accept": TABLE}
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    async with aiohttp.ClientSession(url, connector=connector, headers=headers) as session:

        async def client() -> None:
            while True:
                try:
                    async with session.get(PATH) as answer:
                        await answer.read()
                        answers[answer.status] += 1
                except aiohttp.ClientError:
                    answers[0] += 1

        tasks = [asyncio.create_task(client()) for _ in range(clients)]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return answers


if __name__ == "__main__":
    url, pki, user, clients = sys.argv[1:]
    print(json.dumps(asyncio.run(flood(url, Path(pki), user, int(clients)))))
