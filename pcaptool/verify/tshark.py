"""Running tshark for the values of fields.

Knows: its command line, the preferences that are pinned, the layers that are left on.
Must not know: our tables.
Pitfalls met here: several occurrences of a field are joined by a control character, because a comma occurs
inside values; records that are no packets become frames without an encapsulation and are dropped; a damaged
file gives rows up to the damage and exit code 2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pcaptool.errors import SystemRefusedError

__all__ = ["fields"]

_SEPARATOR = "\x1f"

# Defaults of tshark 4.0 except where a comment says otherwise; pinned, because users change them.
_PREFERENCES: Mapping[str, str] = {
    "tcp.relative_sequence_numbers": "FALSE",  # SACK edges as they stand in the header
    "tcp.analyze_sequence_numbers": "TRUE",
    "tcp.desegment_tcp_streams": "FALSE",
    "ip.defragment": "TRUE",
    "ip.tso_support": "TRUE",
    "ipv6.defragment": "TRUE",
    "ip.check_checksum": "FALSE",
    "tcp.check_checksum": "FALSE",
    "udp.check_checksum": "FALSE",
}
# With validation on, a bad checksum ends reassembly: so this is a run of its own.
_CHECKED = {"ip.check_checksum": "TRUE", "tcp.check_checksum": "TRUE", "udp.check_checksum": "TRUE"}

# Dissectors that stay on: everything below the applications.
_KEPT = (
    "frame eth ethertype ieee8021ad vlan llc sll sll2 null raw raw_ip nflog radiotap wlan_radio wlan "
    "chdlc fr ppp pppoe pppoes pppoed mpls pwethheuristic pweth gre erspan vxlan geneve teredo ayiya l2tp "
    "gtp ip ipv6 ah icmp icmpv6 igmp tcp mptcp udp udplite arp data fragment malformed unreassembled "
    "expert nordic pkt_ccc pcap pcapng prism"
)
_LAYERS = frozenset(_KEPT.split())


@cache
def _program() -> str:
    found = shutil.which("tshark")
    if found is None:
        raise SystemRefusedError("tshark is not installed", hint="on Debian: apt-get install tshark")
    return found


@cache
def _settings() -> tempfile.TemporaryDirectory[str]:
    """A configuration folder that switches the dissectors of applications off."""
    folder = tempfile.TemporaryDirectory(prefix="pcaptool-tshark-")
    command = [_program(), "-G", "protocols"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - fixed arguments
    names = [line.split("\t")[2] for line in text.splitlines() if line.count("\t") >= 2]
    kept = ("tcp.", "ipv6.", "ip.", "_ws", "mptcp")
    off = [name for name in names if name not in _LAYERS and not name.startswith(kept)]
    Path(folder.name, "disabled_protos").write_text("\n".join(off) + "\n")
    return folder


def fields(
    path: Path, names: Sequence[str], *, checksums: bool = False
) -> tuple[list[dict[str, list[str]]], bool]:
    """Values of fields, a mapping for each packet, and whether the file was read to its end.

    A field that is absent has an empty list.

    Parameters
    ----------
    path : Path
    names : sequence of str
        Filter names.
    checksums : bool
        Whether checksums are validated.

    Raises
    ------
    SystemRefusedError
        tshark is missing or failed altogether.
    """
    asked = ["frame.encap_type", *names]
    command = [_program(), "-n", "-r", str(path), "-T", "fields", "-E", f"aggregator={_SEPARATOR}"]
    for name, value in {**_PREFERENCES, **(_CHECKED if checksums else {})}.items():
        command += ["-o", f"{name}:{value}"]
    for name in asked:
        command += ["-e", name]
    place = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "WIRESHARK_CONFIG_DIR": _settings().name}
    done = subprocess.run(command, capture_output=True, env=os.environ | place, check=False)  # noqa: S603 - no shell
    if done.returncode not in (0, 2):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SystemRefusedError(f"tshark failed: {said[-1] if said else done.returncode}", path=path)
    rows = []
    for line in done.stdout.decode("utf-8", "replace").split("\n"):
        cells = line.split("\t")
        if len(cells) != len(asked) or not cells[0]:
            continue
        rows.append(
            {name: cell.split(_SEPARATOR) if cell else [] for name, cell in zip(asked, cells, strict=True)}
        )
    return rows, done.returncode == 0
