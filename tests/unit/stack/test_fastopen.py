"""Fast Open and crossed SYNs: one host, packets injected; and both hosts, over losses at every place."""

from __future__ import annotations

from dataclasses import replace

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.errors import ScenarioError
from pcaptool.scenario import Scenario, parse_scenario
from pcaptool.stack.lone import PEER_PORT, SERVER_PORT, LoneHost
from pcaptool.stack.run import run_scenario
from pcaptool.stack.syscalls import Socket, SocketError
from pcaptool.stack.tcp.sock import State
from pcaptool.wire.tcp import TcpFlag, TcpOptions, parse_options

ACK, SYN, RST, PSH = TcpFlag.ACK, TcpFlag.SYN, TcpFlag.RST, TcpFlag.PSH
OFFER = TcpOptions(mss=1460, sack_permitted=True, window_scale=7)
REQUEST = b"GET / HTTP/1.1\r\n\r\n"
S = 1_000_000_000


def listening(*, tcp_fastopen=3, fastopen=5, answer=b""):
    """A lone host whose program listens, with TCP_FASTOPEN; it answers what it reads."""
    lone = LoneHost(replace(Scenario().host.server, tcp_fastopen=tcp_fastopen))
    lone.listening = Socket(lone.host)
    lone.listening.listen(SERVER_PORT, fastopen=fastopen)
    lone.read = []

    def program():
        while True:
            connection = yield from lone.listening.accept()
            data = yield from connection.recv(65536)
            lone.read.append(bytes(data))
            if answer:
                yield from connection.send(answer)

    lone.spawn(program())
    return lone


def syn(lone, cookie, payload=b"", *, port=PEER_PORT, **more):
    options = replace(OFFER, fast_open=cookie, **more)
    lone.inject(lone.segment(SYN, options=options, payload=payload, window=65535, ack=0, port=port))
    return lone.take()


def cookie_of(lone):
    [synack] = syn(lone, b"", port=PEER_PORT - 1)
    return parse_options(synack.tcp.option_bytes).fast_open


def test_who_asks_for_a_cookie_gets_one_and_no_data_is_taken_without():
    lone = listening()
    [synack] = syn(lone, b"", REQUEST)
    granted = parse_options(synack.tcp.option_bytes)
    assert (len(granted.fast_open), granted.fast_open_experimental) == (8, False)
    assert (lone.peer_seq - synack.tcp.ack) % 2**32 == len(REQUEST)
    assert lone.read == []
    [again] = syn(lone, b"", port=PEER_PORT + 1, fast_open_experimental=True)
    assert (
        parse_options(again.tcp.option_bytes).fast_open == granted.fast_open
    )  # of the address, not the port
    assert parse_options(again.tcp.option_bytes).fast_open_experimental


def test_with_the_cookie_the_program_reads_and_answers_before_the_third_ack():
    lone = listening(answer=b"x" * 4000)
    cookie = cookie_of(lone)
    sent = syn(lone, cookie, REQUEST)
    assert lone.read == [REQUEST]
    assert sent[0].tcp.flags == SYN | ACK
    assert sent[0].tcp.ack == lone.peer_seq
    assert parse_options(sent[0].tcp.option_bytes).fast_open is None
    assert sum(s.skb.length for s in sent) == 4000
    sk = lone.host.tcp.established[(lone.address, SERVER_PORT, lone.peer, PEER_PORT)]
    assert sk.state is State.SYN_RECV
    lone.inject(lone.segment(ACK))
    assert sk.state is State.ESTABLISHED
    assert lone.listening._listener.fastopen_pending == 0


