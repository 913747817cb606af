"""A program for a container that shares a part's network: what comes in at eth0 is held back for a while.

The kernel has a queue for this, netem, but not everywhere.  So a rule drops every packet as soon as it has come in, a
packet socket, which sees it before, gets a copy, and a tunnel lets the copy in later.  What offloading has left out of
a packet, its checksum or its division into segments, goes with it in the header that both devices understand.

It runs by itself, so it imports nothing of ours: `python3 -c SOURCE seconds jitter`.
"""

import fcntl
import heapq
import os
import random
import select
import socket
import struct
import sys
import time

DEVICE = b"wherry-late"
TUNSETIFF, IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x400454CA, 0x0001, 0x1000, 0x4000
SOL_PACKET, PACKET_VNET_HDR, ETH_P_IP = 263, 15, 0x0800
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x0001
OFFLOADED = struct.Struct("<BBHHHH")
"""virtio_net_hdr: flags, kind of segments, length of headers, size of segments, where the checksum begins and is."""
ETHERNET = 14
LARGEST = OFFLOADED.size + ETHERNET + 65536


def without_ethernet(frame: bytes) -> bytes:
    """For a tunnel, which carries packets; what counts from the beginning counts from the packet's."""
    flags, kind, headers, size, start, offset = OFFLOADED.unpack_from(frame)
    return (
        OFFLOADED.pack(flags, kind, max(0, headers - ETHERNET), size, max(0, start - ETHERNET), offset)
        + frame[OFFLOADED.size + ETHERNET :]
    )


def tunnel() -> int:
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, SIOCSIFFLAGS, struct.pack("16sH22x", DEVICE, IFF_UP))
    return device


def main(seconds: float, jitter: float) -> None:
    device = tunnel()
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    line.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    line.bind(("eth0", ETH_P_IP))
    print("ready", flush=True)
    late: list[tuple[float, bytes]] = []
    while True:
        wait = max(0.0, late[0][0] - time.monotonic()) if late else None
        if select.select([line], [], [], wait)[0]:
            frame, whence = line.recvfrom(LARGEST)
            if whence[2] == socket.PACKET_HOST:
                due = time.monotonic() + random.uniform(seconds - jitter, seconds + jitter)
                heapq.heappush(late, (due, without_ethernet(frame)))
        while late and late[0][0] <= time.monotonic():
            os.write(device, heapq.heappop(late)[1])


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
