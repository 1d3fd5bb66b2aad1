"""Bodies as files: what names they get, what is in them, and that a folder appears whole or not at all."""

from __future__ import annotations

import gzip
import json

import pytest

from pcaptool.analyze.bodies import Bodies
from pcaptool.analyze.flows import FlowAnalysis
from pcaptool.analyze.http import HttpAnalysis
from pcaptool.errors import OutputError

C, S = ("192.0.2.1", "192.0.2.2", 5000, 80), ("192.0.2.2", "192.0.2.1", 80, 5000)
EVIL = b"GET /../../etc/passwd%00\x1b[31m HTTP/1.1\r\nHost: h\r\n\r\n"


def run(by_hand, segments, folder, **bounds):
    with Bodies(folder, **bounds) as bodies:
        flows, http = FlowAnalysis(), HttpAnalysis()
        http.extract(bodies)
        for batch in by_hand.split(segments, 3):
            flows.feed(batch)
            http.feed(batch)
        http.finish()
    about = json.loads((folder / "bodies.json").read_text())
    return {body["file"]: (body, (folder / body["file"]).read_bytes()) for body in about["bodies"]}, about


def talk(by_hand, request, response, sizes=(7,), lost=()):
    """One exchange; the response in segments, of which some are not captured."""
    out = [by_hand.Segment(*C, seq=1, ack=1, data=request, ts=1)]
    at, k = 0, 0
    while at < len(response):
        size = sizes[k % len(sizes)]
        if k not in lost:
            out.append(
                by_hand.Segment(*S, seq=1 + at, ack=1 + len(request), data=response[at : at + size], ts=2 + k)
            )
        at, k = at + size, k + 1
    out.append(by_hand.Segment(*C, seq=1 + len(request), ack=1 + len(response), data=b"GET /", ts=99))
    return out


def test_chunks_are_joined_and_codings_are_not_undone(by_hand, tmp_path):
    packed = gzip.compress(b"hello " * 20)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (packed[:9], packed[9:]))
    head = b"HTTP/1.1 200 x\r\nContent-Type: text/html; a=b\r\nContent-Encoding: gzip\r\n"
    response = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Sum: 1\r\n\r\n"
    found, _ = run(by_hand, talk(by_hand, EVIL, response), tmp_path / "bodies")
    [(name, (body, data))] = found.items()
    assert name == "flow-000000-exchange-00000-response.html.gz"
    assert gzip.decompress(data) == b"hello " * 20
    assert (body["complete"], body["content_coding"], body["size_bytes"]) == (True, "gzip", len(packed))


@pytest.mark.parametrize("kind", [b"../../x", b"text/html\x1b[0m", b"a/" + b"b" * 5000, b""])
def test_nothing_captured_is_part_of_a_name(by_hand, tmp_path, kind):
    coding = b"../,gzip,x,y,z"
    head = b"HTTP/1.1 200 x\r\nContent-Type: " + kind + b"\r\nContent-Encoding: " + coding + b"\r\n"
    found, _ = run(by_hand, talk(by_hand, EVIL, head + b"Content-Length: 3\r\n\r\nabc"), tmp_path / "b")
    assert list(found) == ["flow-000000-exchange-00000-response.bin.coded.gz.coded"]
    assert {path.name for path in (tmp_path / "b").iterdir()} == {*found, "bodies.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_what_the_capture_lacks_is_zeros(by_hand, tmp_path):
    response = b"HTTP/1.1 200 x\r\nContent-Length: 40\r\n\r\n" + bytes(range(65, 105))
    found, _ = run(by_hand, talk(by_hand, EVIL, response, sizes=(50, 8), lost=(1,)), tmp_path / "b")
    [(body, data)] = found.values()
    missing = slice(50 - (len(response) - 40), 58 - (len(response) - 40))
    wanted = bytearray(range(65, 105))
    wanted[missing] = bytes(8)
    assert (data, body["gap_bytes"], body["size_bytes"]) == (bytes(wanted), 8, 40)


def test_bounds(by_hand, tmp_path):
    response = b"HTTP/1.1 200 x\r\nContent-Length: 40\r\n\r\n" + bytes(range(65, 105))
    found, _ = run(by_hand, talk(by_hand, EVIL, response), tmp_path / "a", body_bytes=10)
    [(body, data)] = found.values()
    assert (len(data), body["left_out_bytes"], body["complete"]) == (10, 30, False)
    found, about = run(by_hand, talk(by_hand, EVIL, response), tmp_path / "b", files=0)
    assert (found, about["left_out"]) == ({}, 1)
    found, _ = run(by_hand, talk(by_hand, EVIL, response), tmp_path / "c", total_bytes=5)
    assert [len(data) for _, data in found.values()] == [5]


def test_whole_or_not_at_all(tmp_path):
    def interrupted():
        with Bodies(tmp_path / "b") as bodies:
            bodies.add(bodies.begin(0, 0, "response", None, None), b"x" * 100_000)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(OutputError, match="not an empty folder"):
        Bodies(tmp_path / "full")


def test_trailers_are_rows(by_hand):
    flows, http = FlowAnalysis(), HttpAnalysis()
    response = (
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum:  1 \r\nY: 2\r\n\r\n"
    )
    [batch] = by_hand.split(talk(by_hand, b"GET / HTTP/1.1\r\n\r\n", response), 1000)
    flows.feed(batch)
    http.feed(batch)
    rows = http.finish()["http"]
    assert rows["response_trailer_names"] == [["X-Sum", "Y"]]
    assert rows["response_trailer_values"] == [["1", "2"]]


def test_overlap_with_other_content_is_noted(by_hand):
    flows, http = FlowAnalysis(), HttpAnalysis()
    request, response = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 x\r\nContent-Length: 20\r\n\r\n" + b"a" * 20
    head = len(response) - 20
    ack = 1 + len(request)
    segments = [
        by_hand.Segment(*C, seq=1, ack=1, data=request, ts=1),
        by_hand.Segment(*S, seq=1, ack=ack, data=response[:head], ts=2),
        by_hand.Segment(*S, seq=1 + head + 10, ack=ack, data=b"a" * 10, ts=3),
        by_hand.Segment(*S, seq=1 + head + 5, ack=ack, data=b"b" * 10, ts=4),
        by_hand.Segment(*S, seq=1 + head, ack=ack, data=b"a" * 5, ts=5),
    ]
    [batch] = by_hand.split(segments, 1000)
    flows.feed(batch)
    http.feed(batch)
    rows = http.finish()["http"]
    assert rows["trouble"] == ["response: overlapping segments differ"]
    assert rows["response_body_bytes"].values.tolist() == [20]
