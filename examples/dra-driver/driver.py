"""A driver for dynamic resource allocation, as small as one can be.  Its devices are lamps, and are made up.

It does four things, as every driver does:

1. publishes a ResourceSlice: which devices its node has;
2. registers at the node's kubelet, by a socket in `plugins_registry`;
3. prepares a claim when the kubelet asks: it looks up which devices were allocated, and writes for each, in a file of
   CDI's form, what containers get with it: here a variable and a file;
4. undoes that when the last pod that uses the claim has ended.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc

from proto import dra_pb2 as dra
from proto import pluginregistration_pb2 as registration
from proto.dra_pb2_grpc import DRAPluginServicer, add_DRAPluginServicer_to_server
from proto.pluginregistration_pb2_grpc import RegistrationServicer, add_RegistrationServicer_to_server

NAME = "lamps.example.com"
COLOURS = ("green", "red", "blue", "blue")
RESOURCES = "/apis/resource.k8s.io/v1"
KUBELET, CDI = Path("/var/lib/kubelet"), Path("/var/run/cdi")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAUSE = 1.0

log = logging.getLogger("driver")


class Cluster:
    """The API server.  Raises aiohttp.ClientError."""

    def __init__(self, session: aiohttp.ClientSession, server: str, token: Path | None = None) -> None:
        self._session = session
        self._server = server
        self._token = token  # read again each time: the kubelet renews it

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token.read_text()}"} if self._token is not None else {}

    async def get(self, path: str) -> Any:
        async with self._session.get(self._server + path, headers=self._headers, raise_for_status=True) as answer:
            return await answer.json()

    async def create(self, path: str, body: Any) -> None:
        """It is no error if it is there already."""
        async with self._session.post(self._server + path, json=body, headers=self._headers) as answer:
            if answer.status != 409:
                answer.raise_for_status()

    async def watch(self, path: str) -> AsyncIterator[Any]:
        """What happens from now on, until the server ends it."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(
            self._server + path, headers=self._headers, raise_for_status=True, timeout=timeout
        ) as answer:  # fmt: skip
            async for line in answer.content:
                yield json.loads(line)


