"""Whatever the order, overlap and loss of segments: the stream is what was sent, gaps where none arrived."""

from __future__ import annotations

from unittest import mock

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from pcaptool.analyze import waiting
from pcaptool.analyze.streams import Gap, Part, Piece, Run, StreamEnd, StreamReassembler

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
    for each in events:
        match each:
            case Piece():
                assert each.at == len(out)
                assert each.carrier <= each.n
                out += each.data
            case Gap():
                out += [None] * each.size
        assert each.n >= last  # completed in order
        last = each.n
    assert all(byte is None or byte == SENT[i] for i, byte in enumerate(out))
    assert len([b for b in out if b is None]) == stream.gap_bytes
    assert stream.conflicting_bytes == 0  # every segment told the truth
    if not ack_all and not any(cut for _, _, cut, _ in pieces):
        assert {i for i, byte in enumerate(out) if byte is not None} == arrived
    ends = [i for i, e in enumerate(events) if isinstance(e, StreamEnd)]
    assert ends in ([], [len(events) - 1])


def flat(events):
    return [one for each in events for one in (each.events() if isinstance(each, Run) else (each,))]


runs = st.lists(
    st.tuples(
        st.integers(0, 59),  # where it begins
        st.lists(
            st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=6
        ),  # sizes, and what is cut
        st.booleans(),  # a FIN without bytes behind it
        st.sampled_from([0, 0, 0, 1]),  # whether its bytes are others
        st.integers(0, 70),  # what the other side acknowledges then; mostly too little to matter
    ),
    max_size=25,
)


@settings(max_examples=400)
@given(runs, st.sampled_from([0, 2**32 - 30]), st.sampled_from([(4 << 20, 4096), (30, 9)]))
def test_a_run_that_waits_is_its_segments(pieces, base, limits):
    """Held at once or one by one, whatever comes then: the same events, and the same counts."""
    with (
        mock.patch.object(waiting, "HOLD_BYTES", limits[0]),
        mock.patch.object(waiting, "HOLD_SEGMENTS", limits[1]),
    ):
        one, many = StreamReassembler(), StreamReassembler()
        n = held = 0
        for stream in (one, many):
            stream.begin(base)
        for at, sizes, fin, wrong, ack in pieces:
            parts, begin = [], at
            for size, cut in sizes:
                n += 1
                data = bytes(byte ^ wrong for byte in (SENT * 3)[at : at + size])
                seen = data[: max(size - cut, 0)]
                parts.append(Part(seen, size - len(seen), n, 10 * n, ack))
                at += size  # noqa: PLW2901
            seq = (base + begin) % 2**32
            whole = many.hold_run(seq, parts)
            held += whole
            ours, theirs = [], []
            for part in parts:
                given_ = part.data, part.carrier, part.ts
                theirs += one.push(seq, *given_, missing=part.missing, ack=ack)
                ours += [] if whole else many.push(seq, *given_, missing=part.missing, ack=ack)
                seq = (seq + len(part.data) + part.missing) % 2**32
            for stream, events in ((one, theirs), (many, ours)):
                events.extend(stream.push(seq, b"", n, 10 * n, fin=True) if fin else ())
                events.extend(stream.acknowledged((base + ack) % 2**32) if ack % 3 == 0 else ())
            assert flat(ours) == flat(theirs)
        assert flat(many.flush()) == flat(one.flush())
    for name in ("position", "repeated_bytes", "gap_bytes", "conflicting_bytes", "ended", "has_hole"):
        assert getattr(many, name) == getattr(one, name), name
    event(f"{min(held, 3)} runs held")
