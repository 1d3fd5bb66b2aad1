"""A long TCP conversation in which everything goes wrong: for what other decoders say of it."""

from __future__ import annotations

import random
from pathlib import Path

import dpkt

MSS = 1000
_ENDS = (b"\x0a\0\0\1", b"\x0a\0\0\2")


def troubled_conversations(path: Path, seed: int, count: int = 2000) -> None:
    """Data both ways, probes into closed windows, holes, repetitions of all sizes, duplicate ACKs with SACK."""
    choose = random.Random(seed)
    highest = {side: 2**32 - 20_000 + 7000 * side for side in range(2)}  # next new byte
    acked = dict(highest)  # what the other side has acknowledged
    window = {0: 500, 1: 500}
    now = 1_700_000_000_000_000
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)

        def send(side: int, seq: int, ack: int, flags: int, data: bytes = b"", options: bytes = b"") -> None:
            nonlocal now
            now += choose.choice([50, 100, 100, 1000, 2900, 9000, 25_000])
            tcp = dpkt.tcp.TCP(
                sport=(1000, 80)[side], dport=(80, 1000)[side], seq=seq % 2**32, ack=ack % 2**32 if flags & 16 else 0,
                flags=flags, win=window[side], opts=options, data=data,
            )  # fmt: skip
            tcp.off = 5 + len(options) // 4
            ip = dpkt.ip.IP(src=_ENDS[side], dst=_ENDS[1 - side], p=6, data=tcp)
            ip.len = len(ip)
            writer.writepkt_time(
                bytes(dpkt.ethernet.Ethernet(dst=b"\2" * 6, src=b"\4" * 6, type=0x800, data=ip)),
                now / 1_000_000,
            )

        for _ in range(count):
            side = choose.randrange(2)
            ack = acked[1 - side]
            match choose.choice(
                ("data",) * 6 + ("again",) * 4 + ("ack",) * 5 + ("sack",) * 4 + ("probe", "close", "odd")
            ):
                case "data":
                    if choose.randrange(8) == 0:
                        highest[side] += choose.choice([1, MSS, 3 * MSS])  # a hole
                    size = choose.choice([1, 10, MSS, MSS, MSS, 4 * MSS])
                    send(side, highest[side], ack, choose.choice([16, 24]), bytes(size))
                    highest[side] += size
                case "again":
                    back = choose.choice([1, 10, MSS, 2 * MSS, 3 * MSS, highest[side] - acked[side]])
                    size = choose.choice([1, 10, min(back, MSS), back, MSS])
                    send(
                        side,
                        highest[side] - back,
                        ack,
                        choose.choice([16, 24]),
                        bytes(max(0, min(size, 9000))),
                    )
                case "ack":
                    far = highest[1 - side] - acked[1 - side]
                    acked[1 - side] += choose.choice(
                        [0, 0, far, min(far, MSS), far // 2, 1, far + choose.choice([0, 0, 500])]
                    )
                    window[side] = choose.choice([window[side], window[side], 500, 600])
                    for _ in range(choose.choice([1, 1, 3, 4])):
                        send(side, highest[side], acked[1 - side], 16)
                case "sack":
                    ack = acked[1 - side]
                    blocks = b""
                    for k in range(choose.randrange(1, 5)):
                        left = ack + MSS * (1 + 2 * k)
                        blocks += (left % 2**32).to_bytes(4, "big") + ((left + MSS) % 2**32).to_bytes(
                            4, "big"
                        )
                    window[side] = choose.choice([window[side], window[side], window[side], 700])
                    for _ in range(choose.choice([1, 3])):
                        send(side, highest[side], ack, 16, options=bytes((1, 1, 5, 2 + len(blocks))) + blocks)
                case "probe":
                    window[1 - side] = 0
                    send(1 - side, highest[1 - side], acked[side], 16)
                    send(side, highest[side], ack, 16, b"x")
                    acked[side] = choose.choice([acked[side], acked[side] + 1])
                    window[1 - side] = choose.choice([0, 0, 500])
                    send(1 - side, highest[1 - side], acked[side], 16)
                    highest[side] = max(highest[side], acked[side])
                case "close":
                    send(side, highest[side], ack, choose.choice([17, 17, 1, 4, 20]))
                    if choose.randrange(3) == 0:
                        start = choose.choice([highest[side], 5000])
                        send(side, start, 0, 2)
                        send(1 - side, choose.choice([highest[1 - side], 9000]), start + 1, 18)
                        highest[side], acked[side] = start + 1, start + 1
                case "odd":
                    send(side, highest[side] - 1, ack, 16, choose.choice([b"", b"k"]))
