"""Zeek's two summaries of a connection: its state and its history.

Knows: what the states mean (Zeek's documentation of conn.log), and how they follow from who sent SYN, SYN-ACK,
FIN and RST. Must not know: how that was found out (`flow_kernel`).
Left out: Zeek's letters for faults (c, g, t, w, i, q, ^). Zeek ends a connection at its first RST or after some
time without packets, and begins a new one with the next packet; here only another SYN begins a new flow, so a
history may go on.

    S0      SYN, no answer                       REJ     SYN answered by RST
    S1      established, not ended               SF      established and ended, or joined and ended by both
    S2, S3  only originator, responder ended     SH, SHR the same, and the other side was never seen
    RSTO    established, originator reset        RSTR    responder reset
    RSTOS0  originator reset, responder never seen
    RSTRH   responder reset, originator never seen
    OTH     anything else: joined in its midst
"""

from __future__ import annotations

import numpy as np

from pcaptool.analyze import flow_kernel as fk
from pcaptool.analyze.take import Ints, distinct
from pcaptool.tables.columns import Texts

__all__ = ["STATES", "connection_states", "histories"]

STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
_LETTERS = "__SsHhAaDdFfRr__"
UDP = 17


def connection_states(flows: Ints) -> Texts:
    """State of each conversation.

    Parameters
    ----------
    flows : (conversations, WIDTH) int64
        The kernel's rows.
    """

    def side(which: int, column: int) -> Ints:
        return flows[:, fk.SIDE + which * fk.SIDE_WIDTH + column]

    orig, resp = side(0, fk.PACKETS) > 0, side(1, fk.PACKETS) > 0
    orig_fin, resp_fin = side(0, fk.FIN_N) > 0, side(1, fk.FIN_N) > 0
    orig_rst, resp_rst = side(0, fk.RESET) > 0, side(1, fk.RESET) > 0
    syn, synack = flows[:, fk.SYN_N] > 0, flows[:, fk.SYNACK_N] > 0
    udp = flows[:, fk.PROTOCOL] == UDP
    rejected = syn & ~synack & ~orig_fin
    # The first that holds counts, as in Zeek's own order of tests.
    tests = (
        (udp & orig & resp, "SF"),
        (udp & orig, "S0"),
        (resp_rst & rejected, "REJ"),
        (resp_rst & ~orig, "RSTRH"),
        (resp_rst, "RSTR"),
        (orig_rst & ~resp, "RSTOS0"),
        (orig_rst, "RSTO"),
        (orig_fin & resp_fin, "SF"),
        (orig_fin & ~resp, "SH"),
        (orig_fin, "S2"),
        (resp_fin & ~orig, "SHR"),
        (resp_fin, "S3"),
        (syn & ~resp, "S0"),
        (syn & synack, "S1"),
    )
    codes = np.select(
        [test for test, _ in tests], [STATES.index(name) for _, name in tests], STATES.index("OTH")
    )
    return Texts(codes.astype(np.int32), STATES)


def histories(flows: Ints) -> Texts:
    """Letters of each conversation.

    Parameters
    ----------
    flows : (conversations, WIDTH) int64
        The kernel's rows.
    """
    histories, _, codes = distinct(flows[:, fk.HISTORY])
    return Texts(codes.astype(np.int32), [_spell(value) for value in histories.tolist()])


def _spell(history: int) -> str:
    out = ""
    while history:
        out += _LETTERS[history & 15]
        history >>= 4
    return out
