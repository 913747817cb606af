"""`python -m bench.flooding URL PKI USER CLIENTS KIND`: asks without a pause as USER, until its input ends.

A process of its own, so that it does not slow those whom the flood must not slow.  Prints {HTTP code: how often}.
"""

import asyncio
import json
import ssl
import sys
from collections import Counter
from pathlib import Path

import aiohttp

PATH = "/api/v1/configmaps"
OWN = "/api/v1/namespaces/default/configmaps/c{number}"
MERGE = {"Content-Type": "application/merge-patch+json"}
# A table costs the server more than plain objects, and the client less: so one client is a flood.
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
TOLD = 100_000
"""Bytes of all that there is, which a watch is told before it is given up."""


class Flood:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.answers: Counter[int] = Counter()

    async def lists(self, number: int) -> int:
        async with self._session.get(f"{PATH}?includeObject=None", headers=TABLE) as answer:
            await answer.read()
            return answer.status

    async def watches(self, number: int) -> int:
        async with self._session.get(f"{PATH}?watch=1&resourceVersion=0") as answer:
            left = TOLD
            while left > 0 and (piece := await answer.content.readany()):
                left -= len(piece)
            return answer.status

    async def writes(self, number: int) -> int:
        data = {"data": {"x": "y" * 2000, "n": str(self.answers.total())}}
        async with self._session.patch(OWN.format(number=number), json=data, headers=MERGE) as answer:
            await answer.read()
            return answer.status

    async def client(self, kind: str, number: int) -> None:
        ask = getattr(self, kind)
        while True:
            try:
                self.answers[await ask(number)] += 1
            except aiohttp.ClientError:
                self.answers[0] += 1


async def flood(url: str, pki: Path, user: str, clients: int, kind: str) -> Counter[int]:
    tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    tls.load_cert_chain(pki / "tls.crt", pki / "tls.key")
    connector = aiohttp.TCPConnector(ssl=tls, limit=0)
    async with aiohttp.ClientSession(url, connector=connector, headers={"Impersonate-User": user}) as session:
        of = Flood(session)
        tasks = [asyncio.create_task(of.client(kind, number)) for number in range(clients)]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return of.answers


if __name__ == "__main__":
    url, pki, user, clients, kind = sys.argv[1:]
    print(json.dumps(asyncio.run(flood(url, Path(pki), user, int(clients), kind))))
