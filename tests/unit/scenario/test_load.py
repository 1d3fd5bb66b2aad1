"""Each kind of fault is refused with file, line and key; what is allowed is read."""

from __future__ import annotations

import pytest

from pcaptool.errors import ScenarioError
from pcaptool.scenario import Request, Scenario, load_scenario, parse_scenario

REFUSED = [
    # text, message behind "x.toml: "
    ("[server]\nprot = 1", "line 2: server.prot: unknown key (did you mean port?)"),
    ("[link]\nzzz = 1", "line 2: link.zzz: unknown key (keys here: delay_ms, "),
    ("colour = 1", "line 1: colour: unknown key"),
    ("seed = 7.5", "line 1: seed: 7.5 is not a whole number from 0 on"),
    ("seed = true", "line 1: seed: true is not a whole number"),
    ("seed = -1", "line 1: seed: -1 is not a whole number from 0 on"),
    ("family = 5", "line 1: family: 5 is not one of 4, 6"),
    ("\n\n[server]\nport = 70000", "line 4: server.port: 70000 is not a whole number from 1 to 65535"),
    (
        '[[server.route]]\n[[server.route]]\nwrite = "ones"',
        "line 3: server.route[1].write: 'ones' is not one of one, head-then-body, chunks",
    ),
    ("server = 1", "line 1: server: must be a table"),
    ("[server]\nroute = 1", "line 2: server.route: must be an array of tables: [[server.route]]"),
    ("[server]\nroute = []", "line 2: server.route: a server needs a route"),
    ('[client]\nrequests = "/x"', "line 2: client.requests: '/x' is not a list of one or more paths"),
    ("[client]\nrequests = []", "line 2: client.requests: [] is not a list of one or more paths"),
    (
        '[client]\nrequests = [\n  "/bytes/1",\n  "/oops",\n]',
        "line 4: client.requests[1]: no route answers /oops (routes: /bytes/{n})",
    ),
    (
        '[client]\nrequests = [["PUT", "/bytes/1"]]',
        "line 2: client.requests: ['PUT', '/bytes/1'] is not a path",
    ),
    ("[client]\nkeepalive = 0", "line 2: client.keepalive: 0 is not true or false"),
    ("[link]\ndelay_ms = 0.0000001", "line 2: link.delay_ms: 1E-7 is finer than a nanosecond"),
    ("[link]\ndelay_ms = nan", "line 2: link.delay_ms: NaN is not a time in milliseconds"),
    ("[link]\ndelay_ms = inf", "line 2: link.delay_ms: Infinity is not a time in milliseconds"),
    ("[link]\ndelay_ms = -1", "line 2: link.delay_ms: -1 is not a time in milliseconds from 0"),
    (
        '[host.server]\nmac = "01:00:5e:00:00:01"',
        "line 2: host.server.mac: '01:00:5e:00:00:01' is a group address",
    ),
    ('[host.server]\nipv4 = "192.0.2.300"', "line 2: host.server.ipv4: '192.0.2.300' is not an IPv4 unicast"),
    ('[host.server]\nipv6 = "ff02::1"', "line 2: host.server.ipv6: 'ff02::1' is not an IPv6 unicast"),
    ('[host.server]\nqdisc = "red"', "line 2: host.server.qdisc: 'red' is not one of noqueue, pfifo"),
    (
        '[host.server]\nqdisc = "pfifo_fast limit 3"',
        "line 2: host.server.qdisc: pfifo_fast does not take 'limit' here: it takes nothing",
    ),
    (
        '[host.server]\nqdisc = "tbf rate 1mbit burst 2kb"',
        "line 2: host.server.qdisc: tbf needs latency or limit",
    ),
    ('[host.server]\nqdisc = "netem loss 101%"', "line 2: host.server.qdisc: '101%' is more than 100%"),
    (
        '[host.server]\nqdisc = "netem loss 1% 25%"',
        "line 2: host.server.qdisc: netem does not take '25%' here",
    ),
    ('[host.server]\nqdisc = "netem reorder 1%"', "line 2: host.server.qdisc: netem: reorder needs a delay"),
    (
        '[host.server]\ndriver = "nic"',
        "line 1: host.server.qdisc: a card's ring can be full: it needs a queue",
    ),
    ("[host.server]\ntcp_rmem = [3, 2, 1]", "line 2: host.server.tcp_rmem: [3, 2, 1] is not in rising order"),
    (
        "[host.server]\ntcp_rmem = [1, 2]",
        "line 2: host.server.tcp_rmem: [1, 2] is not a list of 3 whole numbers",
    ),
    (
        "[host.server]\noffload = { tso = true, tsq = 1 }",
        "line 2: host.server.offload.tsq: unknown key (did you mean tso?)",
    ),
    (
        "start_time = 2026-01-01T00:00:00",
        "line 1: start_time: 2026-01-01 00:00:00 is not a date and time with",
    ),
    ('[server]\nheaders = [["A b", "x"]]', "line 2: server.headers: 'A b' is not a header field name"),
    (
        '[server]\nheaders = [["A", "x\\r\\nB: y"]]',
        "line 2: server.headers: 'x\\r\\nB: y' is not a header field",
    ),
    (
        '[server]\nheaders = [["A", "{size}"]]',
        "line 2: server.headers: {size} is not one of the placeholders",
    ),
    ('[server]\nheaders = ["A"]', "line 2: server.headers: 'A' is not a pair of strings"),
    ("a = [", "line 1: not valid TOML"),
    ("a = 1\na = 2", "line 2: not valid TOML"),
    # contradictions
    (
        "[[server.route]]\nbody_bytes = 3",
        "line 2: server.route[0].body_bytes: the size of the body is said by {n}",
    ),
    ('[[server.route]]\npath = "/"', "line 2: server.route[0].path: no body: give body_bytes, body, or {n}"),
    (
        '[[server.route]]\npath = "/"\nbody = "x"\nbody_bytes = 1',
        "line 3: server.route[0].body: body and body_b",
    ),
    ("[[server.route]]\nmore = true", 'line 2: server.route[0].more: it needs write = "head-then-body"'),
    ("[[server.route]]\npause_ms = 1", "line 2: server.route[0].pause_ms: a pause is between pieces"),
    ("[server]\nclose_after = 3", "line 2: server.close_after: the server ends nothing with"),
    ('[server]\nclose = "server"', 'line 2: server.close: close = "server" needs close_after'),
    ('[client]\nclose = "server"', "line 2: client.close: the client waits for the server to end"),
    ('[client]\nclose = "client"\nrst_after_bytes = 1', "line 2: client.close: rst_after_bytes ends"),
    (
        '[client]\nkeepalive = false\nrequests = ["/bytes/1", "/bytes/1"]',
        "line 2: client.keepalive: false ends",
    ),
    (
        "[client]\nport = 65535\nconnections = 2",
        "line 2: client.port: 2 connections from port 65535 on go beyond",
    ),
    (
        '[host.client]\nmac = "02:00:00:00:00:01"',
        "line 2: host.client.mac: both hosts have 02:00:00:00:00:01",
    ),
    ("family = 6\n[host.server]\nmtu = 1000", "line 3: host.server.mtu: 1000 is less than 1280"),
    ("[link]\nqueue_packets = 9", "line 2: link.queue_packets: nothing waits for a link without"),
    # what a program does not heed
    ('[server]\nprofile = "nginx"\nshutdown = true', "line 3: server.shutdown: it means nothing to nginx"),
    (
        '[server]\nprofile = "python"\n[[server.route]]\nwrite = "chunks"',
        "line 4: server.route[0].write: it means nothing to python",
    ),
    ("server.nginx.sendfile = false", "line 1: server.nginx: it means nothing to reference"),
    ('[client]\nprogram = "curl"\nstall_ms = 4', "line 3: client.stall_ms: it means nothing to curl"),
    (
        'server.profile = "nginx"\n[[server.route]]\npath = "/a%20b"\nbody = ""\n[client]\nrequests = ["/a%20b"]',
        "line 6: client.requests[0]: /a%20b is not the name of a file that nginx serves",
    ),
    (
        '[client]\nprogram = "curl"\nrequests = ["/bytes/1", ["HEAD", "/bytes/1"]]',
        "line 3: client.requests: one run of curl has one method",
    ),
    # what the model lacks
    ('client.program = "wrk"', 'line 1: client.program: "wrk" is not available in the modelled stack yet'),
    (
        '[[hook]]\nat = "output"\naction = "redirect"',
        "line 2: hook[0].at: nothing can be redirected at output",
    ),
    ('[[hook]]\naction = "rewrite"', "line 2: hook[0].action: rewrite what? give ttl, tos or mss"),
    ("[[hook]]\nttl = 3", 'line 2: hook[0].ttl: it needs action = "rewrite"'),
    ('[[hook]]\nat = "xdp"', "line 2: hook[0].at: XDP on veth needs host.client.offload.tso = false"),
    ('[[hook]]\nat = "flowtable"', "line 2: hook[0].at: 'flowtable' is not one of output, postrouting"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[m.split(": ", 1)[1][:50] for _, m in REFUSED])
def test_a_fault_names_file_line_and_key(text, message):
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(text, "x.toml")
    assert str(caught.value).startswith(f"x.toml: {message}")
    assert "\n" not in str(caught.value)


def test_the_empty_file_is_the_default_scenario():
    assert parse_scenario("") == Scenario()


def test_units_become_nanoseconds_exactly():
    scenario = parse_scenario("link.delay_ms = 20.000001\n[client]\npause_ms = 800\n")
    assert (scenario.link.delay_ns, scenario.client.pause_ns) == (20_000_001, 800_000_000)


def test_a_sysctl_may_be_written_as_the_kernel_prints_it():
    scenario = parse_scenario('[host.server]\ntcp_rmem = "4096 131072 6291456"\ntcp_sack = 0')
    assert scenario.host.server.tcp_rmem == (4096, 131072, 6291456)
    assert scenario.host.server.tcp_sack is False


def test_each_host_keeps_its_own_defaults():
    scenario = parse_scenario("[host.client]\nmtu = 9000")
    assert (scenario.host.client.ipv4, scenario.host.client.mtu) == ("192.0.2.2", 9000)
    assert scenario.host.server == Scenario().host.server


def test_a_request_may_name_its_method():
    scenario = parse_scenario('client.requests = [["HEAD", "/bytes/3"], "/bytes/4"]')
    assert scenario.client.requests == (Request("HEAD", "/bytes/3"), Request("GET", "/bytes/4"))


def test_what_the_model_lacks_is_readable_for_the_laboratory():
    with pytest.raises(ScenarioError, match="not available in the modelled stack yet"):
        parse_scenario("[host.server]\ntcp_pingpong_thresh = 2")
    plan = parse_scenario("[host.server]\ntcp_pingpong_thresh = 2", model=False)
    assert plan.host.server.tcp_pingpong_thresh == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "cannot read the scenario: No such file"),
        (b"\xff\xfe", "byte 0: not UTF-8 text"),
        (b"#" * 1_000_001, "at most"),
    ],
)
def test_a_file_that_is_no_scenario(tmp_path, data, message):
    path = tmp_path / "s.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ScenarioError, match=message):
        load_scenario(path)


