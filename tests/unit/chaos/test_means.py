"""What the lab's faults are made of, where that is a matter of bytes."""

import struct

import yaml

from tests.chaos import clocks
from tests.chaos.faults.delaying import ETHERNET, OFFLOADED, without_ethernet
from wherry.composing import Compose
from wherry.labs import Lab


def test_what_offloading_left_out_is_found_in_the_packet_without_its_frame():
    needs_checksum, segments, headers, size, start, offset = 1, 1, 66, 1448, 34, 16
    header = OFFLOADED.pack(needs_checksum, segments, headers, size, start, offset)
    frame = header + bytes(ETHERNET) + b"packet"
    moved = OFFLOADED.pack(needs_checksum, segments, headers - ETHERNET, size, start - ETHERNET, offset)
    assert without_ethernet(frame) == moved + b"packet"


def test_a_packet_with_nothing_left_out_stays_so():
    frame = bytes(OFFLOADED.size + ETHERNET) + b"packet"
    assert without_ethernet(frame) == bytes(OFFLOADED.size) + b"packet"


def test_clocks_go_right_until_they_are_set_and_nothing_else_has_one(tmp_path):
    lab = Lab(state=tmp_path)
    Compose(lab).choose(2, ha=True)
    clocks.fit(lab, 2)
    services = yaml.safe_load(Compose(lab).generated.read_text())["services"]
    fitted = {name for name, service in services.items() if service["image"] == clocks.IMAGE}
    assert fitted == {*clocks.clocked(2)}
    assert {"apiserver2", "scheduler1", "node2-kubelet"} <= fitted
    (mounted,) = (v.split(":")[0] for v in services["scheduler1"]["volumes"] if v.endswith(":/clock:ro"))
    clocks.set_by(lab, "scheduler1", -400)
    assert (tmp_path / "clocks/scheduler1/offset").read_bytes() == struct.pack("q", -400)
    assert mounted == str(tmp_path / "clocks/scheduler1")
    assert (tmp_path / "clocks/scheduler/offset").read_bytes() == struct.pack("q", 0)
