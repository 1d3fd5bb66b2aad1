"""Zeek's two summaries of a connection: its state and its history.

Knows: what the states mean (Zeek's documentation of conn.log), and how they follow from the states of the two ends.
Must not know: how these were found out (`zeek_kernel`, which also says what is left out).
Zeek ends a connection some seconds after both sides ended it, and begins a new one with the next packet, or after
some time without packets; here only another SYN begins a new flow: what comes after an end has no part in its
summaries, what comes after silence has.

    S0      SYN, no answer                       REJ     SYN answered by RST
    S1      established, not ended               SF      established and ended, or joined and ended by both
    S2, S3  only originator, responder ended     SH, SHR the same, and the other side was never seen
    RSTO    established, originator reset        RSTR    responder reset
    RSTOS0  SYN, then RST by the originator, responder never seen
    RSTRH   responder reset, originator never seen
    OTH     anything else: joined in its midst
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from pcaptool.analyze import flow_kernel as fk
from pcaptool.analyze import zeek_kernel as zk
from pcaptool.analyze.take import Ints, distinct, grown
from pcaptool.engine import Engine
from pcaptool.tables.columns import Columns, Texts

__all__ = ["STATES", "ConnectionStates"]

STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
_LETTERS = "__SsHhAaDdFfRrIiQqTtWwGg^"
_REFUSED = re.compile(r"\^?S[^HAFGIQ]*R")
UDP = 17


class ConnectionStates:
    """What Zeek would say of each conversation.

    Parameters
    ----------
    engine : Engine
        How the kernel runs.
    """

    def __init__(self, engine: Engine) -> None:
        self._follow = engine.flat(zk.__name__, "follow")
        self._wide = np.zeros((0, zk.WIDE), np.int64)
        self._narrow = np.zeros((0, zk.NARROW), np.int32)

    def feed(
        self, rows: Ints, found: Ints, tcp_rows: Ints, windows: npt.NDArray[np.uint16], flows: Ints
    ) -> None:
        """Packets, in order.

        Parameters
        ----------
        rows, found : int64 arrays
            Input and output of `flow_kernel.track`.
        tcp_rows : int64 array
            Where each stands in the tcp table.
        windows : uint16 array
            Windows of the tcp table, as they were sent.
        flows : (capacity, flow_kernel.WIDTH) int64
            Conversations.
        """
        self._wide, self._narrow = grown(self._wide, len(flows) - 1), grown(self._narrow, len(flows) - 1)
        self._follow(rows, found, tcp_rows, windows, flows, self._wide, self._narrow)

    def columns(self, flows: Ints, first: int) -> Columns:
        """State and history of some conversations.

        Parameters
        ----------
        flows : (conversations, flow_kernel.WIDTH) int64
        first : int
            Number of the first of them.
        """
        wide, narrow = self._wide[first : first + len(flows)], self._narrow[first : first + len(flows)]
        letters = _histories(wide)
        return {"conn_state": _states(flows[:, fk.PROTOCOL] == UDP, narrow, letters), "history": letters}


def _states(udp: npt.NDArray[np.bool_], narrow: npt.NDArray[np.int32], letters: Texts) -> Texts:
    def end(state: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        return narrow[:, zk.STATE] == state, narrow[:, zk.SIDE_WIDTH + zk.STATE] == state

    (orig_off, resp_off), (orig_part, resp_part) = end(zk.INACTIVE), end(zk.PARTIAL)
    orig_away, resp_away = orig_off | orig_part, resp_off | resp_part
    (orig_syn, _), (orig_synack, _) = end(zk.SYN_SENT), end(zk.SYN_ACK_SENT)
    (orig_rst, resp_rst), (orig_fin, resp_fin) = end(zk.RESET), end(zk.CLOSED)
    orig_up, resp_up = end(zk.ESTABLISHED)
    nothing = (_sizes(narrow, 0) == 0) & (_sizes(narrow, zk.SIDE_WIDTH) == 0)
    refused = np.array([bool(_REFUSED.match(word)) for word in letters.words], np.bool_)[letters.codes]
    asked, answered = (
        np.array([letter in word for word in letters.words], np.bool_)[letters.codes] for letter in "Dd"
    )
    # The first that holds counts, as in Zeek's own order of tests.
    tests = (
        (udp & asked & answered, "SF"),
        (udp & asked, "S0"),
        (udp & answered, "SHR"),
        (resp_rst & (orig_syn | orig_synack | (orig_rst & nothing)), "REJ"),
        (resp_rst & orig_away, "RSTRH"),
        (resp_rst, "RSTR"),
        (orig_rst & resp_away & refused, "RSTOS0"),
        (orig_rst & resp_away, "OTH"),
        (orig_rst, "RSTO"),
        (orig_fin & resp_fin, "SF"),
        (orig_fin & resp_away, "SH"),
        (orig_fin, "S2"),
        (resp_fin & orig_away, "SHR"),
        (resp_fin, "S3"),
        (orig_syn & resp_off, "S0"),
        (orig_up & resp_up, "S1"),
    )
    codes = np.select(
        [test for test, _ in tests], [STATES.index(name) for _, name in tests], STATES.index("OTH")
    )
    return Texts(codes.astype(np.int32), STATES)


def _sizes(narrow: npt.NDArray[np.int32], here: int) -> Ints:
    """How much payload an end sent, by its numbers."""
    start = narrow[:, here + zk.START].astype(np.int64)
    far = np.maximum(*((narrow[:, here + name] - start) & zk.MASK32 for name in (zk.LAST, zk.EDGE)))
    sizes: Ints = np.maximum(far - 1 - narrow[:, here + zk.FINS], 0)
    return sizes


def _histories(wide: Ints) -> Texts:
    """Letters of each conversation; few have more than a word holds."""
    words, _, codes = distinct(wide[:, zk.LETTERS])
    texts = [_spell(word) for word in words.tolist()]
    known = {text: code for code, text in enumerate(texts)}
    for row in np.flatnonzero(wide[:, zk.LETTERS + 1]).tolist():
        text = "".join(_spell(word) for word in wide[row, zk.LETTERS : zk.LETTERS + zk.WORDS].tolist())
        codes[row] = known.setdefault(text, len(known))
    return Texts(codes.astype(np.int32), list(known))


def _spell(word: int) -> str:
    out = ""
    while word:
        out += _LETTERS[word & 31]
        word >>= 5
    return out
