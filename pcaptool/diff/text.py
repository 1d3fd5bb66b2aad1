"""Field values and packets in the words people know from tcpdump and Wireshark.

Knows: how a flag field, a checksum, an option list reads.
Must not know: what is compared with what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pcaptool.diff.fields import plain_name

__all__ = ["flags_text", "options_text", "value_text"]

_FLAG_LETTERS = (
    (0x002, "S"), (0x001, "F"), (0x004, "R"), (0x008, "P"), (0x020, "U"), (0x040, "E"), (0x080, "W"),
    (0x100, "A"), (0x010, "."),
)  # fmt: skip
_OPTION_WORDS = {
    0: "eol",
    1: "nop",
    2: "mss",
    3: "ws",
    4: "sackOK",
    5: "sack",
    8: "ts",
    30: "mptcp",
    34: "tfo",
}
_STATUS = ("bad", "good", "unverified", "absent")


def flags_text(flags: int | None) -> str:
    """TCP flags as tcpdump writes them; A stands for the AE bit.

    Examples
    --------
    >>> flags_text(0x012), flags_text(0x019), flags_text(0x010)
    ('S.', 'FP.', '.')
    """
    if flags is None:
        return ""
    return "".join(letter for bit, letter in _FLAG_LETTERS if flags & bit) or "none"


def options_text(kinds: Sequence[int] | None, mss: int | None = None, scale: int | None = None) -> str:
    """Option kinds in wire order, with the values that a handshake agrees on.

    Examples
    --------
    >>> options_text([2, 4, 8, 1, 3], 1460, 7)
    'mss 1460,sackOK,ts,nop,ws 7'
    """
    values = {2: mss, 3: scale}
    words = [(_OPTION_WORDS.get(k, f"opt{k}"), values.get(k)) for k in kinds or []]
    return ",".join(word if value is None else f"{word} {value}" for word, value in words)


def _checksum(state: int) -> str:
    words = _STATUS[state >> 16 & 3] + (", partial" if state >> 20 & 1 else "")
    return f"0x{state & 0xFFFF:04x} ({words})"


def _sack(edges: Sequence[int]) -> str:
    half = len(edges) // 2
    return " ".join(f"{{{edges[i]}:{edges[i + half]}}}" for i in range(half)) or "none"


def value_text(field: str, value: Any) -> str:
    """One value of a field.

    Examples
    --------
    >>> value_text("tcp.checksum", 0x11F00), value_text("ip.ttl", 64), value_text("ip.id", None)
    ('0x1f00 (good)', '64', '-')
    """
    if value is None:
        return "-"
    field = plain_name(field)
    if field == "tcp.flags":
        return flags_text(value)
    if field == "tcp.option_kinds":
        return options_text(value) or "none"
    if field == "tcp.options_sack":
        return _sack(value)
    if field.endswith(".checksum"):
        return _checksum(value)
    if field in ("ip.dsfield", "link.type", "ip.flow_label"):
        return f"0x{value:02x}"
    if field == "payload":
        return f"bytes #{value:015x}"
    return str(value)
