"""Proof 3: both ends of one run; the losses found are exactly the scenario's drops.

The scenario names a drop as the n-th packet of a kind in a direction; which packet number that is in the
capture nearer to the sender is counted here, without the package.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.proof.frames import Packet, read

SERVER = bytes((192, 0, 2, 1))


@dataclass(frozen=True)
class Ends:
    """Both captures of a run, what was dropped and what came late: (direction s2c or c2s, kind, which ones)."""

    name: str
    client: Path
    server: Path
    drops: tuple[tuple[str, str, tuple[int, ...]], ...]
    seen: bool
    late: tuple[tuple[str, str, tuple[int, ...]], ...] = ()


def kinds(p: Packet) -> set[str]:
    """The kinds that a drop rule can name."""
    if not p.is_tcp:
        return {"other"}
    flags, size, out = p.flags, p.payload_bytes, set[str]()
    if flags & 2:
        out.add("synack" if flags & 16 else "syn")
    if size:
        out.add("data")
    if flags & 1:
        out.add("fin")
    if not size and not flags & 7:
        out.add("ack")
    return out


def dropped(ends: Ends) -> set[tuple[str, int]]:
    """Packets that only the sender's capture has: ("client" or "server", number)."""
    return numbered(ends, ends.drops if ends.seen else ())


def numbered(ends: Ends, rules: tuple[tuple[str, str, tuple[int, ...]], ...]) -> set[tuple[str, int]]:
    """The packets that some rules name, in their sender's capture."""
    out = set()
    for direction, kind, which in rules:
        near = "server" if direction == "s2c" else "client"
        _, packets = read(getattr(ends, near))
        own = [
            n
            for n, p in enumerate(packets, 1)
            if p.is_tcp and (p.raw[26:30] == SERVER) == (near == "server") and kind in kinds(p)
        ]
        out |= {(near, own[k - 1]) for k in which if k <= len(own)}
    return out


def bundled(fixtures: Path) -> Iterator[Ends]:
    """Runs of the bundled captures of which both ends are there."""
    lab = fixtures / "captures" / "lab"
    for client in sorted(lab.rglob("*.client.pcap")):
        server = client.with_name(client.name.replace(".client.", ".server."))
        name = client.name.split(".")[0]
        toml = tomllib.loads((fixtures / "scenarios" / "lab" / f"{name}.toml").read_text())
        words = {"server-to-client": "s2c", "client-to-server": "c2s"}
        rules = toml.get("link", {}).get("drop", [])
        drops = tuple(
            (words[r.get("direction", "server-to-client")], _word(r.get("match", "data")), tuple(r["nth"]))
            for r in rules
        )
        yield Ends(client.name.removesuffix(".client.pcap"), client, server, drops, seen=True)


def _word(match: str) -> str:
    return match.replace("-", "")


def of_lab(folder: Path) -> Iterator[Ends]:
    """Runs of a folder that the lab script wrote: NAME/{client,server}.pcap and scenario.json.

    On a veth link a drop happens behind the receiver's tap: both captures have the packet.
    """
    for place in sorted(folder.rglob("scenario.json")):
        run = place.parent
        if not (run / "client.pcap").exists() or not (run / "server.pcap").exists():
            continue
        scenario = json.loads(place.read_text())["scenario"]
        if scenario["family"] != 4:
            continue
        drops, late = (
            tuple((r["dir"], r["match"], tuple(r["nth"])) for r in scenario.get(key) or ())
            for key in ("drop", "jitter_order")
        )
        yield Ends(run.name, run / "client.pcap", run / "server.pcap", drops, scenario["link"] == "tap", late)


def lost(found) -> set[tuple[str, int]]:
    """What the diff calls lost between the client's capture (A) and the server's (B)."""
    rows = found.differences.filter(cause="lost-between").to_dicts()
    return {("client", r["n_a"]) if r["n_a"] is not None else ("server", r["n_b"]) for r in rows}


def overtaken(found) -> set[tuple[str, int]]:
    """What the diff calls out of order, by its number at its sender."""
    rows = found.differences.filter(cause="order").to_dicts()
    return {
        ("client", r["n_a"]) if r["direction"] == "client to server" else ("server", r["n_b"]) for r in rows
    }
