"""Ports forwarded as channels of one WebSocket, which the Python clients do."""

import aiohttp
import pytest

from api.errors import BadRequest
from apiserver.nodes import sessions
from apiserver.rest.streaming.channelled_forwards import ports
from tests.unit.apiserver.rest import kubelet as fake
from tests.unit.apiserver.rest.conftest import served

PATH = "/api/v1/namespaces/default/pods/a/portforward"


@pytest.fixture
async def kubelet(registry, make_pod):
    echo = fake.EchoKubelet()
    async with fake.running(echo) as port:
        registry.add("nodes", fake.node(port))
        registry.add("pods", make_pod("a", spec={"nodeName": "n1", "containers": [{"name": "c"}]}))
        yield echo


@pytest.mark.parametrize("protocols", [("v4.channel.k8s.io",), ()])
async def test_each_port_has_a_channel_for_data_and_one_for_errors(rest, kubelet, protocols):
    async with rest.ws_connect(f"{PATH}?ports=80&ports=81", protocols=protocols) as socket:
        first = [(await socket.receive()).data for _ in range(4)]
        assert first == [b"\x00\x50\x00", b"\x01\x50\x00", b"\x02\x51\x00", b"\x03\x51\x00"]
        await socket.send_bytes(b"\x02hello")
        assert (await socket.receive()).data == b"\x02HELLO"
        await socket.send_bytes(b"\x00you")
        assert (await socket.receive()).data == b"\x00YOU"


async def test_a_port_on_which_nobody_listens_is_said_on_its_error_channel(rest, kubelet):
    async with rest.ws_connect(f"{PATH}?ports=1", protocols=("v4.channel.k8s.io",)) as socket:
        messages = [message.data async for message in socket]
    assert messages[2][:1] == b"\x01"
    assert messages[2][1:].startswith(b"error forwarding port 1 to pod a, uid ")


async def test_each_connection_counts_among_the_streams_of_its_user(registry, kubelet, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_EACH", 3)
    async with (
        served(registry) as running,
        aiohttp.ClientSession(f"http://127.0.0.1:{await running.bound()}") as client,
        client.ws_connect(f"{PATH}?ports=80,81,82", headers={"Authorization": "Bearer good"}) as socket,
    ):
        for _ in range(6):
            await socket.receive()
        refused = (await socket.receive()).data
        why = "too many streams into pods, please try again later"
        assert refused == f"\x05error forwarding port 82 to pod a, uid : {why}".encode()
        await socket.send_bytes(b"\x02hello")
        assert (await socket.receive()).data == b"\x02HELLO"


def test_the_ports_stand_in_the_query():
    assert ports([("ports", "80,81"), ("other", "1"), ("ports", "82")]) == [80, 81, 82]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ([], 'query parameter "port" is required'),
        ([("ports", "a")], 'unable to parse "a" as a port: must be a number up to 65535'),
        ([("ports", "0")], 'port "0" must be > 0'),
    ],
)
def test_what_is_no_port_is_refused(query, message):
    with pytest.raises(BadRequest, match=message):
        ports(query)
