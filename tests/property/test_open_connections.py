"""A connection that rests and wakes says what one says that never did; whatever it was in the midst of."""

from __future__ import annotations

import marshal

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from pcaptool.analyze.dns_stream import DnsConnection
from pcaptool.analyze.http_pairing import HttpConnection, open_packets
from pcaptool.analyze.open_connections import ENTRY_BYTES, OpenConnections
from pcaptool.analyze.tls_records import TlsConnection
from tests.bench.open_conversations import KINDS

HELLO = KINDS["half a ClientHello"][0][-1][2]
WORDS = st.sampled_from(
    [
        *(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"HEAD / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n"),
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 \r\n\r\n", b"\r\n"),
        *(b"HTTP/1.1 101 \r\n\r\n", b"0\r\n\r\n", b"Content-Length: 5\r\n\r\n", b"5\r\nhello\r\n"),
        *(b"Transfer-Encoding: chunked\r\n\r\n", b"hello", b"A: b\r\n\r\n", HELLO, HELLO[:9]),
        *(b"\x15\x03\x03\0\2\2\x28", b"\x14\x03\x03\0\1\1", b"\x17\x03\x03\0\5hello", b"\0\x0c" + bytes(12)),
    ]
)
MOVES = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.lists(WORDS | st.binary(max_size=10), max_size=4).map(b"".join),
        st.sampled_from([0, 0, 0, 0, 3, 40, -2, -20]),  # a hole, or bytes that came before
        st.integers(0, 200),
        st.sampled_from([0, 0, 0, 0, 7]),
        st.booleans(),
        st.booleans(),  # whether it rests then
    ),
    max_size=20,
)


def said(make, moves, rests):
    """All that a connection says, and what it holds at last."""
    connection, out, at = make(), [], [0, 0]
    for stream in connection.streams:
        stream.begin(0)
    for n, (side, data, jump, ack, missing, fin, rest) in enumerate(moves, 1):
        seq = (at[side] + jump) % 2**32
        at[side] = max(at[side], seq + len(data) + missing)
        ended = connection.segment(
            side, seq, data, n, 10**18 + n, missing=missing, fin=fin and n % 4 == 0, ack=ack
        )
        out.append((ended, connection.over, connection.confirmed, connection.body_room(1 - side)))
        if ended:
            out.append(repr(connection.take_finished()))
        if rest and rests:
            state = marshal.loads(marshal.dumps(connection.rest()))
            connection.let_go()
            connection = make()
            connection.wake(state)
            if isinstance(connection, HttpConnection):
                assert open_packets(state) == open_packets(connection)
    out.append(repr(connection.rest()))
    connection.end("the capture ends first")
    return [*out, repr(connection.take_all()), [stream.conflicting_bytes for stream in connection.streams]]


@pytest.mark.parametrize("make", [HttpConnection, TlsConnection, DnsConnection])
def test_resting_makes_no_difference(make):
    @settings(max_examples=250, deadline=None)
    @given(MOVES)
    @example(
        [
            (0, HELLO, 0, 0, 0, False, True),
            (1, HELLO[:9], 5, 0, 0, False, True),
            (0, b"x", 40, 9, 0, True, True),
        ]
    )
    def same(moves):
        plain, rested = said(make, moves, rests=False), said(make, moves, rests=True)
        assert plain == rested
        event("said something" if len(plain[-2]) > 2 else "said nothing")

    same()


class Holder:
    """A reader that holds some bytes."""

    def __init__(self, flow):
        self.flow, self.held = flow, b""

    def rest(self):
        return self.flow, self.held

    def wake(self, state):
        flow, self.held = state
        assert flow == self.flow

    def let_go(self):
        self.held = None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 400)), max_size=60),
    st.integers(1, 4),
    st.sampled_from([1000, 3000, 1 << 20]),
)
def test_no_more_is_held_than_may_be_and_the_longest_idle_leave_first(heard, awake, most):
    connections = OpenConnections(Holder, most_awake=awake, most_bytes=most)
    held, order = {}, []
    for flow, size in heard:
        reader = connections.get(flow) or connections.begin(flow)
        assert reader.held == held.get(flow, b"")
        reader.held += bytes(size)
        held[flow] = reader.held
        order = [*(other for other in order if other != flow), flow]
        if connections.heard(size):
            for gone, left in connections.leaving():
                assert (gone, left.held) == (order.pop(0), held.pop(gone))
        assert connections.flows == sorted(held)
        assert all((each in connections) == (each in held) for each in range(10))
        assert sum(map(len, held.values())) <= most
    if sum(len(data) + ENTRY_BYTES + 40 for data in held.values()) + 400 < most * 3 // 4:
        event("there was room")
    for flow in connections.flows:
        assert connections.remove(flow).held == held.pop(flow)
    assert not held