def test_until_the_third_ack_only_the_syn_ack_is_repeated():
    lone = listening(answer=b"x" * 4000)
    cookie = cookie_of(lone)
    syn(lone, cookie, REQUEST)
    lone.run(4 * S)
    repeated = lone.take()
    mine = [s for s in repeated if s.tcp.dstport == PEER_PORT]
    assert [s.tcp.flags for s in mine] == [SYN | ACK, SYN | ACK]
    lone.run(300 * S)
    assert (lone.address, SERVER_PORT, lone.peer, PEER_PORT) not in lone.host.tcp.established
    assert lone.listening._listener.fastopen_pending == 0


@pytest.mark.parametrize(
    ("options", "taken"),
    [
        ({"tcp_fastopen": 1}, False),
        ({"fastopen": 0}, False),
        ({"tcp_fastopen": 3 | 0x400, "fastopen": 0}, True),
        ({"tcp_fastopen": 2}, True),
    ],
)
def test_sysctl_and_socket_option_both_decide(options, taken):
    lone = listening(**options)
    [synack] = syn(lone, b"")
    cookie = parse_options(synack.tcp.option_bytes).fast_open
    assert (cookie is not None) == taken
    syn(lone, cookie or bytes(8), REQUEST, port=PEER_PORT + 1)
    assert lone.read == ([REQUEST] if taken else [])


def test_a_wrong_cookie_is_answered_by_the_right_one():
    lone = listening()
    right = cookie_of(lone)
    [synack] = syn(lone, bytes(8), REQUEST)
    assert parse_options(synack.tcp.option_bytes).fast_open == right
    assert lone.read == []


def test_no_more_than_so_many_may_be_pending():
    lone = listening(fastopen=2)
    cookie = cookie_of(lone)
    for port in range(PEER_PORT, PEER_PORT + 3):
        syn(lone, cookie, REQUEST, port=port)
    assert lone.read == [REQUEST, REQUEST]


def test_a_reset_before_the_third_ack_ends_it():
    lone = listening()
    syn(lone, cookie_of(lone), REQUEST)
    lone.inject(lone.segment(RST, ack=0))
    assert (lone.address, SERVER_PORT, lone.peer, PEER_PORT) not in lone.host.tcp.established


def test_a_client_whose_kernel_forbids_it_is_told():
    lone = LoneHost(replace(Scenario().host.server, tcp_fastopen=2))
    told = []

    def program():
        try:
            yield from Socket(lone.host).connect_with(lone.peer, 80, b"x")
        except SocketError as error:
            told.append(str(error))

    lone.spawn(program())
    lone.run(S)
    assert told == ["EOPNOTSUPP"]
    assert lone.take() == []


# --- crossed SYNs


def test_a_syn_that_crosses_ours_is_answered_by_our_syn_as_syn_ack():
    lone = LoneHost()
    socket = Socket(lone.host)
    done = []

    def program():
        yield from socket.connect(lone.peer, PEER_PORT, local_port=SERVER_PORT)
        done.append(socket.sk.state)

    lone.spawn(program())
    lone.run(1000)
    [first] = lone.take()
    lone.inject(lone.segment(SYN, options=OFFER, window=65535, ack=0))
    [synack] = lone.take()
    assert (first.tcp.flags, synack.tcp.flags) == (SYN, SYN | ACK)
    assert (synack.tcp.seq, synack.tcp.ack) == (first.tcp.seq, lone.peer_seq)
    assert socket.sk.state is State.SYN_RECV
    lone.run(4 * S)
    assert [s.tcp.flags for s in lone.take()] == [SYN | ACK, SYN | ACK]  # after 1 s, then 2 s
    lone.inject(lone.segment(SYN | ACK, seq=lone.peer_seq - 1, options=OFFER, window=65535))
    [answer] = lone.take()
    assert done == [State.ESTABLISHED]
    assert parse_options(answer.tcp.option_bytes).sack_blocks == ((lone.peer_seq - 1, lone.peer_seq),)


