"""The Internet checksum (RFC 1071) and the pseudo-headers that TCP and UDP add to it.

Knows: ones' complement sums.
Must not know: which field holds the result, or who computes it (stack or device).
The kernel's names are csum_partial, csum_fold, tcp_v4_check; a *partial* checksum (CHECKSUM_PARTIAL) is the
folded, not complemented sum of the pseudo-header alone: what a tap above an offloading device sees.
Complexity: O(bytes); a big-integer modulo does the additions, about 1 GB/s in CPython.
"""

from __future__ import annotations

__all__ = ["complement", "partial_checksum", "pseudo_header", "sum16", "transport_checksum"]


def sum16(data: bytes | bytearray | memoryview, start: int = 0) -> int:
    """Folded ones' complement sum of 16-bit big-endian words, not complemented.

    Parameters
    ----------
    data : bytes
        Summed as if a zero byte followed an odd length.
    start : int
        A folded sum to add to.

    Returns
    -------
    int
        0 to 0xFFFF; 0 only where every byte is zero.

    Examples
    --------
    >>> hex(sum16(bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")))
    '0xffff'
    """
    size = len(data)
    number = int.from_bytes(data, "big")
    if size & 1:
        number <<= 8
    # 2**16 is 1 modulo 0xFFFF, so the sum of the words is the number modulo 0xFFFF; ones' complement
    # addition of something to anything never gives +0, so 0 stands for 0xFFFF unless all is zero.
    total = number + start
    return total % 0xFFFF or (0xFFFF if total else 0)


def complement(folded: int) -> int:
    """The value that is put into a checksum field for a folded sum."""
    return 0xFFFF - folded


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """Pseudo-header of RFC 9293 section 3.1 (IPv4) or RFC 8200 section 8.1 (IPv6), by address size.

    IPv4's length field has 16 bits; a super-packet that is longer than that has none, so it is an error.
    """
    if len(source) == 4:
        return source + destination + bytes((0, protocol)) + length.to_bytes(2, "big")
    return source + destination + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))


def partial_checksum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """What stands in the field while a device is still to complete it (CHECKSUM_PARTIAL)."""
    return sum16(pseudo_header(source, destination, protocol, length))


def transport_checksum(source: bytes, destination: bytes, protocol: int, segment: bytes | memoryview) -> int:
    """Full checksum of a TCP or UDP segment whose checksum field is zero."""
    return complement(sum16(segment, partial_checksum(source, destination, protocol, len(segment))))
