"""The server programs of the model: their heads, their calls as the wire shows them, whole bodies whatever happens."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pcaptool.scenario import body
from tests.model.frames import run, tcp_frames

PROGRAMS = ("python", "nginx", "node", "express")


def sent(text, **kinds):
    """Frames with payload, or an end, that the server sent."""
    frames = tcp_frames(run(text, **kinds), leaving=True)
    return [f for f in frames if f["size"] or set(f["flags"]) & set("FR")]


def stream(frames):
    """The bytes of the server in sequence order."""
    parts = {f["seq"]: f["data"] for f in frames if f["size"]}
    out, expected = b"", min(parts)
    for seq in sorted(parts):
        out += parts[seq][max(0, expected - seq) :]
        expected = max(expected, seq + len(parts[seq]))
    return out


# Lengths of the head in front of 1000 bytes in the real programs' captures (facts 47-49 of the laboratory).
HEADS = {"python": 140, "nginx": 240, "node": 151, "express": 232}


@pytest.mark.parametrize("program", PROGRAMS)
def test_heads_are_as_long_as_the_real_ones(program):
    data = stream(sent(f'server.profile = "{program}"\nclient.requests = ["/bytes/1000"]'))
    head, _, rest = data.partition(b"\r\n\r\n")
    assert len(head) + 4 == HEADS[program]
    assert rest == body(1000)


def test_express_tags_a_body_by_its_digest():
    # node: crypto.createHash('sha1').update(body).digest('base64').substring(0, 27), as in the real capture
    data = stream(sent('server.profile = "express"\nclient.requests = ["/bytes/10240"]'))
    assert b'ETag: W/"2800-jCMuu/xiWwpWRTD222t27cxZAqM"\r\n' in data
    assert hashlib.sha1(body(0)).hexdigest() == "da39a3ee5e6b4b0d3255bfef95601890afd80709"


def test_python_writes_head_and_body_in_two_calls_under_nagle():
    frames = sent('server.profile = "python"\nclient.requests = ["/bytes/1000", "/bytes/1000"]')
    assert [f["size"] for f in frames[:4]] == [140, 1000, 140, 1000]
    waited_ns = frames[3]["ns"] - frames[2]["ns"]
    assert 39_000_000 < waited_ns < 48_000_000  # for the client's delayed ACK


def test_nginx_corks_head_and_file_together():
    text = 'server.profile = "nginx"\nclient.requests = ["/bytes/1000"]'
    assert [f["size"] for f in sent(text)][:1] == [1240]
    assert [f["size"] for f in sent(f"{text}\n[server.nginx]\ntcp_nopush = false")][:2] == [240, 1000]
    assert [f["size"] for f in sent(f"{text}\n[server.nginx]\nsendfile = false")][:1] == [1240]


def test_nginx_closes_corked_so_that_the_fin_goes_with_the_tail():
    last = sent('server.profile = "nginx"\nclient.requests = ["/bytes/10240"]\nclient.keepalive = false')[-1]
    assert last["size"] == 341  # as in the real capture (fact 50)
    assert last["flags"] == "FPA"


def test_nginx_turns_nodelay_on_after_an_answer_that_was_not_corked():
    # The second answer is two calls without a cork: under Nagle its body would wait for the client's delayed ACK.
    frames = sent(
        'server.profile = "nginx"\nclient.requests = ["/bytes/0", "/bytes/9"]\nserver.nginx.tcp_nopush = false'
    )
    assert [f["size"] for f in frames[:3]] == [235, 235, 9]
    assert frames[2]["ns"] - frames[1]["ns"] < 1_000_000
    frames = sent(
        'server.profile = "nginx"\nclient.requests = ["/bytes/0", "/bytes/9"]\n'
        "[server.nginx]\ntcp_nopush = false\ntcp_nodelay = false"
    )
    assert frames[2]["ns"] - frames[1]["ns"] > 30_000_000


@pytest.mark.parametrize(("program", "idle_s"), [("nginx", 75), ("node", 5), ("express", 5)])
def test_an_idle_connection_is_closed(program, idle_s):
    text = f'server.profile = "{program}"\nclient.requests = ["/bytes/9"]\nclient.close = "server"'
    data, fin = sent(text)
    assert fin["flags"] == "FA"
    assert idle_s * 10**9 <= fin["ns"] - data["ns"] < idle_s * 10**9 + 10_000_000
    data, fin = sent(f"{text}\nserver.keepalive_timeout_ms = 1500")
    assert 1_500_000_000 <= fin["ns"] - data["ns"] < 1_510_000_000


def test_nodes_field_says_its_timeout():
    text = 'server.profile = "node"\nclient.requests = ["/bytes/9"]'
    assert b"Keep-Alive: timeout=5\r\n" in stream(sent(text))
    assert b"Keep-Alive: timeout=7\r\n" in stream(sent(f"{text}\nserver.keepalive_timeout_ms = 7900"))
    assert b"Keep-Alive" not in stream(sent(f"{text}\nclient.keepalive = false"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_head_has_no_body(program):
    text = f'server.profile = "{program}"\nclient.requests = [["HEAD", "/bytes/1000"], "/bytes/3"]'
    heads = stream(sent(text)).split(b"\r\n\r\n")
    assert [h.partition(b" ")[0] for h in heads[:2]] == [b"HTTP/1.1"] * 2
    assert heads[2] == b"abc"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_slow_reader_gets_everything_in_the_end(program):
    text = (
        f'server.profile = "{program}"\n[client]\nrequests = ["/bytes/3000000"]\n'
        "rcvbuf = 16384\nread_chunk_bytes = 65536\nread_pause_ms = 1"
    )
    assert stream(sent(text)).partition(b"\r\n\r\n")[2] == body(3_000_000)


@hypothesis_settings(max_examples=25)
@given(
    program=st.sampled_from(PROGRAMS),
    sizes=st.lists(st.integers(0, 200_000), min_size=1, max_size=3),
    pipeline=st.booleans(),
    delay_ms=st.sampled_from([0, 5]),
    mtu=st.sampled_from([576, 1500, 9000]),
)
def test_every_answer_arrives_whole(program, sizes, pipeline, delay_ms, mtu):
    paths = ", ".join(f'"/bytes/{size}"' for size in sizes)
    text = (
        f'link.delay_ms = {delay_ms}\nhost.server.mtu = {mtu}\nserver.profile = "{program}"\n'
        f"[client]\nrequests = [{paths}]\npipeline = {str(pipeline).lower()}"
    )
    left = stream(sent(text))
    for size in sizes:
        head, _, left = left.partition(b"\r\n\r\n")
        assert f"Content-Length: {size}".encode() in head
        assert left[:size] == body(size)
        left = left[size:]
    assert left == b""


def test_curl_asks_as_curl_does():
    frames = tcp_frames(run('client.program = "curl"\nclient.requests = ["/bytes/9"]'), leaving=False)
    asked = b"".join(f["data"] for f in frames)
    assert (
        asked == b"GET /bytes/9 HTTP/1.1\r\nHost: 192.0.2.1\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n"
    )
