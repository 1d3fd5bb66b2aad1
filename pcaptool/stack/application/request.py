"""What a server program needs of a request's head.

Knows: HTTP/1.1 as far as the modelled clients speak it: a head ends at an empty line, requests have no body.
Must not know: sockets.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Request", "take_request"]


class Request(NamedTuple):
    """A request.

    Parameters
    ----------
    method, path : str
    close : bool
        Whether it says that the connection ends with its response.
    """

    method: str
    path: str
    close: bool


def take_request(buffered: bytes) -> tuple[Request | None, bytes]:
    r"""The first whole request of what was read, and the bytes behind it.

    Examples
    --------
    >>> take_request(b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\nGET")
    (Request(method='GET', path='/a', close=True), b'GET')
    >>> take_request(b"GET /a")
    (None, b'GET /a')
    """
    head, end, rest = buffered.partition(b"\r\n\r\n")
    if not end:
        return None, buffered
    first, *fields = head.split(b"\r\n")
    method, path, _ = first.decode("latin-1").split(" ")
    return Request(method, path, any(field.lower() == b"connection: close" for field in fields)), rest
