"""The send buffer against the real one: what non-blocking send() takes, what SO_MEMINFO and TCP_INFO say then.

Measured on Linux 6.18.44, 2026-11-22: two namespaces on veth, one Python program that has both ends, pinned to one
processor; CUBIC; the server sends 106 bytes, then as much of 400,000 as send() takes, again and again; the client
reads once (262,144 bytes) after 50 ms. The same numbers came in each of three runs.
"""

from __future__ import annotations

from pcaptool.scenario import Scenario
from pcaptool.sim.events import Simulator, Sleep
from pcaptool.stack.run import _hosts
from pcaptool.stack.syscalls import Socket
from pcaptool.stack.tcp import sendmsg
from pcaptool.stack.tcp.info import tcp_info
from pcaptool.stack.tcp.lock import lock_sock, release_sock

MS = 1_000_000

# (what, bytes taken, sk_sndbuf, sk_wmem_queued, tcpi_snd_cwnd, tcpi_unacked)
REAL = [
    ("send", 106, 46080, 0, 10, 0),
    ("send", 46336, 92160, 0, 40, 0),
    ("send", 104256, 92160, 106752, 40, 40),
    ("send", 0, 92160, 106752, 40, 40),
    ("50 ms later", 0, 373248, 46552, 81, 15),
    ("client has read", 0, 373248, 0, 81, 0),
    ("send", 249408, 373248, 0, 254, 0),
]


def test_a_nonblocking_writer_gets_as_far_as_on_the_real_kernel(monkeypatch):
    plan = Scenario()
    simulator = Simulator(plan.start_time_ns)
    server, client = _hosts(plan, simulator)
    seen, reads = [], []

    def refuse(sk):  # a non-blocking call does not wait
        sk.error = "EAGAIN"
        return
        yield

    monkeypatch.setattr(sendmsg, "_wait_memory", refuse)

    def note(what, taken, sk):
        info = tcp_info(sk)
        seen.append((what, taken, sk.sndbuf, sk.wmem_queued, info.snd_cwnd, info.unacked))

    def send(sk, data):
        sk.call_began_ns = server.now_ns
        yield from lock_sock(sk)
        taken = yield from sendmsg.sendmsg_locked(sk, data, more=False)
        sk.error = ""
        yield from release_sock(sk)
        note("send", taken, sk)
        return taken

    def writer():
        listening = Socket(server)
        listening.listen(80)
        connection = yield from listening.accept()
        sk, data, at = connection.sk, bytes(400_000), 0
        yield from send(sk, bytes(106))
        while at < len(data):
            taken = yield from send(sk, data[at:])
            at += taken
            if not taken:
                yield Sleep(50 * MS)
                note("50 ms later", 0, sk)
                reads.append(True)
                yield Sleep(MS)
                note("client has read", 0, sk)

    def reader():
        connection = Socket(client)
        yield from connection.connect(server.ip.address, 80)
        while True:
            while not reads:
                yield Sleep(100_000)
            reads.pop()
            yield from connection.recv(1 << 18)

    server.spawn(writer())
    client.spawn(reader(), 1000)
    simulator.run(plan.start_time_ns + 10**9)
    assert seen == REAL
