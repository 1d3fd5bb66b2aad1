"""What a driven run takes from a capture: the processor's times, the program's calls, the client's order."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest

from pcaptool.predict.calls import known_program
from pcaptool.predict.infer import infer_program
from pcaptool.predict.observe import Connection, Frame, observe
from pcaptool.predict.order import PATIENCE_NS, InOrder
from pcaptool.predict.recording import LATE_NS, LATE_TIMER_NS, UNSURE_NS, Recording
from pcaptool.predict.schedule import Schedule
from pcaptool.scenario import Costs
from pcaptool.sim.events import Simulator
from pcaptool.stack.skbuff import Datagram, SkBuff, TcpHeader
from pcaptool.wire.tcp import TcpFlag, TcpOptions

CLIENT, SERVER = (bytes([10, 0, 0, 2]), 40000), (bytes([10, 0, 0, 1]), 8080)
ISN = 0xFFFFF000  # the server's numbers wrap


def frame(time_us, source, seq, length, ack, flags=TcpFlag.ACK, window=1000, scale=None):
    """One captured frame; sequence numbers are relative to the first bytes."""
    mine, theirs = (SERVER, CLIENT) if source == "server" else (CLIENT, SERVER)
    base, other = (ISN + 1, 1) if source == "server" else (1, ISN + 1)
    options = TcpOptions(mss=1460 if flags & TcpFlag.SYN else None, window_scale=scale)
    skb = SkBuff(0, 0, length=length, payload=memoryview(bytes(length)))
    skb.ip = Datagram(source=mine[0], destination=theirs[0], protocol=6, ttl=64)
    skb.tcp = TcpHeader(
        srcport=mine[1],
        dstport=theirs[1],
        seq=(base + seq) & 0xFFFFFFFF,
        ack=(other + ack) & 0xFFFFFFFF,
        flags=int(flags),
        window=window,
        options=options,
        option_bytes=b"",
    )
    return Frame(0, time_us * 1000, skb, captured_bytes=length)


def connection(server, client, scale=None):
    """A handshake on one machine, and frames."""
    syn = frame(0, "client", -1, 0, -1, TcpFlag.SYN, scale=scale)
    synack = frame(10, "server", -1, 0, 0, TcpFlag.SYN | TcpFlag.ACK, scale=scale)
    third = frame(20, "client", 0, 0, 0)
    return Connection(CLIENT, SERVER, [syn, third, *client], [synack, *server])


def wire(offset):
    return (ISN + 1 + offset) & 0xFFFFFFFF


def test_a_byte_leaves_not_before_it_left():
    recording = Recording(
        connection([frame(100, "server", 0, 1460, 0), frame(150, "server", 1460, 500, 0)], []),
        1000,
        Schedule(),
    )
    assert recording.left_ns(wire(0), 90_000) == 99_000
    assert recording.left_ns(wire(1459), 90_000) == 99_000
    assert recording.left_ns(wire(1460), 90_000) == 149_000
    assert recording.left_ns(wire(1460), 200_000) == 200_000  # the model is later
    assert recording.left_ns(wire(1960), 90_000) == 90_000  # it never left
    assert recording.left_ns(wire(0), 99_000 - LATE_NS - 1) == 99_000 - LATE_NS - 1  # it waited for something
    assert recording.fired_ns(wire(0), 99_000 - LATE_NS - 1) == 99_000  # a timer may be later
    assert recording.fired_ns(wire(0), 99_000 - LATE_TIMER_NS - 1) == 99_000 - LATE_TIMER_NS - 1


def test_the_next_frame_tells_until_when_a_call_owned_the_socket():
    seen = connection([frame(100, "server", 0, 1000, 0), frame(300, "server", 1000, 1000, 0)], [])
    recording = Recording(seen, 1000, Schedule())
    assert recording.next_ns(50_000) == 99_000
    assert recording.next_ns(100_000) == 299_000
    assert recording.next_ns(300_000) is None
    assert Recording(seen, 1000, Schedule(), queued=True).next_ns(50_000) is None


def test_a_call_waits_for_the_softirq_unless_another_processor_received():
    waited = connection(
        [frame(100, "server", 0, 1000, 0), frame(120, "server", 1000, 1000, 0)],
        [frame(110, "client", 0, 0, 1000)],
    )
    assert Recording(waited, 1000, Schedule()).answered_ns(wire(0), wire(1000), 101_000) == 110_000
    other = Schedule(frozenset({("answered", CLIENT[1], wire(1000))}))
    assert Recording(waited, 1000, other).answered_ns(wire(0), wire(1000), 101_000) == 101_000
    beside = connection(
        [frame(100, "server", 0, 1000, 0), frame(105, "server", 1000, 1000, 0)],
        [frame(110, "client", 0, 0, 1000)],
    )
    assert Recording(beside, 1000, Schedule()).answered_ns(wire(0), wire(1000), 101_000) == 101_000
    assert Recording(beside, 1000, other).answered_ns(wire(0), wire(1000), 101_000) == 110_000
    # an ACK that came less than the way down before the next frame cannot have caused it
    late = connection(
        [frame(100, "server", 0, 1000, 0), frame(110, "server", 1000, 1000, 0)],
        [frame(109.5, "client", 0, 0, 1000)],
    )
    assert Recording(late, 1000, Schedule()).answered_ns(wire(0), wire(1000), 101_000) == 101_000


def test_an_ack_of_a_segment_shows_that_the_softirq_ran():
    cut = connection(
        [
            frame(100, "server", 0, 500, 0),
            frame(101, "server", 500, 500, 0),
            frame(130, "server", 1000, 9, 0),
        ],
        [frame(110, "client", 0, 0, 500), frame(500, "client", 0, 0, 1000)],
    )
    recording = Recording(cut, 1000, Schedule())
    assert recording.answered_ns(wire(0), wire(1000), 101_000) == 110_000
    assert recording.answered_ns(wire(500), wire(1000), 101_000) == 101_000  # that ACK is of what was before


def test_microseconds_leave_open_whether_a_buffer_waits_for_an_ack():
    seen = connection([frame(100, "server", 0, 1000, 0)], [])
    question = ("deferred", CLIENT[1], wire(0))
    usual, other = (Recording(seen, 1000, Schedule(frozenset(o))) for o in ((), (question,)))
    for early_ns in (-UNSURE_NS, -1, 1, UNSURE_NS):
        assert usual.defers(wire(0), early_ns, 0) == (early_ns <= 0)
        assert other.defers(wire(0), early_ns, 0) == ((early_ns <= 0) == (abs(early_ns) >= UNSURE_NS))
    assert Recording(seen, 1000, Schedule(frozenset((question,))), queued=True).defers(wire(0), -1, 0)


def test_a_short_end_is_no_call_where_buffers_were_filled_so_far():
    """The window's edge cut a buffer at 2000; what was written behind it ends whole segments behind that."""
    push = TcpFlag.ACK | TcpFlag.PSH

    def borders(second_end):
        pieces = [(0, 1460), (1460, 2000), (2000, 3460), (3460, 4920), (4920, second_end), (second_end, 9000)]
        server = [frame(100 + n, "server", a, b - a, 0, push) for n, (a, b) in enumerate(pieces)]
        # an ACK whose window ended at 2000
        seen = connection(server, [frame(90, "client", 0, 0, 0, window=2000)])
        return [len(write.data) for write in infer_program(seen, Costs()).writes]

    assert borders(5500) == [5500, 3500]  # 5500 is no whole number of segments from anywhere
    assert borders(5840) == [9000]  # 4 segments behind the call's beginning
    assert borders(2000 + 2 * 1460 + 1460 - 1) == [6379, 2621]


