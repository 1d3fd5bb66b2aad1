"""The trace's pages and what is made of their events, without a kernel."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from pcaptool.file import Record
from pcaptool.lab.ring_buffer import Event, Format, parse_format, read_page
from pcaptool.lab.stages import join_frames, stage_columns, transmissions
from pcaptool.tables import STAGES
from pcaptool.tables.columns import to_arrow

FORMAT = """name: net_dev_queue
ID: 2304
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:void * skbaddr;	offset:8;	size:8;	signed:0;
	field:unsigned int len;	offset:16;	size:4;	signed:0;
	field:__data_loc char[] name;	offset:20;	size:4;	signed:0;

print fmt: "dev=%s skbaddr=%p len=%u", __get_str(name), REC->skbaddr, REC->len
"""
LAYOUT = parse_format(FORMAT)
FORMATS: dict[int, Format] = {LAYOUT.identity: LAYOUT}


def record(pid, skb, size, name, identity=2304):
    text = name.encode() + b"\0"
    data = struct.pack("<HBBiQII", identity, 0, 0, pid, skb, size, 24 | len(text) << 16) + text
    return data + bytes(-len(data) % 4)


def page(start_ns, entries):
    """A page as the kernel writes it: (time since the one before, record), extended where it is long."""
    out = b""
    for delta, data in entries:
        short = delta if delta < 1 << 27 else 0
        if delta != short:
            out += struct.pack("<II", 30 | (delta & (1 << 27) - 1) << 5, delta >> 27)
        if len(data) <= 28 * 4:
            out += struct.pack("<I", len(data) // 4 | short << 5) + data
        else:
            out += struct.pack("<II", short << 5, len(data) + 4) + data
    return (struct.pack("<QQ", start_ns, len(out)) + out).ljust(4096, b"\0")


entries = st.lists(
    st.tuples(
        st.integers(0, 1 << 40),
        st.integers(0, 2**31 - 1),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
        st.text("abcdefgh0", min_size=1, max_size=140),
    ),
    max_size=15,
)


@given(st.integers(0, 1 << 60), entries)
def test_what_a_page_holds_is_read(start_ns, given_entries):
    data = page(
        start_ns, [(delta, record(pid, skb, size, name)) for delta, pid, skb, size, name in given_entries]
    )
    now, wanted = start_ns, []
    for delta, pid, skb, size, name in given_entries:
        now += delta
        wanted.append((now, "net_dev_queue", pid, skb, size, name))
    got = [
        (e.time_ns, e.name, *(e.values[k] for k in ("common_pid", "skbaddr", "len", "name")))
        for e in read_page(data, FORMATS)
    ]
    assert got == wanted


def test_an_absolute_time_and_events_of_others_are_passed_over():
    stamp = 5 << 59 | 123 << 27 | 45
    body = struct.pack("<II", 31 | 45 << 5, 123)
    data = record(1, 2, 3, "eth0", identity=9) + b""
    body += struct.pack("<I", len(data) // 4 | 1 << 5) + data
    data = record(1, 2, 3, "eth0")
    body += struct.pack("<I", len(data) // 4 | 1 << 5) + data
    body += struct.pack("<I", 29)  # padding to the end
    whole = (struct.pack("<QQ", 5 << 59, len(body)) + body).ljust(4096, b"\0")
    assert [e.time_ns for e in read_page(whole, FORMATS)] == [stamp + 2]


def event(time_ns, what, **values):
    return Event(time_ns, what, {"common_flags": 0, "common_pid": 7, **values})


def frame(size, seq, payload):
    """An IPv4 TCP frame as a record."""
    ip = struct.pack("!BBHHHBBH8s", 0x45, 0, 40 + payload, 0, 0, 64, 6, 0, bytes(8))
    tcp = struct.pack("!HHIIBBHHH", 80, 4000, seq, 0, 0x50, 0x10, 0, 0, 0)
    return Record(0, (bytes(12) + b"\x08\x00" + ip + tcp + bytes(payload))[:size], size)


def sent(start, skb, size, *, flags=0, device="srv1", segs=0):
    return [
        event(start, "net_dev_queue", skbaddr=skb, len=size, name=device, common_flags=flags),
        event(start + 1, "net_dev_start_xmit", skbaddr=skb, len=size, name=device, gso_segs=segs),
        event(start + 2, "net_dev_xmit", skbaddr=skb, len=size, name=device),
    ]


def test_a_frame_has_the_call_it_left_in_unless_a_softirq_sent_it():
    events = [
        *sent(5, 3, 42),
        event(10, "sys_enter_sendto"),
        event(11, "tcp_sendmsg_locked"),
        *sent(20, 1, 154, segs=2),
        *sent(30, 2, 54, flags=0x10),
        *sent(35, 9, 60, device="cli1"),
        event(40, "sys_exit_sendto"),
        *sent(50, 1, 64),
    ]
    frames = [(4, frame(154, 100, 100)), (5, frame(54, 200, 0)), (9, frame(64, 200, 10))]
    joined = join_frames("server", transmissions(events, "srv1"), frames)
    assert joined.unmatched == 1  # what left before the capture began
    by_packet = {n: [r.stage for r in joined.rows if r.n == n] for n in (None, 4, 5, 9)}
    down = ["net_dev_queue", "net_dev_start_xmit", "net_dev_xmit"]
    assert by_packet == {None: down, 4: ["sys_enter_sendto", "tcp_sendmsg_locked", *down], 5: down, 9: down}
    first = next(r for r in joined.rows if r.n == 4)
    assert (first.time_ns, first.seq, first.payload_bytes, first.len_bytes, first.gso_segs) == (
        10,
        100,
        100,
        100,
        2,
    )
    assert (
        len({r.origin for r in joined.rows if r.skb == 1}) == 2
    )  # an address is used again, a number is not
    assert to_arrow(STAGES, stage_columns(joined.rows)).num_rows == len(joined.rows)


def test_segments_that_are_cut_in_software_share_their_origin():
    events = [event(1, "net_dev_queue", skbaddr=1, len=254, name="srv1")]
    for at, skb in enumerate((2, 3)):
        events += sent(10 + 10 * at, skb, 154)[1:]
    out = transmissions(events, "srv1")
    assert [(t.origin, [stage for stage, _ in t.times]) for t in out] == [
        (1, ["net_dev_queue", "net_dev_start_xmit", "net_dev_xmit"]),
        (1, ["net_dev_start_xmit", "net_dev_xmit"]),
    ]


def test_a_frame_of_another_length_is_not_joined():
    joined = join_frames("server", transmissions(sent(1, 1, 154), "srv1"), [(1, frame(155, 1, 101))])
    assert joined.unmatched == 1
    assert {r.n for r in joined.rows} == {None}


def test_a_queueing_discipline_stands_between():
    events = sent(1, 1, 60)
    queue = [event(1, f"qdisc_{word}", skbaddr=1) for word in ("enqueue", "dequeue")]
    (one,) = transmissions([events[0], *queue, *events[1:]], "srv1")
    assert [stage for stage, _ in one.times][1:3] == ["qdisc_enqueue", "qdisc_dequeue"]


def test_frames_that_left_before_the_trace_began_are_passed_over():
    frames = [(n, frame(size, 1, size - 54)) for n, size in ((1, 90), (2, 70), (3, 80))]
    joined = join_frames("server", transmissions([*sent(1, 1, 70), *sent(9, 1, 80)], "srv1"), frames)
    assert (joined.unmatched, {r.n for r in joined.rows}) == (0, {2, 3})
