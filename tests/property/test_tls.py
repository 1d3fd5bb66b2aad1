"""TLS: a handshake is the same however it was cut, repeated or reordered; garbage never raises; JA4 is as published."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.analyze.tls import TlsAnalysis
from pcaptool.analyze.tls_hello import ClientHello, parse_client, parse_server
from pcaptool.analyze.tls_records import TlsConnection
from tests.tls_captures import talk

ISN = 2**32 - 300  # so that every stream wraps around


@pytest.fixture(scope="module")
def flights():
    return talk(ssl.TLSVersion.TLSv1_2)


def read(parts):
    """The row of a connection whose segments are given: side, position in its stream, bytes, packet."""
    connection = TlsConnection()
    for stream in connection.streams:
        stream.begin(ISN)
    for side, at, data, n in parts:
        connection.segment(side, (ISN + at) % 2**32, data, n, n * 1000)
    connection.end("the capture ends first")
    return TlsAnalysis().columns([(0, found) for found in connection.take_all()])


def plain(columns):
    """Columns without the packets and times, which depend on how segments were cut."""
    told = {k: v for k, v in columns.items() if not k.endswith(("_n", "_ts", "_time_ns"))}
    return {
        k: [list(map(list, v.values.reshape(1, -1)))] if hasattr(v, "values") else v for k, v in told.items()
    }


def whole(flights):
    at, out = [0, 0], []
    for n, (client, raw) in enumerate(flights, 1):
        side = int(not client)
        out.append((side, at[side], raw, n))
        at[side] += len(raw)
    return out


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_cut_repeated_and_reordered(flights, data):
    wanted = plain(read(whole(flights)))
    assert wanted["server_name"] == ["www.example.org"]
    parts = []
    for side, at, raw, n in whole(flights):
        size = data.draw(st.integers(3, 400))
        pieces = [(side, at + k, raw[k : k + size], n * 1000 + k) for k in range(0, len(raw), size)]
        if len(pieces) > 1 and data.draw(st.booleans()):
            k = data.draw(st.integers(0, len(pieces) - 2))
            pieces[k], pieces[k + 1] = pieces[k + 1], pieces[k]
        if data.draw(st.booleans()):
            pieces.append(data.draw(st.sampled_from(pieces)))
        parts += pieces
    assert plain(read(parts)) == wanted


@given(st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=60), st.booleans()), max_size=8))
def test_garbage_never_raises(pieces):
    at, parts = [0, 0], []
    for n, (side, raw, framed) in enumerate(pieces, 1):
        data = b"\x16\x03\x01" + len(raw).to_bytes(2, "big") + raw if framed else raw
        parts.append((side, at[side], data, n))
        at[side] += len(data)
    read(parts)


@given(st.binary(max_size=300))
def test_hellos_of_garbage(raw):
    parse_client(raw).ja4()
    parse_client(raw).ja3_full()
    parse_server(raw).ja3s_full()


@given(st.data())
def test_a_hello_that_is_cut_is_not_complete(flights, data):
    hello = flights[0][1][9:]
    assert parse_client(hello).complete
    cut = parse_client(hello[: data.draw(st.integers(0, len(hello) - 1))])
    assert not cut.complete or not cut.extensions  # a hello without extensions is one, too


def test_ja4_of_its_published_example():
    """The worked example of the description of JA4 (FoxIO), GREASE added."""
    ciphers = "002f 0035 009c 009d 1301 1302 1303 c013 c014 c02b c02c c02f c030 cca8 cca9"
    extensions = "0005 000a 000b 000d 0012 0015 0017 001b 0023 002b 002d 0033 4469 ff01"
    signatures = "0403 0804 0401 0503 0805 0501 0806 0601"
    hello = ClientHello(
        version=0x0303,
        versions=[0x4A4A, 0x0304, 0x0303],
        ciphers=[0x1A1A, *(int(word, 16) for word in reversed(ciphers.split()))],
        extensions=[0x2A2A, 0, 16, *(int(word, 16) for word in reversed(extensions.split()))],
        signatures=[int(word, 16) for word in signatures.split()],
        alpn=[b"h2", b"http/1.1"],
    )
    assert hello.ja4() == "t13d1516h2_8daaf6152771_e5627efa2ab1"
