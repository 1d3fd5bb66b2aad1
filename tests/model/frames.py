"""Frames of a run as dictionaries, decoded by dpkt: the model's tests do not trust our own decoder."""

from __future__ import annotations

from collections.abc import Iterable

import dpkt

from pcaptool.scenario import parse_scenario
from pcaptool.stack.run import run_scenario

FLAGS = "FSRPAUEC"


def run(text: str = "", taps: Iterable[str] = ("server",)):
    """Run a scenario given as TOML."""
    return run_scenario(parse_scenario(text), tuple(taps))


def decode(frame):
    """One tap frame; TCP fields relative to nothing."""
    eth = dpkt.ethernet.Ethernet(frame.data)
    out = {"ns": frame.time_ns, "leaving": frame.leaving, "skb": frame.skb, "ready": frame.checksum_ready}
    if isinstance(eth.data, dpkt.arp.ARP):
        return out | {"arp": eth.data.op, "to": eth.dst}
    ip, tcp = eth.data, eth.data.data
    if not isinstance(tcp, dpkt.tcp.TCP):
        return out | {"icmp6": tcp.type, "to": eth.dst}
    options = dict(dpkt.tcp.parse_opts(tcp.opts))
    return out | {
        "ip": ip,
        "tcp": tcp,
        "id": getattr(ip, "id", None),
        "flags": "".join(c for i, c in enumerate(FLAGS) if tcp.flags >> i & 1),
        "seq": tcp.seq,
        "ack": tcp.ack,
        "win": tcp.win,
        "size": len(tcp.data),
        "data": bytes(tcp.data),
        "options": options,
        "segs": frame.gso_segs,
    }


def tcp_frames(result, tap="server", *, leaving=None):
    """Decoded TCP frames of a tap, of one direction if asked for."""
    frames = [decode(f) for f in result.frames[tap]]
    return [f for f in frames if "tcp" in f and (leaving is None or f["leaving"] == leaving)]


def lines(result, tap="server"):
    """A text table of a capture, for golden files: relative numbers, no times."""
    first, out = {}, []
    for n, frame in enumerate(map(decode, result.frames[tap]), 1):
        way = ">" if frame["leaving"] else "<"
        if "arp" in frame:
            out.append(f"{n:3} {way} arp {'request' if frame['arp'] == 1 else 'reply'}")
            continue
        port = frame["tcp"].dport if frame["leaving"] else frame["tcp"].sport
        mine, theirs = (port, frame["leaving"]), (port, not frame["leaving"])
        first.setdefault(mine, frame["seq"])
        seq = (frame["seq"] - first[mine]) & 0xFFFFFFFF
        ack = (frame["ack"] - first.get(theirs, frame["ack"])) & 0xFFFFFFFF
        out.append(
            f"{n:3} {way} {frame['flags']:4} {seq}:{seq + frame['size']} ack {ack} win {frame['win']}"
            f" segs {frame['segs']}"
        )
    return out
