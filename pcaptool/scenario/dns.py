"""The bytes of a small DNS conversation: questions for TXT records, and answers of any size.

Knows: DNS message syntax as far as these two programs use it (RFC 1035 section 4, RFC 6891 for EDNS).
Must not know: sockets, or when anything is sent. The modelled stack and a real responder share it.
A question asks for `tSIZE.example`: the answer is one TXT record of that many letters, which makes datagrams of any
size, also beyond the MTU.
"""

from __future__ import annotations

import struct

__all__ = ["answer_bytes", "asked_size", "query_bytes"]

_TXT, _IN, _OPT = 16, 1, 41
_EDNS = b"\0" + struct.pack("!HHIH", _OPT, 65535, 0, 0)  # the largest datagram is welcome
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_STRING_BYTES = 255


def query_bytes(number: int, size: int) -> bytes:
    r"""Question `number`, for an answer of `size` letters.

    Examples
    --------
    >>> len(query_bytes(1, 0)), query_bytes(1, 100)[12:27]
    (39, b'\x04t100\x07example\x00\x00')
    """
    label = f"t{size}".encode()
    name = bytes([len(label)]) + label + b"\7example\0"
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 1) + name + struct.pack("!HH", _TXT, _IN) + _EDNS


def asked_size(query: bytes) -> int:
    """How many letters a question asks for.

    Examples
    --------
    >>> asked_size(query_bytes(7, 4000))
    4000
    """
    return int(query[14 : 13 + query[12]])


def answer_bytes(query: bytes) -> bytes:
    """The answer to a question.

    Examples
    --------
    >>> [len(answer_bytes(query_bytes(1, size))) for size in (0, 100, 1400, 20000)]
    [52, 154, 1460, 20134]
    """
    size = asked_size(query)
    text = (_LETTERS * (size // len(_LETTERS) + 1))[:size]
    strings = (text[at : at + _STRING_BYTES] for at in range(0, max(1, size), _STRING_BYTES))
    data = b"".join(bytes([len(string)]) + string for string in strings)
    record = b"\xc0\x0c" + struct.pack("!HHIH", _TXT, _IN, 300, len(data)) + data
    question = query[12 : len(query) - len(_EDNS)]
    return query[:2] + struct.pack("!5H", 0x8580, 1, 1, 0, 1) + question + record + _EDNS
