"""Conversations: Wireshark's rule for new streams, and what a row of `flows` says."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.engine import Engine
from pcaptool.tables import FLOWS, TCP
from pcaptool.tables.columns import to_arrow
from pcaptool.tables.tcp_analysis import TCP_FLAGS

FIN, SYN, RST, ACK = 1, 2, 4, 16
C, S = ("10.0.0.1", "10.0.0.2", 1000, 80), ("10.0.0.2", "10.0.0.1", 80, 1000)


def run(tools: Any, segments: list[Any], size: int = 1000) -> tuple[pl.DataFrame, dict[str, list[Any]]]:
    analysis, tcp = FlowAnalysis(), {name: [] for name in ("flow", "stream", "fwd", "seq", "ack")}
    for batch in tools.split(segments, size):
        analysis.feed(batch)
        for name in tcp:
            column = batch.tables["tcp"][name]
            assert isinstance(column, np.ndarray)  # no row is null
            tcp[name] += column.tolist()
    return pl.DataFrame(to_arrow(FLOWS, analysis.finish()["flows"])), tcp


def test_a_syn_with_another_sequence_number_begins_a_new_flow(by_hand):
    seg = by_hand.Segment
    flows, tcp = run(
        by_hand,
        [
            seg(*C, seq=100, flags=SYN),
            seg(*C, seq=100, flags=SYN),  # a retransmission
            seg(*S, seq=500, ack=101, flags=SYN | ACK),
            seg(*C, seq=101, ack=501, flags=FIN | ACK),
            seg(*C, seq=9000, flags=SYN),  # the port is used again
            seg(*S, seq=501, ack=102, flags=ACK),  # now belongs to the new one, as in Wireshark
        ],
    )
    assert tcp["flow"] == [0, 0, 0, 0, 1, 1]
    assert tcp["seq"] == [0, 0, 0, 1, 0, 1]
    assert flows["first_n"].to_list() == [1, 5]
    assert flows["syn_n"].to_list() == [2, 5]


def test_numbers_of_a_conversation_joined_in_its_midst_begin_at_one(by_hand):
    seg = by_hand.Segment
    _, tcp = run(by_hand, [seg(*S, seq=7, ack=3, data=b"x"), seg(*C, seq=3, ack=8), seg(*C, seq=3, ack=8)])
    assert tcp["seq"] == [1, 1, 1]
    assert tcp["ack"] == [1, 2, 2]


def test_a_syn_ack_that_comes_first_names_the_other_side_originator(by_hand):
    seg = by_hand.Segment
    flows, tcp = run(by_hand, [seg(*S, seq=500, ack=101, flags=SYN | ACK), seg(*C, seq=101, ack=501)])
    assert tcp["fwd"] == [False, True]
    assert flows["src"].to_list() == ["10.0.0.1"]
    assert flows["handshake_rtt_ns"].to_list() == [None]


def test_handshake_counts_and_options(by_hand):
    seg = by_hand.Segment
    flows, _ = run(
        by_hand,
        [
            seg(*C, seq=1, flags=SYN, ts=10, mss=1460, wscale=7, sack_permitted=True, tsval=5),
            seg(*S, seq=2**32 - 1, ack=2, flags=SYN | ACK, ts=20, mss=1400, sack_permitted=True),
            seg(*C, seq=2, ack=0, ts=35),
            seg(*C, seq=2, ack=0, data=b"abc", ts=36),
            seg(*S, seq=0, ack=5, data=b"defgh", flags=ACK | FIN, ts=40),
            seg(*C, seq=5, ack=6, flags=RST, ts=50),
        ],
        size=2,
    )
    row = flows.row(0, named=True)
    assert (row["handshake_rtt_ns"], row["syn_n"], row["synack_n"]) == (25, 1, 2)
    assert (row["packets_fwd"], row["payload_bytes_fwd"], row["bytes_fwd"]) == (4, 3, 4 * 54 + 3)
    assert (row["packets_rev"], row["payload_bytes_rev"]) == (2, 5)
    assert (row["mss_fwd"], row["mss_rev"], row["wscale_fwd"], row["wscale_rev"]) == (1460, 1400, 7, None)
    assert (row["sack_permitted"], row["timestamps"]) == (True, False)
    assert (row["fin_fwd_n"], row["fin_rev_n"], row["rst_n"], row["end"]) == (None, 5, 6, "rst")


def test_udp_flows_are_numbered_with_the_tcp_ones(by_hand):
    seg = by_hand.Segment
    flows, tcp = run(
        by_hand,
        [
            seg(*C, udp=True, data=b"q"),
            seg(*C, seq=1, flags=SYN),
            seg(*S, udp=True, data=b"answer"),
        ],
    )
    assert tcp["flow"] == [1]
    assert tcp["stream"] == [0]
    assert flows["protocol"].to_list() == ["udp", "tcp"]
    assert flows["payload_bytes_rev"].to_list() == [6, 0]


def test_the_table_grows_and_finds_every_flow_again(by_hand):
    seg = by_hand.Segment
    count = 3000
    first = [seg("10.0.0.1", "10.0.0.2", 1024 + i, 80, seq=i, flags=SYN) for i in range(count)]
    again = [
        seg("10.0.0.2", "10.0.0.1", 80, 1024 + i, seq=5, ack=i + 1, flags=SYN | ACK) for i in range(count)
    ]
    _, tcp = run(by_hand, first + again, size=997)
    assert tcp["flow"] == [*range(count), *range(count)]


@pytest.mark.parametrize("size", [7, 1000])
def test_kernels_give_the_same_compiled(by_hand, size):
    """The same source, plain and compiled, over a random mix of segments."""
    random = np.random.default_rng(5)
    segments, following = [], {}
    for i in range(6000):
        port, side = 1000 + int(random.integers(2)), int(random.integers(2))
        mine, other = (port, side), (port, 1 - side)
        seq = following.get(mine, 2**32 - 50) + int(random.choice([0, 0, 0, 0, -1, -2, 1]))
        ack = following.get(other, 2**32 - 50) + int(random.choice([0, 0, 0, 0, -1, 2]))
        data = bytes(int(random.integers(3)))
        following[mine] = max(following.get(mine, 0), seq + len(data))
        ends = ("10.0.0.1", "10.0.0.2", port, 80)
        segments.append(
            by_hand.Segment(
                *(ends if side == 0 else (ends[1], ends[0], ends[3], ends[2])),
                seq=seq,
                ack=ack,
                flags=int(random.choice([ACK] * 80 + [SYN | ACK, FIN | ACK, RST, SYN])),
                data=data,
                ts=i * 400_000,
                window=int(random.choice([0, 0, 0, 1, 2, 2])),
                wscale=1 if random.integers(100) == 0 else None,
                sack=((5, 9), (2**32 - 1, 3))[: int(random.integers(3))],
            )
        )
    results = []
    for engine in (None, Engine("plain"), Engine("compiled")):
        analysis = FlowAnalysis(engine)
        tcp = []
        for batch in by_hand.split(segments, size):
            analysis.feed(batch)
            del batch.tables["tcp"]["payload_offset"]
            tcp.append(pl.DataFrame(to_arrow(TCP, batch.tables["tcp"])))
        results.append((pl.concat(tcp), pl.DataFrame(to_arrow(FLOWS, analysis.finish()["flows"]))))
    for name in [c.name for c in TCP_FLAGS]:
        assert results[0][0][name].any(), f"the mix never has {name}"
    for other in results[1:]:
        assert results[0][0].equals(other[0])
        assert results[0][1].equals(other[1])


def packets(by_hand, letters):
    """A connection from Zeek's letters, one packet each; upper case from the originator."""
    flags = {"s": SYN, "h": SYN | ACK, "a": ACK, "d": ACK, "f": FIN | ACK, "r": RST}
    return [
        by_hand.Segment(
            *(C if letter.isupper() else S),
            seq=100 + (letter.lower() not in "sh"),
            ack=100,
            flags=flags[letter.lower()],
            data=b"x" if letter.lower() == "d" else b"",
        )
        for letter in letters
    ]


