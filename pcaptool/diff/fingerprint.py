r"""Payload bytes as numbers that can be joined: what the diff compares instead of keeping bytes.

Knows: one fingerprint a packet, how fingerprints of consecutive byte ranges join into that of the whole, and
which bytes of an HTTP head are random by nature (Date-like headers), and of a UDP header inside a fragment.
Must not know: flows, alignment, what a difference means.

The fingerprint of bytes is the big-endian number they spell, modulo the product of two safe primes below 2**31
(`engine.loads.remainder`; powers of 256 repeat only after about 2**60 bytes). It joins:
F(x + y) = F(x) * 256**len(y) + F(y); so a super-packet can be compared with its segments while nothing but a
number a packet is held. It is no cryptographic hash: two payloads that somebody crafted for it can collide.
Complexity: O(bytes); 8 bytes a packet are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from pcaptool.diff.arrays import Ints
from pcaptool.engine.loads import PRIME_HIGH, PRIME_LOW

__all__ = [
    "MODULUS",
    "UDP_HEADER_BYTES",
    "fingerprint",
    "joined",
    "mask_http_dates",
    "mask_udp_header",
    "masked_prints",
]

MODULUS = PRIME_HIGH * PRIME_LOW
UDP_HEADER_BYTES = 8
_EPHEMERAL = 32_768  # Linux' net.ipv4.ip_local_port_range begins here; RFC 6335 a little later
_DATED = re.compile(rb"(?i)(?<=\r\n)(date|expires|last-modified|age|etag):[ \t]*([^\r\n]*)")
_HEAD = re.compile(rb"HTTP/1\.[01] \d{3}[^\r\n]*\r\n")


def fingerprint(data: bytes | memoryview) -> int:
    r"""The fingerprint of some bytes.

    Examples
    --------
    >>> fingerprint(b"\x01\x00")
    256
    """
    return int.from_bytes(data, "big") % MODULUS


def joined(parts: Iterable[tuple[int, int]]) -> int:
    """Fingerprint of consecutive parts, each given as (fingerprint, bytes).

    Examples
    --------
    >>> joined([(fingerprint(b"head"), 4), (fingerprint(b"body!"), 5)]) == fingerprint(b"headbody!")
    True
    """
    total = 0
    for print_, size in parts:
        total = (total * pow(256, size, MODULUS) + print_) % MODULUS
    return total


def mask_http_dates(payload: bytes) -> bytes:
    r"""The payload with the values of Date-like headers of HTTP/1 responses overwritten, same length.

    A head is looked for wherever a status line stands; the head must begin in this payload.

    Examples
    --------
    >>> mask_http_dates(b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan\r\nX: 1\r\n\r\nDate: kept")
    b'HTTP/1.1 200 OK\r\nDate: ###########\r\nX: 1\r\n\r\nDate: kept'
    """
    if b"HTTP/1." not in payload:
        return payload
    out = None
    for head in _HEAD.finditer(payload):
        end = payload.find(b"\r\n\r\n", head.end() - 2)
        end = len(payload) if end < 0 else end
        for hit in _DATED.finditer(payload, head.end() - 2, end):
            out = bytearray(payload) if out is None else out
            out[hit.start(2) : hit.end(2)] = b"#" * (hit.end(2) - hit.start(2))
    return payload if out is None else bytes(out)


def mask_udp_header(payload: bytes) -> bytes:
    r"""A first fragment's payload with ephemeral ports, and the checksum that covers them, overwritten.

    Examples
    --------
    >>> mask_udp_header(b"\x00\x35\xbe\x97\x00\x0a\x12\x34hi")
    b'\x005\x00\x00\x00\n\x00\x00hi'
    """
    out = bytearray(payload)
    for at in (0, 2):
        if int.from_bytes(out[at : at + 2], "big") >= _EPHEMERAL:
            out[at : at + 2] = b"\0\0"
    out[6:UDP_HEADER_BYTES] = b"\0\0"
    return bytes(out)


def masked_prints(data: memoryview, starts: Ints, ends: Ints) -> Iterator[tuple[int, int]]:
    """Rows of packets whose payload has Date-like headers, and its fingerprint with their values masked.

    Parameters
    ----------
    data : memoryview
        Of a batch.
    starts, ends : numpy.ndarray of int64
        Where each packet's payload lies in it, in order.
    """
    at = np.array([hit.start() for hit in _HEAD.finditer(data)], np.int64)
    if not len(at):
        return
    rows = np.searchsorted(starts, at, side="right") - 1
    for row in np.unique(rows[rows >= 0]).tolist():
        payload = bytes(data[starts[row] : ends[row]])
        masked = mask_http_dates(payload)
        if masked is not payload:
            yield row, fingerprint(masked)