def test_a_super_packet_that_ends_within_a_segment_is_the_end_of_a_call():
    push = TcpFlag.ACK | TcpFlag.PSH
    server = [frame(100, "server", 0, 1540, 0, push), frame(110, "server", 1540, 2920, 0, push)]
    writes = infer_program(connection(server, []), Costs()).writes
    assert [len(write.data) for write in writes] == [1540, 2920]
    whole = [frame(100, "server", 0, 2920, 0, push), frame(110, "server", 2920, 1540, 0, push)]
    assert [len(write.data) for write in infer_program(connection(whole, []), Costs()).writes] == [4460]


def test_a_writer_goes_on_when_its_next_byte_left_unless_an_ack_let_that_go():
    seen = connection(
        [
            frame(100, "server", 0, 1000, 0),
            frame(300, "server", 1000, 1000, 0),
            frame(405, "server", 2000, 1000, 0),
        ],
        [frame(110, "client", 0, 0, 1000), frame(400, "client", 0, 0, 2000)],
    )
    recording = Recording(seen, 1000, Schedule())
    assert recording.resumed_ns(wire(1000), 120_000) == 299_000
    assert recording.resumed_ns(wire(2000), 320_000) == 320_000
    other = Schedule(frozenset(("resumed", CLIENT[1], wire(n)) for n in (1000, 2000)))
    recording = Recording(seen, 1000, other)
    assert recording.resumed_ns(wire(1000), 120_000) == 120_000
    assert recording.resumed_ns(wire(2000), 320_000) == 404_000


def calls_of(answer, ends=()):
    return [(write.call, len(write.data)) for write in known_program(answer, [*ends, len(answer)], 0)]


HEAD = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 70000\r\n\r\n"