@pytest.mark.parametrize(
    ("letters", "state"),
    [
        *(
            ("S", "S0"),
            ("Sr", "REJ"),
            ("ShA", "S1"),
            ("ShADad", "S1"),
            ("ShADadFf", "SF"),
            ("ShADadfF", "SF"),
        ),
        *(("ShADaF", "S2"), ("ShADaf", "S3"), ("ShADadR", "RSTO"), ("ShADadr", "RSTR"), ("SR", "RSTOS0")),
        *(("SF", "SH"), ("DdA", "OTH"), ("DdAFf", "SF"), ("ShADadFfR", "SF"), ("SrR", "REJ"), ("Fa", "SH")),
        *(("ShADadFr", "RSTR"), ("Ah", "OTH"), ("R", "OTH"), ("ShAR", "RSTO"), ("Sa", "S0")),
    ],
)
def test_zeeks_state_and_history(by_hand, letters, state):
    flows, _ = run(by_hand, packets(by_hand, letters))
    assert (flows["conn_state"].to_list(), flows["history"].to_list()) == ([state], [letters])


@pytest.mark.parametrize(("letters", "state"), [("hr", "RSTRH"), ("hf", "SHR"), ("hA", "S1"), ("dA", "OTH")])
def test_a_server_that_is_seen_first_is_still_the_responder(by_hand, letters, state):
    flows, _ = run(by_hand, packets(by_hand, letters))
    assert (flows["conn_state"].to_list(), flows["history"].to_list()) == ([state], ["^" + letters])
    assert flows["src"].to_list() == [C[0]]


