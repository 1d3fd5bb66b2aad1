"""Whatever the order, overlap and loss of segments: the stream is what was sent, gaps where none arrived."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pcaptool.analyze.streams import Gap, Piece, StreamEnd, StreamReassembler

SENT = bytes(range(1, 61))
segments = st.lists(
    st.tuples(st.integers(0, 59), st.integers(0, 20), st.integers(0, 5), st.booleans()), max_size=40
)


@given(segments, st.sampled_from([0, 100, 2**32 - 30]), st.booleans())
@example(pieces=[(10, 5, 0, True), (0, 20, 0, False)], base=0, ack_all=False)
def test_stream_is_what_arrived(pieces, base, ack_all):
    stream = StreamReassembler()
    stream.begin(base)
    events, arrived = [], set()
    for n, (at, size, cut, fin) in enumerate(pieces, 1):
        data = SENT[at : at + size]
        seen = data[: max(len(data) - cut, 0)]
        was_open = not stream.ended
        fin = fin and at + len(data) == len(SENT)  # noqa: PLW2901 - an honest sender ends where the data ends
        events += stream.push((base + at) % 2**32, seen, n, n, missing=len(data) - len(seen), fin=fin)
        if was_open:
            arrived.update(range(at, at + len(seen)))
        if ack_all and n % 5 == 0:
            events += stream.acknowledged((base + 30) % 2**32)
    events += stream.flush()

    out, last = [], 0
    for event in events:
        match event:
            case Piece():
                assert event.at == len(out)
                assert event.carrier <= event.n
                out += event.data
            case Gap():
                out += [None] * event.size
        assert event.n >= last  # completed in order
        last = event.n
    assert all(byte is None or byte == SENT[i] for i, byte in enumerate(out))
    assert len([b for b in out if b is None]) == stream.gap_bytes
    assert stream.conflicting_bytes == 0  # every segment told the truth
    if not ack_all and not any(cut for _, _, cut, _ in pieces):
        assert {i for i, byte in enumerate(out) if byte is not None} == arrived
    ends = [i for i, e in enumerate(events) if isinstance(e, StreamEnd)]
    assert ends in ([], [len(events) - 1])