def test_nginx_shows_by_its_frames_how_it_is_set():
    answer = HEAD + bytes(70000)
    assert calls_of(answer, [7240]) == [
        ("cork", 0),
        ("send_some", len(HEAD)),
        ("sendfile", 70000),
        ("uncork", 0),
    ]
    assert calls_of(answer, [len(HEAD)]) == [("send_some", len(HEAD)), ("sendfile", 70000), ("nodelay", 0)]
    assert calls_of(answer, [7240, len(HEAD) + 32768]) == [
        ("send_some", len(HEAD) + 32768),
        ("send_some", 32768),
        ("send_some", 70000 - 65536),
        ("nodelay", 0),
    ]
    closes = answer.replace(b"nginx/1.22.1", b"nginx\r\nConnection: close")
    assert [call for call, _ in calls_of(closes)] == ["cork", "send_some", "sendfile"]


@pytest.mark.parametrize(
    "answer",
    [
        HEAD.replace(b"nginx", b"other") + bytes(70000),
        HEAD + bytes(69999),  # not one whole response
        b"x" + HEAD + bytes(70000),
        b"HTTP/1.1 200 OK\r\nX: a\r\n\r\nServer: nginx",
        b"",
    ],
)
def test_what_does_not_say_that_it_is_nginx_is_not_known(answer):
    assert calls_of(answer) == []


def test_a_head_that_the_capture_cut_short_has_the_rest_of_the_length():
    cut = HEAD[:-4] + b"\r\n" + bytes(180) + bytes(70000)
    assert calls_of(cut)[1] == ("send_some", len(cut) - 70000)


def infer(server, client=()):
    return infer_program(connection(server, list(client)), Costs())


def test_full_segments_that_left_one_by_one_are_calls_of_their_own():
    """Without an ACK in between, and without PSH: each had to wait for the program."""
    request = [frame(90, "client", 0, 10, 0)]
    fin = frame(2000, "server", 4 * 1460, 0, 10, TcpFlag.ACK | TcpFlag.FIN)
    sent = [frame(500 + 30 * n, "server", 1460 * n, 1460, 10) for n in range(4)]
    assert [len(write.data) for write in infer([*sent, fin], request).writes] == [1461, 1460, 1460, 1459]
    # super-packets that the stack cut: the last segment of each has PSH
    sent[1].tcp.flags |= TcpFlag.PSH
    sent[3].tcp.flags |= TcpFlag.PSH
    assert [len(write.data) for write in infer([*sent, fin], request).writes] == [4 * 1460]


def test_a_program_that_was_cut_off_had_more_to_write():
    request = [frame(90, "client", 0, 10, 0)]
    sent = frame(100, "server", 0, 100, 10, TcpFlag.ACK | TcpFlag.PSH)
    again = frame(300, "server", 0, 100, 10)
    assert len(infer([sent, again], request).writes[0].data) > 100
    assert len(infer([sent], request).writes[0].data) == 100
    fin = frame(400, "server", 100, 0, 10, TcpFlag.ACK | TcpFlag.FIN)
    assert len(infer([sent, again, fin], request).writes[0].data) == 100


def in_order():
    simulator, delivered = Simulator(), []
    order = InOrder(
        SimpleNamespace(simulator=simulator),
        lambda one, time_ns: delivered.append(
            (time_ns, (one.tcp.ack - wire(0)) & 0xFFFFFFFF, one.tcp.window)
        ),
        {(*SERVER, *CLIENT): 2},
    )

    def send(time_us, seq, length):
        skb = frame(0, "server", seq, length, 0).skb
        simulator.at(time_us * 1000, partial(order.sent, time_us * 1000, skb, leaving=True))

    def come(time_us, ack, window=1000):
        simulator.at(time_us * 1000, order.arrive, frame(time_us, "client", 0, 0, ack, window=window))

    return simulator, delivered, send, come


def test_an_ack_waits_for_what_it_acknowledges():
    simulator, delivered, send, come = in_order()
    send(0, 0, 1000)
    come(10, 2000)
    come(11, 2000)
    send(50, 1000, 1000)
    simulator.run(60_000)
    assert delivered == [(54_000, 2000, 1000)] * 2


def test_a_model_that_waits_for_the_ack_itself_is_told_what_is_true():
    """The window's end stays where the client put it."""
    simulator, delivered, send, come = in_order()
    send(0, 0, 1000)
    come(10, 2000)
    simulator.run(10_000 + PATIENCE_NS)
    assert delivered == [(10_000 + PATIENCE_NS, 1000, 1000 + (1000 >> 2))]
    simulator.run(1_000_000)
    assert len(delivered) == 1  # once
    come(1100, 3000)
    simulator.run(1_300_000)
    assert len(delivered) == 2  # the older one stands for itself no more
    send(1400, 1000, 2000)
    simulator.run(2_000_000)
    assert delivered[-1][1] == 3000


def test_icmp_errors_reach_the_modelled_host(fixtures):
    for name in ("pmtu-v4", "pmtu-v6"):
        seen = observe(fixtures / "captures" / "lab" / f"{name}.server.pcap")
        kinds = {one.skb.ip.protocol for one in seen.to_server if one.skb.ip is not None}
        assert kinds == {6, 1 if name.endswith("4") else 58}