def test_history_tells_what_came_again_what_is_missing_and_closed_windows(by_hand):
    seg = by_hand.Segment
    begin = [
        seg(*C, seq=99, flags=SYN),
        seg(*S, seq=499, ack=100, flags=SYN | ACK),
        seg(*C, seq=100, ack=500),
    ]
    ten = [seg(*C, seq=100, ack=500, data=b"x" * 10)]
    cases = {
        "T": [*ten, *ten],
        "TTT": ten * 101,  # once, ten times, a hundred times again
        "w": [*ten, seg(*S, seq=500, ack=110, window=0)],
        "G": [seg(*C, seq=120, ack=500, data=b"y" * 10), seg(*S, seq=500, ack=130)],
        "late": [seg(*C, seq=110, ack=500, data=b"y" * 10), *ten, seg(*S, seq=500, ack=120)],
        "two": [
            *(seg(*C, seq=100 + n, ack=500, data=b"z" * 10) for n in (20, 50)),
            seg(*S, seq=500, ack=160),
        ],
        "I": [seg(*C, seq=100, ack=500, flags=FIN | RST | ACK)],
        "q": [seg(*S, seq=500, ack=100, flags=SYN | FIN | ACK)],
    }
    found = {name: run(by_hand, begin + more)[0]["history"].item() for name, more in cases.items()}
    assert found == {
        "T": "ShADT",
        "TTT": "ShADTTT",
        "w": "ShADaw",
        "G": "ShADaG",
        "late": "ShADTa",  # what fills a hole comes again, to Zeek
        "two": "ShADaG",
        "I": "ShAI",
        "q": "ShAq",
    }


def test_ten_gaps_are_two_letters(by_hand):
    seg = by_hand.Segment
    begin = [
        seg(*C, seq=99, flags=SYN),
        seg(*S, seq=499, ack=100, flags=SYN | ACK),
        seg(*C, seq=100, ack=500),
    ]
    steps = [
        one
        for n in range(10)
        for one in (
            seg(*C, seq=110 + 20 * n, ack=500, data=b"y" * 10),
            seg(*S, seq=500, ack=120 + 20 * n),
        )
    ]
    assert run(by_hand, begin + steps[:-2])[0]["history"].item() == "ShADaG"
    assert run(by_hand, begin + steps)[0]["history"].item() == "ShADaGG"


def test_what_comes_seconds_behind_the_end_has_no_part_in_state_and_history(by_hand):
    ended = packets(by_hand, "ShADadFfa")
    for delay_s, letters in ((5, "ShADadFfr"), (6, "ShADadFf")):
        late = by_hand.Segment(*S, seq=102, ack=100, flags=RST, ts=delay_s * 10**9)
        flows, _ = run(by_hand, [*ended, late])
        assert (flows["conn_state"].item(), flows["history"].item()) == ("SF", letters)
        assert flows["packets_rev"].item() == 6


def test_a_history_has_at_most_36_letters(by_hand):
    resets = [by_hand.Segment(*C, seq=n * 3, flags=RST) for n in range(50)]
    assert run(by_hand, resets)[0]["history"].item() == "R" * 36


@pytest.mark.parametrize(
    ("letters", "end", "by"),
    [
        ("ShADad", "open", None),
        ("ShADaf", "half", "rev"),
        ("ShADadFf", "fin", "fwd"),
        ("ShADadfF", "fin", "rev"),
        ("ShADadR", "rst", "fwd"),
        ("ShADadfr", "rst", "rev"),
        ("ShADadFfr", "fin", "fwd"),
    ],
)
def test_who_ended_a_conversation_and_how(by_hand, letters, end, by):
    flows, _ = run(by_hand, packets(by_hand, letters))
    assert (flows["end"].to_list(), flows["ended_by"].to_list()) == ([end], [by])


def test_what_is_silent_for_minutes_is_over(by_hand):
    seg, second = by_hand.Segment, 10**9
    other = ("10.0.0.3", "10.0.0.4", 1, 2)
    query = ("10.0.0.5", "10.0.0.6", 3, 4)
    ends = {}
    for late in (60, 61, 300, 301):
        begin = [seg(*C, flags=SYN), seg(*query, udp=True, data=b"?", ts=second)]
        flows, _ = run(by_hand, [*begin, seg(*other, flags=SYN, ts=late * second)])
        ends[late] = flows["end"].to_list()
    assert ends[60] == ["open", "open", "open"]
    assert ends[61] == ["open", "timeout", "open"]
    assert ends[300] == ["timeout", "timeout", "open"]
    assert ends[301] == ends[300]


def test_a_clock_that_leaps_by_a_century_overflows_nothing(by_hand):
    seg, leap = by_hand.Segment, 1 << 62
    data = {"seq": 101, "ack": 501, "flags": ACK, "data": b"x" * 100}
    flows, _ = run(
        by_hand,
        [
            seg(*C, seq=100, flags=SYN, ts=0),
            seg(*S, seq=500, ack=101, flags=SYN | ACK, ts=10),
            seg(*C, **data, ts=20),
            seg(*S, seq=501, ack=201, flags=ACK, ts=leap),
            seg(*C, **(data | {"seq": 201}), ts=leap + 1),
            seg(*C, **(data | {"seq": 201}), ts=2 * leap - 1),
        ],
    )
    assert flows["retransmissions_fwd"].to_list() == [1]
