"""Exact losses between two namespaces: the scenario's rules as nftables' text.

Knows: nft syntax; which frames belong to a kind (`stack.loss` says the same of the model).
Must not know: how nft is run.
Frames are lost at the receiver's ingress hook: its tcpdump has seen them, its IP has not. A rule counts the frames of
its kind (a super-packet is one) and drops those that are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pcaptool.scenario import Drop

__all__ = ["ruleset"]

# What a frame of the kind is, as one condition.
_CONDITIONS = {
    "syn": "tcp flags & (syn | ack) == syn",
    "synack": "tcp flags & (syn | ack) == (syn | ack)",
    "ack": "tcp flags & (syn | fin | rst) == 0",
    "data": "meta l4proto tcp",
    "fin": "tcp flags & fin == fin",
    "rst": "tcp flags & rst == rst",
    "tcp": "meta l4proto tcp",
    "other": "",
    "any": "",
}
_HEADER_WORDS = range(5, 16)  # TCP's data offset


def ruleset(drops: Sequence[Drop], device: str, family: int) -> str:
    """The text for `nft -f -` that loses frames which arrive at a device.

    Parameters
    ----------
    drops : sequence of Drop
        Those of this direction.
    device : str
        The receiver's.
    family : {4, 6}

    Examples
    --------
    >>> print(ruleset([Drop(match="syn", nth=(2,))], "eth0", 4), end="")
    table netdev pcaptool {
     chain loss0 {
      tcp flags & (syn | ack) == syn numgen inc mod 1000000000 { 1 } counter drop
     }
     chain ingress {
      type filter hook ingress device "eth0" priority 0;
      jump loss0
     }
    }
    """
    lines = ["table netdev pcaptool {"]
    for index, drop in enumerate(drops):
        lines += [f" chain loss{index} {{", *(f"  {line}" for line in _rules(drop, family)), " }"]
    lines += [" chain ingress {", f'  type filter hook ingress device "{device}" priority 0;']
    lines += [f"  jump loss{index}" for index in range(len(drops))]
    return "\n".join([*lines, " }", "}"]) + "\n"


def _rules(drop: Drop, family: int) -> Iterator[str]:
    if drop.match == "other":
        yield "meta l4proto tcp return"
    if drop.match in ("data", "ack"):
        # A segment without payload is as long as its headers: a line for each length of TCP's.
        unlike = "" if drop.match == "data" else "!= "
        for words in _HEADER_WORDS:
            length = (
                f"ip length {unlike}{20 + 4 * words}" if family == 4 else f"ip6 length {unlike}{4 * words}"
            )
            yield f"tcp doff {words} {length} return"
    nth = ", ".join(str(n - 1) for n in drop.nth)
    yield f"{_CONDITIONS[drop.match]} numgen inc mod 1000000000 {{ {nth} }} counter drop".strip()
