"""What a scenario is: the dataclasses, each field with its key, default, bounds and meaning.

Knows: names, defaults, bounds. The defaults are those of the laboratory behind the project's captures:
two Linux 6.18 hosts, 192.0.2.1 and 192.0.2.2, joined by a veth pair.
Must not know: TOML (`load`, `dump`), or how anything is done (`stack`).

Kernel names for sysctls, ethtool's for offloads, tc's for queueing disciplines. All times are integer
nanoseconds here and milliseconds in the file.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from pcaptool.scenario.costs import Costs
from pcaptool.scenario.keys import key, section, sections
from pcaptool.scenario.kinds import (
    Choice,
    Flag,
    HeaderPairs,
    Ipv4,
    Ipv6,
    Mac,
    Megabits,
    Millis,
    Moment,
    NumberList,
    Percent,
    Request,
    RequestList,
    Sizes,
    Text,
    Whole,
)
from pcaptool.scenario.queueing import QdiscWords

__all__ = [
    "CONGESTION_CONTROLS",
    "DRIVERS",
    "HOOK_POINTS",
    "PROFILES",
    "Client",
    "Dns",
    "Drop",
    "Hook",
    "Host",
    "Hosts",
    "Late",
    "Limits",
    "Link",
    "Nginx",
    "Nic",
    "Offload",
    "Route",
    "Scenario",
    "Server",
]

# Registries: a name is accepted when it stands here.
PROFILES: tuple[str, ...] = ("reference", "python", "nginx", "node", "express")
CLIENTS: tuple[str, ...] = ("reference", "curl", "wrk")
CONGESTION_CONTROLS: tuple[str, ...] = ("cubic", "reno", "bbr")
DRIVERS: tuple[str, ...] = ("veth", "nic")
HOOK_POINTS: tuple[str, ...] = (
    "output",
    "postrouting",
    "tc-egress",
    "xdp",
    "tc-ingress",
    "prerouting",
    "input",
)
HOOK_ACTIONS: tuple[str, ...] = ("drop", "pass", "rewrite", "redirect")
FRAME_KINDS: tuple[str, ...] = ("syn", "synack", "ack", "data", "fin", "rst", "tcp", "other", "any")
DIRECTIONS: tuple[str, ...] = ("server-to-client", "client-to-server")

_TWO_GIB = 2**31 - 1
_PATH = Text('a path such as "/x" or "/bytes/{n}"', r"/[\x21-\x7e]*")
_VERSION = Text("a version such as 1.22.1", r"[0-9A-Za-z.+~-]{0,40}")
_INTERFACE = Text("an interface name of 1 to 15 characters", r"[!-.0-~]{1,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What the server answers to a path, and with which calls it writes the answer."""

    path: str = key("/bytes/{n}", _PATH, "path it answers; `{n}` stands for digits, the size of the body")
    status: str = key("200 OK", Text('a status such as "200 OK"', r"[1-5][0-9]{2} [\x20-\x7e]*"), "status")
    body_bytes: int | None = key(None, Whole(0, _TWO_GIB), "body of this size, the letters a-z over and over")
    body: str | None = key(None, Text(), "body as text (UTF-8)")
    think_time_ns: int = key(
        0, Millis(), "time between reading the request and the first write", name="think_time_ms"
    )
    write: str = key(
        "one",
        Choice(("one", "head-then-body", "chunks")),
        "one call; head-then-body: two calls; chunks: the head, then the body in pieces",
    )
    chunk_bytes: int = key(4096, Whole(1, _TWO_GIB), "size of a piece, with write = chunks")
    pause_ns: int = key(0, Millis(), "pause before each piece, with write = chunks", name="pause_ms")
    nodelay: bool = key(False, Flag(), "set TCP_NODELAY before the first write")
    cork: bool = key(False, Flag(), "set TCP_CORK before the first write, clear it after the last")
    more: bool = key(False, Flag(), "give MSG_MORE with the head, with write = head-then-body")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """nginx's directives (static files; each route is one)."""

    sendfile: bool = key(True, Flag(), "sendfile: the body goes from the file to the socket")
    tcp_nopush: bool = key(True, Flag(), "tcp_nopush: TCP_CORK around head and body, with sendfile")
    tcp_nodelay: bool = key(True, Flag(), "tcp_nodelay: TCP_NODELAY on kept connections")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server program."""

    profile: str = key(
        "reference",
        Choice(PROFILES),
        "which program: reference (writes as the routes say), or what python's http.server, nginx, node's http,"
        " express do",
    )
    version: str = key("", _VERSION, "version in the program's Server field; empty: that of the captures")
    port: int = key(80, Whole(1, 65535), "TCP port it listens on")
    listen: bool = key(True, Flag(), "false: nothing listens, the host answers with RST")
    headers: tuple[tuple[str, str], ...] = key(
        (
            ("Server", "raw"),
            ("Content-Type", "text/plain"),
            ("Content-Length", "{length}"),
            ("Connection", "{connection}"),
        ),
        HeaderPairs(("{length}", "{connection}", "{date}")),
        "header fields after the status line; {connection} is close or keep-alive, {date} an HTTP date",
    )
    routes: tuple[Route, ...] = sections(
        Route, "What it answers; the first route that matches counts.", name="route", default=(Route(),)
    )
    close: str = key(
        "client",
        Choice(("client", "server", "rst")),
        "who ends a connection that the client wants to keep; rst: the server, and every end is a reset",
    )
    close_after: int = key(0, Whole(0, 10**9), "responses before the server ends it; 0: only when asked to")
    shutdown: bool = key(False, Flag(), "end by shutdown(SHUT_WR), read until the client's end, then close")
    backlog: int | None = key(
        None,
        Whole(0, 65535),
        "connections that may wait for accept(), less one, and requests; none: as the program does",
    )
    accept_pause_ns: int = key(
        0, Millis(), "pause before each accept(), with a connection waiting", name="accept_pause_ms"
    )
    fastopen: int = key(
        0, Whole(0, 65535), "TCP_FASTOPEN: handshakes that may be pending with data in the SYN; 0: not set"
    )
    connects: bool = key(
        False,
        Flag(),
        "it opens the connections itself, to the client's ports, while the client does: simultaneous open",
    )
    sndbuf: int | None = key(None, Whole(1, _TWO_GIB), "SO_SNDBUF of the listening socket")
    rcvbuf: int | None = key(None, Whole(1, _TWO_GIB), "SO_RCVBUF of the listening socket")
    keepalive_timeout_ns: int | None = key(
        None,
        Millis(1_000_000),
        "idle connections end after this; else as the program does (nginx 75 s, node and express 5 s)",
        name="keepalive_timeout_ms",
    )
    tcp_keepidle_s: int | None = key(
        None,
        Whole(1, 32_767),
        "SO_KEEPALIVE on each connection, with this TCP_KEEPIDLE: probes after so long without a packet; none: off",
    )
    tcp_keepintvl_s: int = key(75, Whole(1, 32_767), "TCP_KEEPINTVL: between probes, with tcp_keepidle_s")
    tcp_keepcnt: int = key(
        9, Whole(1, 127), "TCP_KEEPCNT: unanswered probes before a reset, with tcp_keepidle_s"
    )
    nginx: Nginx = section(Nginx, "nginx's directives, with profile nginx.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The client program: every connection does the same."""

    program: str = key(
        "reference",
        Choice(CLIENTS),
        "reference (does what the keys say), curl, wrk (load for a time; laboratory only)",
    )
    version: str = key("", _VERSION, "curl's version, in its User-Agent; empty: that of the captures")
    duration_ns: int = key(
        1_000_000_000, Millis(1_000_000_000), "how long wrk runs, whole seconds", name="duration_ms"
    )
    connections: int = key(1, Whole(0, 100_000), "connections; 0: none, for a scenario of datagrams alone")
    stagger_ns: int = key(0, Millis(), "connection i starts i times this later", name="stagger_ms")
    requests: tuple[Request, ...] = key(
        (Request("GET", "/bytes/1024"),), RequestList(), "requests of each connection, in order"
    )
    keepalive: bool = key(True, Flag(), 'false: each request says "Connection: close"')
    headers: tuple[tuple[str, str], ...] = key(
        (("Host", "{host}"), ("User-Agent", "lab")),
        HeaderPairs(("{host}",)),
        "header fields of each request; {host} is the server's address (and port, where not 80)",
    )
    pipeline: bool = key(False, Flag(), "all requests in one call, then all responses")
    pause_ns: int = key(0, Millis(), "pause between a response and the next request", name="pause_ms")
    close: str = key(
        "auto",
        Choice(("auto", "client", "server", "rst")),
        "who ends a connection; auto: the client with keepalive, else the server; rst: the client, by reset",
    )
    rst_after_bytes: int = key(
        0, Whole(0, 2**63 - 1), "stop and reset after reading this many bytes; 0: never"
    )
    half_close: bool = key(False, Flag(), "shutdown(SHUT_WR) after the last request")
    hold_ns: int = key(0, Millis(), "pause before it closes", name="hold_ms")
    rcvbuf: int | None = key(None, Whole(1, _TWO_GIB), "SO_RCVBUF")
    read_chunk_bytes: int = key(262144, Whole(1, _TWO_GIB), "size of the buffer given to each read")
    read_pause_ns: int = key(0, Millis(), "pause before each read", name="read_pause_ms")
    stall_ns: int = key(0, Millis(), "pause before the first read of each response", name="stall_ms")
    nodelay: bool = key(False, Flag(), "TCP_NODELAY")
    fastopen: bool = key(
        False, Flag(), "connect by the first request (MSG_FASTOPEN): in the SYN where a cookie is at hand"
    )
    port: int | None = key(
        None,
        Whole(1, 65535),
        "source port of the first connection, the next one higher; else chosen",
    )

    @property
    def ended_by(self) -> str:
        """Who ends the connection: `close`, or what `auto` means ("client", "server", "rst")."""
        if self.rst_after_bytes:
            return "rst"
        if self.close != "auto":
            return self.close
        return "client" if self.keepalive else "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dns:
    """Datagrams: a small DNS responder on the server's host, and questions to it before any HTTP."""

    queries: tuple[int, ...] = key(
        (), Sizes(), "letters that each question asks for; none: no DNS, no responder"
    )
    port: int = key(53, Whole(1, 65535), "UDP port")
    listen: bool = key(True, Flag(), "false: no responder, the host answers with ICMP")
    think_time_ns: int = key(0, Millis(), "time between question and answer", name="think_time_ms")
    pause_ns: int = key(0, Millis(), "pause between an answer and the next question", name="pause_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """What the device does, by ethtool's words."""

    tso: bool = key(True, Flag(), "TCP segmentation offload: super-packets pass the driver")
    gso: bool = key(True, Flag(), "generic segmentation offload; TCP builds super-packets without it as well")
    gro: bool = key(False, Flag(), "generic receive offload (off on veth by default)")
    tx_checksum: bool = key(True, Flag(), "the device fills in the TCP checksum: the tap sees a partial one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network card: its ring and its interrupts."""

    tx_ring: int = key(512, Whole(8, 65536), "descriptors of the transmit ring (ethtool -G tx)")
    bql: bool = key(True, Flag(), "byte queue limit: no more in the ring than keeps the card busy")
    tx_usecs: int = key(0, Whole(0, 10_000), "microseconds before the card says what has left (ethtool -C)")
    rx_usecs: int = key(0, Whole(0, 10_000), "microseconds before the card says what came in (ethtool -C)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host's kernel: its interface, addresses and sysctls (defaults of Linux 6.18 unless said)."""

    device: str = key("eth0", _INTERFACE, "name of the interface")
    mac: str = key("02:00:00:00:00:01", Mac(), "Ethernet address")
    ipv4: str = key("192.0.2.1", Ipv4(), "IPv4 address (/24)")
    ipv6: str = key("2001:db8::1", Ipv6(), "IPv6 address (/64)")
    mtu: int = key(1500, Whole(68, 65535), "largest IP packet of the interface")
    offload: Offload = section(Offload, "What the device does, by ethtool's words.")
    driver: str = key(
        "veth", Choice(DRIVERS), "veth: a virtual cable's end; nic: a card with a ring, that segments"
    )
    nic: Nic = section(Nic, "The network card, with driver = nic; ethtool's words.")
    qdisc: str = key("noqueue", QdiscWords(), "queueing discipline at egress, in tc's words")
    hz: int = key(250, Whole(100, 1000), "timer ticks a second (CONFIG_HZ)")
    ttl: int = key(64, Whole(1, 255), "net.ipv4.ip_default_ttl")
    congestion: str = key("cubic", Choice(CONGESTION_CONTROLS), "net.ipv4.tcp_congestion_control")
    initial_cwnd: int = key(10, Whole(1, 1000), "initcwnd of the route, in segments")
    tcp_sack: bool = key(True, Flag(sysctl=True), "selective acknowledgements (RFC 2018)")
    tcp_dsack: bool = key(True, Flag(sysctl=True), "duplicate SACK (RFC 2883)")
    tcp_timestamps: int = key(1, Whole(0, 2), "0: none; 1: with a random offset; 2: without one (RFC 7323)")
    tcp_window_scaling: bool = key(True, Flag(sysctl=True), "window scaling (RFC 7323)")
    tcp_ecn: int = key(2, Whole(0, 2), "0: never; 1: ask for it; 2: only when the peer asks (RFC 3168)")
    tcp_rmem: tuple[int, int, int] = key(
        (4096, 131072, 33554432),
        NumberList(Whole(1, _TWO_GIB), 3, rising=True),
        "receive buffer: min, default, max",
    )
    tcp_wmem: tuple[int, int, int] = key(
        (4096, 16384, 4194304),
        NumberList(Whole(1, _TWO_GIB), 3, rising=True),
        "send buffer: min, default, max",
    )
    rmem_max: int = key(4194304, Whole(1, _TWO_GIB), "net.core.rmem_max: bound of SO_RCVBUF")
    wmem_max: int = key(4194304, Whole(1, _TWO_GIB), "net.core.wmem_max: bound of SO_SNDBUF")
    tcp_autocorking: bool = key(True, Flag(sysctl=True), "small writes wait while the qdisc holds a buffer")
    tcp_limit_output_bytes: int = key(4194304, Whole(1, _TWO_GIB), "bytes of a socket below TCP (TSQ)")
    tcp_min_tso_segs: int = key(2, Whole(1, 64), "least segments of a super-packet")
    tcp_tso_rtt_log: int = key(9, Whole(0, 31), "short paths get larger super-packets (0: no)")
    tcp_pingpong_thresh: int = key(1, Whole(1, 255), "answers before delayed ACKs begin")
    tcp_slow_start_after_idle: bool = key(True, Flag(sysctl=True), "restart from the initial window")
    tcp_moderate_rcvbuf: bool = key(True, Flag(sysctl=True), "receive buffer autotuning")
    tcp_notsent_lowat: int = key(
        4294967295, Whole(0, 4294967295), "unsent bytes beyond which a socket is not writable"
    )
    tcp_rto_min_us: int = key(200000, Whole(1, 1_000_000), "least retransmission timeout, in microseconds")
    tcp_recovery: int = key(1, Whole(0, 7), "RACK: bit 0 on, 1 static reordering window, 2 no DupThresh")
    tcp_early_retrans: int = key(3, Whole(0, 4), "3 and 4: tail loss probe on")
    tcp_abort_on_overflow: bool = key(
        False, Flag(sysctl=True), "a reset for who connects while too many wait for accept(); false: silence"
    )
    tcp_syncookies: int = key(
        1, Whole(0, 2), "0: drop SYNs beyond the backlog; 1: answer these by cookies; 2: all"
    )
    tcp_fastopen: int = key(
        1,
        Whole(0, 0x7FF),
        "Fast Open, a sum: 1 as client, 2 as server, 4 and 512 without cookies (client, server), 1024 on all listeners",
    )
    tcp_syn_linear_timeouts: int = key(4, Whole(0, 127), "SYN retransmissions before the timeout doubles")


_CLIENT_HOST = Host(mac="02:00:00:00:00:02", ipv4="192.0.2.2", ipv6="2001:db8::2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The two hosts."""

    server: Host = section(Host, "The server's kernel.")
    client: Host = section(Host, "The client's kernel.", default=_CLIENT_HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Frames that are lost on the link, exactly."""

    direction: str = key("server-to-client", Choice(DIRECTIONS), "which way")
    match: str = key("data", Choice(FRAME_KINDS), "which frames are counted")
    nth: tuple[int, ...] = key((1,), NumberList(Whole(1, 10**9)), "which of them are lost, counted from 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """Frames that arrive later than the others."""

    direction: str = key("server-to-client", Choice(DIRECTIONS), "which way")
    match: str = key("data", Choice(FRAME_KINDS), "which frames are counted")
    nth: tuple[int, ...] = key((1,), NumberList(Whole(1, 10**9)), "which of them are late, counted from 1")
    extra_ns: int = key(1_000_000, Millis(), "how much later", name="extra_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The link between the hosts; each direction is alike."""

    delay_ns: int = key(0, Millis(), "one-way delay", name="delay_ms")
    rate_bps: int = key(0, Megabits(), "rate; 0: unlimited", name="rate_mbit")
    spacing_ns: int = key(0, Millis(), "frames leave at least this far apart", name="spacing_ms")
    queue_packets: int = key(0, Whole(0, 10**6), "frames that may wait for the link; 0: no limit")
    mtu: int = key(
        0, Whole(0, 65535), "MTU of a router on the way, which refuses what is larger; 0: no router"
    )
    loss_ppm: int = key(0, Percent(), "frames that are lost at random, by the seed", name="loss_percent")
    drops: tuple[Drop, ...] = sections(Drop, "Exact losses.", name="drop")
    late: tuple[Late, ...] = sections(Late, "Exact delays of single frames.", name="late")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A rule or program at a hook of the path (netfilter, tc, XDP)."""

    host: str = key("server", Choice(("server", "client")), "on which host")
    at: str = key("output", Choice(HOOK_POINTS), "where: netfilter's points, tc's, XDP")
    match: str = key("any", Choice(FRAME_KINDS), "which frames are counted; a super-packet counts as one")
    nth: tuple[int, ...] = key(
        (), NumberList(Whole(1, 10**9)), "which of them, counted from 1; not given: all"
    )
    action: str = key(
        "drop",
        Choice(HOOK_ACTIONS),
        "drop; pass (it is only noted); rewrite; redirect: back out of the device it came in by",
    )
    ttl: int | None = key(None, Whole(0, 255), "with rewrite: TTL or hop limit")
    tos: int | None = key(None, Whole(0, 255), "with rewrite: TOS or traffic class")
    mss: int | None = key(None, Whole(1, 65535), "with rewrite: most that a SYN's MSS option may say")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a run, so that it ends."""

    max_time_ns: int = key(
        600_000_000_000,
        Millis(1, 10**18),
        "virtual time after which a run stops and says so",
        name="max_time_ms",
    )
    max_frames: int = key(1_000_000, Whole(1, 10**9), "frames after which a run stops and says so")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What to run: two programs, two hosts, one link.

    Examples
    --------
    >>> Scenario().server_address, Scenario().client.requests[0].path
    ('192.0.2.1', '/bytes/1024')
    """

    name: str = key("", Text("one line of text", r"[^\x00-\x1f\x7f-\x9f]*"), "what it is called")
    note: str = key("", Text(), "what it is for")
    seed: int = key(1, Whole(0, 2**63 - 1), "the same scenario and seed give the same bytes")
    start_time_ns: int = key(1_767_225_600_000_000_000, Moment(), "when the run begins", name="start_time")
    family: int = key(4, Choice((4, 6)), "4: IPv4, 6: IPv6")
    snaplen: int = key(0, Whole(0, 262144), "bytes kept of each captured frame; 0: all")
    server: Server = section(Server, "The server program.")
    client: Client = section(Client, "The client program.")
    dns: Dns = section(Dns, "Datagrams: a small DNS conversation before any HTTP.")
    host: Hosts = section(Hosts, "The hosts' kernels.")
    link: Link = section(Link, "The link between the hosts.")
    hooks: tuple[Hook, ...] = sections(Hook, "Programs at hooks of the path.", name="hook")
    costs: Costs = section(Costs, "What each step costs.")
    limits: Limits = section(Limits, "Bounds of a run.")

    @property
    def server_address(self) -> str:
        """The server's address of the scenario's family."""
        return self.host.server.ipv4 if self.family == 4 else self.host.server.ipv6

    @property
    def client_address(self) -> str:
        """The client's address of the scenario's family."""
        return self.host.client.ipv4 if self.family == 4 else self.host.client.ipv6

    @property
    def authority(self) -> str:
        """What a Host header says of the server (RFC 9110 section 7.2).

        Examples
        --------
        >>> Scenario(family=6, server=Server(port=8080)).authority
        '[2001:db8::1]:8080'
        """
        address = ipaddress.ip_address(self.server_address)
        host = f"[{address}]" if address.version == 6 else str(address)
        return host if self.server.port == 80 else f"{host}:{self.server.port}"
