r"""Hello messages of TLS, and the fingerprints that are computed from them.

Knows: ClientHello and ServerHello of RFC 5246 section 7.4.1 and RFC 8446 section 4.1, the extensions server_name
(RFC 6066), ALPN (RFC 7301), supported_versions, supported_groups, signature_algorithms; GREASE (RFC 8701); JA3
and JA3S (MD5 of version, ciphers, extensions, groups, point formats), JA4 (the published description of its
TLS client part, over TCP).
Must not know: records, packets.
A hello that lies about a length gives what stands before the fault.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

__all__ = ["ClientHello", "ServerHello", "parse_client", "parse_server", "version_text"]

SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURES, ALPN, VERSIONS = 0, 10, 11, 13, 16, 43
# SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3): such a ServerHello asks for another ClientHello.
RETRY = hashlib.sha256(b"HelloRetryRequest").digest()
_VERSION_WORDS = {0x0300: "SSLv3", 0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_JA4_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}


@dataclass(slots=True)
class _Hello:
    """What both hellos have; numbers as on the wire."""

    version: int = 0
    extensions: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    alpn: list[bytes] = field(default_factory=list)
    complete: bool = False  # read to its end


@dataclass(slots=True)
class ClientHello(_Hello):
    """What a client offers."""

    ciphers: list[int] = field(default_factory=list)
    server_name: bytes | None = None
    groups: list[int] = field(default_factory=list)
    point_formats: list[int] = field(default_factory=list)
    signatures: list[int] = field(default_factory=list)

    def ja3_full(self) -> str:
        """What JA3 is the digest of."""
        lists = (self.ciphers, self.extensions, self.groups, self.point_formats)
        words = (",".join(str(n) for n in values if not is_grease(n)).replace(",", "-") for values in lists)
        return ",".join([str(self.version), *words])

    def ja4(self) -> str:
        """Fingerprint of the hello with sorted ciphers and extensions."""
        versions = [v for v in self.versions if not is_grease(v)] or [self.version]
        ciphers = sorted(f"{n:04x}" for n in self.ciphers if not is_grease(n))
        plain = [n for n in self.extensions if not is_grease(n)]
        named = sorted(f"{n:04x}" for n in plain if n not in {SERVER_NAME, ALPN})
        signatures = ",".join(f"{n:04x}" for n in self.signatures if not is_grease(n))
        extensions = ",".join(named) + (f"_{signatures}" if signatures else "")
        head = f"t{_JA4_VERSIONS.get(max(versions), '00')}{'d' if SERVER_NAME in plain else 'i'}"
        head += f"{min(len(ciphers), 99):02}{min(len(plain), 99):02}{_ja4_alpn(self.alpn)}"
        return f"{head}_{_ja4_digest(','.join(ciphers))}_{_ja4_digest(extensions)}"


@dataclass(slots=True)
class ServerHello(_Hello):
    """What a server chose."""

    cipher: int = 0
    retry: bool = False

    def ja3s_full(self) -> str:
        """What JA3S is the digest of."""
        return f"{self.version},{self.cipher},{'-'.join(map(str, self.extensions))}"


def is_grease(number: int) -> bool:
    """Whether a number is one of RFC 8701's, which mean nothing.

    Examples
    --------
    >>> [is_grease(n) for n in (0x0A0A, 0xFAFA, 0x0A1A, 0x1301)]
    [True, True, False, False]
    """
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def version_text(number: int) -> str:
    """A version's name, or its number.

    Examples
    --------
    >>> version_text(0x0303), version_text(0x7F1C)
    ('TLSv1.2', '0x7f1c')
    """
    return _VERSION_WORDS.get(number, f"0x{number:04x}")


def _ja4_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "000000000000"


def _ja4_alpn(names: list[bytes]) -> str:
    """First and last character of the first name; of its hexadecimal form where one is not alphanumeric."""
    if not names or not names[0]:
        return "00"
    ends = bytes([names[0][0], names[0][-1]])
    if ends.isalnum():
        return ends.decode()
    return f"{ends[0]:02x}"[0] + f"{ends[1]:02x}"[1]


class _Reader:
    """Fields one after the other; one that is not there is empty, and marks the end."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at, self.cut = raw, 0, False

    def take(self, size: int) -> bytes:
        out = self.raw[self.at : self.at + size]
        self.cut |= len(out) < size
        self.at += size
        return out

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size_bytes: int) -> bytes:
        return self.take(self.number(size_bytes))

    @property
    def more(self) -> bool:
        return self.at < len(self.raw) and not self.cut


def _numbers(raw: bytes, size: int = 2) -> list[int]:
    return [int.from_bytes(raw[k : k + size], "big") for k in range(0, len(raw) - size + 1, size)]


def _names(raw: bytes) -> list[bytes]:
    reader, out = _Reader(raw), []
    while reader.more:
        out.append(reader.block(1))
    return out


def parse_client(raw: bytes) -> ClientHello:
    r"""A ClientHello, without the four bytes before it.

    Examples
    --------
    >>> hello = bytes(34) + b"\0" + b"\0\2\x13\x01" + b"\1\0" + b"\0\x07" + b"\0\x2b\0\3\2\3\4"
    >>> parse_client(b"\3\3" + hello[2:]).versions, parse_client(b"\3").complete
    ([772], False)
    """
    reader = _Reader(raw)
    hello = ClientHello(version=reader.number(2))
    reader.take(32)
    reader.block(1)
    hello.ciphers = _numbers(reader.block(2))
    reader.block(1)
    if reader.more:
        extensions = _Reader(reader.block(2))
        while extensions.more:
            kind, value = extensions.number(2), _Reader(extensions.block(2))
            hello.extensions.append(kind)
            _client_extension(hello, kind, value)
        reader.cut |= extensions.cut
    hello.complete = not reader.cut
    return hello


def _client_extension(hello: ClientHello, kind: int, value: _Reader) -> None:
    if kind == SERVER_NAME and len(value.raw) >= 5:
        names = _Reader(value.block(2))
        if names.number(1) == 0:
            hello.server_name = names.block(2)
    elif kind == GROUPS:
        hello.groups = _numbers(value.block(2))
    elif kind == POINT_FORMATS:
        hello.point_formats = _numbers(value.block(1), 1)
    elif kind == SIGNATURES:
        hello.signatures = _numbers(value.block(2))
    elif kind == ALPN:
        hello.alpn = _names(value.block(2))
    elif kind == VERSIONS:
        hello.versions = _numbers(value.block(1))


def parse_server(raw: bytes) -> ServerHello:
    r"""A ServerHello, without the four bytes before it.

    Examples
    --------
    >>> hello = parse_server(b"\3\3" + bytes(32) + b"\0" + b"\x13\x01" + b"\0" + b"\0\6" + b"\0\x2b\0\2\3\4")
    >>> hello.cipher, version_text(hello.versions[0])
    (4865, 'TLSv1.3')
    """
    reader = _Reader(raw)
    hello = ServerHello(version=reader.number(2))
    hello.retry = reader.take(32) == RETRY
    reader.block(1)
    hello.cipher = reader.number(2)
    reader.take(1)
    if reader.more:
        extensions = _Reader(reader.block(2))
        while extensions.more:
            kind, value = extensions.number(2), _Reader(extensions.block(2))
            hello.extensions.append(kind)
            if kind == VERSIONS:
                hello.versions = _numbers(value.raw)
            elif kind == ALPN:
                hello.alpn = _names(value.block(2))
        reader.cut |= extensions.cut
    hello.complete = not reader.cut
    return hello
