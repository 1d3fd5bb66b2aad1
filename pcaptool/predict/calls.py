"""What a server program did on a connection: calls and their times; the calls of a program that says who it is.

Knows: the calls that a driven run repeats; that nginx names itself in its answers, and what it calls then.
Must not know: how the calls of an unknown program are told from its frames (`infer`), or what a call does.
nginx's calls are those of `stack.application.nginx`. Which of its settings are in force shows where frames end: behind
the head (`tcp_nopush off`), or behind the head and a multiple of its 32 KiB buffers (`sendfile off`).
Leaves out: other programs that name themselves; answers of nginx that are not one whole response.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pcaptool.predict.probes import Watch

__all__ = ["Program", "Write", "known_program"]

Call = Literal["send", "send_some", "sendfile", "cork", "uncork", "nodelay"]

OUTPUT_BUFFER_BYTES = 32768  # output_buffers 2 32k
LEAST_HEAD_BYTES, HEAD_BYTES, MOST_HEAD_BYTES = 150, 240, 400  # of nginx's answers for a file
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
NGINX = re.compile(rb"^HTTP/1\.[01] \d+ [^\r]*\r\n(?:[^\r]+\r\n)*?server: nginx", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Write:
    """A call of a program.

    Parameters
    ----------
    time_ns : int
        When it began, if it did not begin later, as the one before it was not over.
    data : bytes
    call : str
        "send" blocks, "send_some" and "sendfile" wait for room and go on; the others write nothing.
    """

    time_ns: int
    data: bytes = b""
    call: Call = "send"


@dataclass(frozen=True, slots=True)
class Program:
    """What the server's program did on one connection.

    Parameters
    ----------
    writes : tuple of Write
    close_ns : int or None
        When it closed, None if it did not.
    nodelay : bool
        Whether it must have set TCP_NODELAY.
    reset : bool
        Whether it closed by a reset.
    watch : Watch or None
        SO_KEEPALIVE, where probes show it.
    """

    writes: tuple[Write, ...]
    close_ns: int | None
    nodelay: bool
    reset: bool
    watch: Watch | None = None


def known_program(answer: bytes, ends: list[int], first_ns: int) -> list[Write]:
    r"""The calls of a program that names itself, from the bytes that follow one request; none if it is not known.

    Parameters
    ----------
    answer : bytes
    ends : list of int
        Behind which of them frames ended.
    first_ns : int
        When the first call was made.

    Examples
    --------
    >>> head = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 9\r\n\r\n"
    >>> [write.call for write in known_program(head + b"x" * 9, [len(head) + 9], 0)]
    ['cork', 'send_some', 'sendfile', 'uncork']
    >>> known_program(head.replace(b"nginx", b"other") + b"x" * 9, [len(head) + 9], 0)
    []
    """
    if not NGINX.search(answer):
        return []
    head_bytes = _head_bytes(answer, ends)
    head, body = answer[:head_bytes], answer[head_bytes:]
    length, kept = LENGTH.search(head), not CLOSES.search(head)
    if head_bytes <= 0 or (length is not None and int(length[1]) != len(body)):
        return []
    if not body:
        return [Write(first_ns, head, "send_some")]
    if any(end > head_bytes and (end - head_bytes) % OUTPUT_BUFFER_BYTES == 0 for end in ends[:-1]):
        pieces = [body[at : at + OUTPUT_BUFFER_BYTES] for at in range(0, len(body), OUTPUT_BUFFER_BYTES)]
        pieces[0] = head + pieces[0]
        calls = [Write(first_ns, piece, "send_some") for piece in pieces]
        return [*calls, Write(first_ns, call="nodelay")] if kept else calls
    if head_bytes in ends:
        calls = [Write(first_ns, head, "send_some"), Write(first_ns, body, "sendfile")]
        return [*calls, Write(first_ns, call="nodelay")] if kept else calls
    calls = [
        Write(first_ns, call="cork"),
        Write(first_ns, head, "send_some"),
        Write(first_ns, body, "sendfile"),
    ]
    return [*calls, Write(first_ns, call="uncork")] if kept else calls


def _head_bytes(answer: bytes, ends: list[int]) -> int:
    """Length of the head; where the capture cut it short, by the body's length, by where frames end, or a usual one."""
    found = answer.find(b"\r\n\r\n")
    if found >= 0:
        return found + 4
    if length := LENGTH.search(answer):
        return len(answer) - int(length[1])
    for end in ends:
        left = end % OUTPUT_BUFFER_BYTES
        if LEAST_HEAD_BYTES <= left <= MOST_HEAD_BYTES:
            return left
    return min(HEAD_BYTES, len(answer))