def test_control_characters_of_a_file_do_not_reach_the_terminal():
    with pytest.raises(ScenarioError) as caught:
        parse_scenario('"a\\u001b[31m" = 1', "x.toml")
    assert "\x1b" not in str(caught.value)
    assert "\\x1b" in str(caught.value)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a." * 5000 + "b = 1"])
def test_nesting_is_refused_not_a_crash(text):
    with pytest.raises(ScenarioError):
        parse_scenario(text)


def test_every_bundled_scenario_can_be_run_by_the_model(fixtures):
    paths = sorted(fixtures.rglob("*.toml"))
    assert len(paths) > 20
    for path in paths:
        assert load_scenario(path).name


def test_objects_are_held_against_the_same_rules_as_files(tmp_path):
    from pcaptool.errors import ScenarioError
    from pcaptool.generate import generate
    from pcaptool.scenario import Client, Host, Hosts, Scenario, Server

    for wrong, says in (
        (
            Scenario(server=Server(close_after=2)),
            'server.close_after: the server ends nothing with close = "client"',
        ),
        (Scenario(host=Hosts(server=Host(mtu=20))), "host.server.mtu: 20 is"),
        (Scenario(host=Hosts(server=Host(tcp_recovery=0))), "not available in the modelled stack yet"),
        (Scenario(client=Client(connections="three")), "a value is of a wrong type"),
    ):
        with pytest.raises(ScenarioError) as caught:
            generate(wrong, tmp_path / "x.pcapng")
        assert says in str(caught.value)
        assert not str(caught.value).startswith("scenario:")
    assert list(tmp_path.iterdir()) == []