class Publisher:
    """Keeps the node's slice there: a kubelet that starts removes it, for it cannot know whether its driver still
    is."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._cluster = cluster
        self._node = node

    async def run(self) -> None:
        """Until cancelled."""
        slices = f"{RESOURCES}/resourceslices"
        own = f"{slices}?fieldSelector=spec.nodeName%3D{self._node},spec.driver%3D{NAME}"
        while True:
            try:
                since = (await self._cluster.get(own))["metadata"]["resourceVersion"]
                await self._cluster.create(slices, await self._slice())
                happens = self._cluster.watch(f"{own}&watch=true&resourceVersion={since}")
                async with contextlib.aclosing(happens) as events:
                    async for event in events:
                        if event["type"] in ("DELETED", "ERROR"):
                            break
            except (aiohttp.ClientError, OSError) as e:
                log.warning("publishing the devices: %s", e)
                await asyncio.sleep(PAUSE)

    async def _slice(self) -> dict[str, Any]:
        node = await self._cluster.get(f"/api/v1/nodes/{self._node}")
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": node["metadata"]["uid"]}
        devices = [
            {"name": f"lamp-{number}", "attributes": {"colour": {"string": colour}, "number": {"int": number}}}
            for number, colour in enumerate(COLOURS)
        ]
        return {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": f"{self._node}-{NAME}", "ownerReferences": [owner]},
            "spec": {
                "driver": NAME,
                "nodeName": self._node,
                "pool": {"name": self._node, "generation": 1, "resourceSliceCount": 1},
                "devices": devices,
            },
        }


class Driver(RegistrationServicer, DRAPluginServicer):
    """What the kubelet calls.  `data` and `cdi` are directories of the node's."""

    def __init__(self, cluster: Cluster, endpoint: Path, data: Path, cdi: Path) -> None:
        self._cluster = cluster
        self._endpoint = endpoint
        self._data = data
        self._cdi = cdi

    async def GetInfo(self, request: Any, context: Any) -> registration.PluginInfo:
        versions = ["v1.DRAPlugin"]
        return registration.PluginInfo(
            type="DRAPlugin", name=NAME, endpoint=str(self._endpoint), supported_versions=versions
        )  # fmt: skip

    async def NotifyRegistrationStatus(self, request: registration.RegistrationStatus, context: Any) -> Any:
        log.info("registered" if request.plugin_registered else f"not registered: {request.error}")
        return registration.RegistrationStatusResponse()

    async def NodePrepareResources(
        self, request: dra.NodePrepareResourcesRequest, context: Any
    ) -> dra.NodePrepareResourcesResponse:  # fmt: skip
        answer = dra.NodePrepareResourcesResponse()
        for claim in request.claims:
            try:
                answer.claims[claim.uid].devices.extend(await self._prepare(claim))
                log.info("prepared %s/%s", claim.namespace, claim.name)
            except (aiohttp.ClientError, OSError) as e:
                answer.claims[claim.uid].error = str(e)
        return answer

    async def NodeUnprepareResources(
        self, request: dra.NodeUnprepareResourcesRequest, context: Any
    ) -> dra.NodeUnprepareResourcesResponse:  # fmt: skip
        answer = dra.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            self._spec(claim.uid).unlink(missing_ok=True)
            for file in self._data.glob(f"{claim.uid}_*"):
                file.unlink()
            answer.claims[claim.uid].error = ""
            log.info("undid %s/%s", claim.namespace, claim.name)
        return answer

    async def _prepare(self, claim: dra.Claim) -> list[dra.Device]:
        found = await self._cluster.get(f"{RESOURCES}/namespaces/{claim.namespace}/resourceclaims/{claim.name}")
        if found["metadata"]["uid"] != claim.uid:
            raise FileNotFoundError(f"the claim is another one, of uid {found['metadata']['uid']}")
        results = found["status"]["allocation"]["devices"]["results"]
        own = [result for result in results if result["driver"] == NAME]
        spec = {"cdiVersion": "0.5.0", "kind": f"{NAME}/lamp", "devices": [self._given(claim, r) for r in own]}
        # The kubelet must never see half a file.
        new = self._spec(claim.uid).with_suffix(".new")
        new.write_text(json.dumps(spec))
        new.rename(self._spec(claim.uid))
        return [
            dra.Device(
                request_names=[result["request"]],
                pool_name=result["pool"],
                device_name=result["device"],
                cdi_device_ids=[f"{NAME}/lamp={claim.uid}_{result['device']}"],
            )
            for result in own
        ]

    def _given(self, claim: dra.Claim, result: dict[str, Any]) -> dict[str, Any]:
        """What a container gets with one device."""
        device = result["device"]
        file = self._data / f"{claim.uid}_{device}"
        file.write_text(f"{device} of {result['pool']}, for the request {result['request']} of {claim.name}\n")
        variable = device.upper().replace("-", "_")
        mount = {"hostPath": str(file), "containerPath": f"/lamps/{device}", "options": ["ro", "bind"]}
        return {"name": file.name, "containerEdits": {"env": [f"{variable}=on"], "mounts": [mount]}}

    def _spec(self, uid: str) -> Path:
        return self._cdi / f"{NAME}-{uid}.json"


async def run(cluster: Cluster, node: str, kubelet: Path = KUBELET, cdi: Path = CDI) -> None:
    """Until cancelled."""
    data = kubelet / "plugins" / NAME
    data.mkdir(exist_ok=True)
    endpoint, registry = data / "dra.sock", kubelet / "plugins_registry" / f"{NAME}-reg.sock"
    driver = Driver(cluster, endpoint, data, cdi)
    server = grpc.aio.server()
    add_RegistrationServicer_to_server(driver, server)
    add_DRAPluginServicer_to_server(driver, server)
    # The one that the kubelet looks for comes last: everything is there then.
    for socket in (endpoint, registry):
        socket.unlink(missing_ok=True)
        server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        await Publisher(cluster, node).run()
    finally:
        await server.stop(grace=1)


async def main() -> None:
    """In a pod."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        cluster = Cluster(session, f"https://{host}:{port}", ACCOUNT / "token")
        running = asyncio.create_task(run(cluster, os.environ["NODE_NAME"]))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await running


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    asyncio.run(main())