def test_a_plain_ack_completes_crossed_syns_too():
    lone = LoneHost()
    socket = Socket(lone.host)
    lone.spawn(socket.connect(lone.peer, PEER_PORT, local_port=SERVER_PORT))
    lone.run(1000)
    lone.inject(lone.segment(SYN, options=OFFER, window=65535, ack=0))
    lone.take()
    ours = lone.peer_ack
    lone.inject(lone.segment(ACK, ack=(ours + 5) & 0xFFFFFFFF))
    assert [s.tcp.flags for s in lone.take()] == [RST]  # what was never sent cannot be acknowledged
    assert socket.sk.state is State.SYN_RECV
    lone.inject(lone.segment(ACK, ack=ours))
    assert socket.sk.state is State.ESTABLISHED


# --- both hosts

TEXT = """
[server]
fastopen = 5
[client]
requests = ["/bytes/{size}"]
connections = 2
stagger_ms = 400
fastopen = true
[host.server]
tcp_fastopen = {sysctl}
[link]
delay_ms = {delay}
"""


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(0, 40_000),
    delay=st.integers(0, 30),
    sysctl=st.sampled_from((1, 2, 3, 515)),
    lost=st.lists(
        st.tuples(st.sampled_from(("syn", "synack", "data", "ack")), st.integers(1, 4)),
        max_size=3,
        unique=True,
    ),
)
def test_whatever_is_lost_every_byte_arrives_once(size, delay, sysctl, lost):
    text = TEXT.format(size=size, delay=delay, sysctl=sysctl)
    for match, nth in lost:
        way = "client-to-server" if match in ("syn", "ack") else "server-to-client"
        text += f'[[link.drop]]\ndirection = "{way}"\nmatch = "{match}"\nnth = [{nth}]\n'
    result = run_scenario(parse_scenario(text), ("client",))
    assert not [notice for notice in result.notices if "ended" in notice]
    bodies = [stream.split(b"\r\n\r\n", 1) for stream in streams(result.frames["client"])]
    assert [len(body) for _, body in bodies] == [size, size]
    assert all(head.startswith(b"HTTP/1.1 200") for head, _ in bodies)


def streams(frames):
    """What arrived on each connection, put together by sequence numbers (dpkt's decoding)."""
    found = {}
    for frame in frames:
        ethernet = dpkt.ethernet.Ethernet(frame.data)
        if frame.leaving or not isinstance(ethernet.data, dpkt.ip.IP):
            continue
        tcp = ethernet.data.data
        found.setdefault(tcp.dport, []).append((tcp.seq, tcp.flags & SYN, bytes(tcp.data)))
    for flow in found.values():
        [begin] = {seq + 1 for seq, is_syn, _ in flow if is_syn}
        stream = b""
        for at, data in sorted(((seq - begin) % 2**32, data) for seq, _, data in flow if data):
            assert at <= len(stream), "a hole"
            stream += data[len(stream) - at :]
        yield stream


def test_simultaneous_open_carries_data_both_ways():
    text = '[server]\nconnects = true\n[link]\ndelay_ms = 5\n[client]\nrequests = ["/bytes/5000"]\n'
    text += "port = 4000\nconnections = 2\n"
    result = run_scenario(parse_scenario(text), ("client",))
    assert not result.notices
    synacks = [f for f in result.frames["client"] if len(f.data) > 47 and f.data[47] == SYN | ACK]
    assert len(synacks) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server]\nconnects = true\n[link]\ndelay_ms = 5\n", "client.port"),
        ("[server]\nconnects = true\n[client]\nport = 4000\n", "link.delay_ms"),
        (
            "[server]\nconnects = true\nfastopen = 3\n[client]\nport = 4000\n[link]\ndelay_ms = 5\n",
            "server.fastopen",
        ),
        ("[client]\nfastopen = true\nnodelay = true\n", "client.nodelay"),
        ('[server]\nprofile = "nginx"\nfastopen = 3\n', "server.fastopen"),
    ],
)
def test_what_does_not_fit_together_is_refused(text, says):
    with pytest.raises(ScenarioError, match=says):
        parse_scenario(text)
