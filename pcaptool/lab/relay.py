"""A link in user space: carries frames between two TAP devices with delay, rate, queue and exact losses.

    python -m pcaptool.lab.relay SCENARIO.toml SERVER-NAMESPACE CLIENT-NAMESPACE

Knows: TUN/TAP (linux/if_tun.h), setns(2).
Must not know: what a scenario's link means (`rules`).
Super-packets and partial checksums pass as they are, with their virtio header, where the hosts' offloads are on. The
process is in the client's namespace from its start on; it prints "ready" when both devices are there.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import select
import struct
import sys
import time

from pcaptool.lab.rules import Direction
from pcaptool.scenario import Host, Scenario, load_scenario

__all__ = ["relay"]

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6 = 1, 2, 4
_VIRTIO_HEADER_BYTES = 10
_LARGEST_FRAME = 70_000


def _open_tap(namespace: str, host: Host) -> int:
    """A TAP device in a namespace; this process is in that namespace afterwards."""
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(handle)
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", host.device.encode(), flags))
    offload = host.offload
    bits = _TUN_F_CSUM if offload.tx_checksum else 0
    bits |= _TUN_F_TSO4 | _TUN_F_TSO6 if offload.tx_checksum and offload.tso else 0
    fcntl.ioctl(tap, _TUNSETOFFLOAD, bits)
    return tap


def relay(scenario: Scenario, server: str, client: str) -> None:
    """Carry frames until the process is ended."""
    taps = [_open_tap(server, scenario.host.server), _open_tap(client, scenario.host.client)]
    ways = [
        Direction(scenario.link, name, scenario.seed) for name in ("server-to-client", "client-to-server")
    ]
    queue: list[tuple[int, int, int, bytes]] = []  # arrival, order, receiving side, frame
    count = 0
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        wait = max(0, queue[0][0] - time.monotonic_ns()) / 1e9 if queue else None
        for tap in select.select(taps, [], [], wait)[0]:
            side = taps.index(tap)
            with contextlib.suppress(BlockingIOError):
                while True:
                    frame = os.read(tap, _LARGEST_FRAME)
                    at = ways[side].arrival_ns(frame[_VIRTIO_HEADER_BYTES:], time.monotonic_ns())
                    if at is not None:
                        count += 1
                        heapq.heappush(queue, (at, count, 1 - side, frame))
        while queue and queue[0][0] <= time.monotonic_ns():
            _, _, side, frame = heapq.heappop(queue)
            with contextlib.suppress(OSError):  # the device is not up yet, or is going
                os.write(taps[side], frame)


if __name__ == "__main__":
    relay(load_scenario(sys.argv[1], model=False), sys.argv[2], sys.argv[3])
