"""What a value of a scenario file may be: reading it, writing it, and saying what is allowed.

Knows: one small class per kind of value (whole number, choice, time, address, ...).
Must not know: which keys exist (`model`), or in which file and line a value stands (`load`).

Each kind turns what TOML holds into what the model uses, and back. Times stand as milliseconds in a file
and are integer nanoseconds inside; decimal fractions are read exactly (`decimal`), so that no float ever
holds a time. A kind refuses with `Refused`, and `load` adds file, line and key.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from pcaptool.errors import printable

__all__ = [
    "Choice",
    "Flag",
    "HeaderPairs",
    "Ipv4",
    "Ipv6",
    "Kind",
    "Mac",
    "Megabits",
    "Millis",
    "Moment",
    "NumberList",
    "Percent",
    "Refused",
    "Request",
    "RequestList",
    "Sizes",
    "Text",
    "Whole",
    "quoted",
    "shown",
]

_MS = 1_000_000
_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Refused(ValueError):  # noqa: N818 - it says what happened, and never leaves this room
    """A value that its kind does not allow; the text says what is wrong with it."""


def shown(value: object) -> str:
    """A TOML value as a person wrote it, short enough for one line.

    Examples
    --------
    >>> shown(True), shown("ones"), shown([1, "a"])
    ('true', "'ones'", "[1, 'a']")
    """
    match value:
        case bool():
            text = "true" if value else "false"
        case list():
            text = "[" + ", ".join(shown(v) for v in value[:5]) + (", ...]" if len(value) > 5 else "]")
        case dict():
            text = "a table"
        case str():
            text = repr(value)
        case _:
            text = str(value)
    return printable(text if len(text) <= 60 else text[:56] + " ...")


class Kind(ABC):
    """A kind of value."""

    @abstractmethod
    def read(self, raw: Any) -> Any:
        """The model's value of a TOML value, or `Refused`."""

    @abstractmethod
    def write(self, value: Any) -> str:
        """The TOML literal of a model's value."""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What is allowed, so that "x is not {allowed}" is a sentence."""

    def refuse(self, raw: Any) -> Refused:
        """The usual refusal."""
        return Refused(f"{shown(raw)} is not {self.allowed}")


def quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True)
class Whole(Kind):
    """A whole number within bounds.

    Examples
    --------
    >>> Whole(1, 65535).allowed
    'a whole number from 1 to 65535'
    """

    low: int = 0
    high: int = 2**63 - 1

    def read(self, raw: Any) -> int:
        """An integer; a boolean is none."""
        if isinstance(raw, int) and not isinstance(raw, bool) and self.low <= raw <= self.high:
            return raw
        raise self.refuse(raw)

    def write(self, value: int) -> str:
        """Plain digits."""
        return str(value)

    @property
    def allowed(self) -> str:
        """The bounds."""
        if self.high == 2**63 - 1:
            return f"a whole number from {self.low} on"
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    """Yes or no; a kernel switch (`sysctl`) may also be written 0 or 1, as the kernel does."""

    sysctl: bool = False

    def read(self, raw: Any) -> bool:
        """A boolean."""
        if isinstance(raw, bool) or (self.sysctl and isinstance(raw, int) and raw in (0, 1)):
            return bool(raw)
        raise self.refuse(raw)

    def write(self, value: bool) -> str:
        """TOML's words."""
        return "true" if value else "false"

    @property
    def allowed(self) -> str:
        """Both words."""
        return "true or false (or 1, 0)" if self.sysctl else "true or false"


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One word, or one number, out of a registry."""

    words: tuple[str, ...] | tuple[int, ...]

    def read(self, raw: Any) -> str | int:
        """The word itself."""
        if not isinstance(raw, bool) and isinstance(raw, str | int) and raw in self.words:
            return raw
        raise self.refuse(raw)

    def write(self, value: str | int) -> str:
        """Words are quoted."""
        return quoted(value) if isinstance(value, str) else str(value)

    @property
    def allowed(self) -> str:
        """All words."""
        return f"one of {', '.join(str(w) for w in self.words)}" if self.words else "available yet"


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """A string that a regular expression matches as a whole."""

    says: str = "a string"
    pattern: str = r"(?s:.*)"

    def read(self, raw: Any) -> str:
        """The string itself."""
        if isinstance(raw, str) and re.fullmatch(self.pattern, raw):
            return raw
        raise self.refuse(raw)

    def write(self, value: str) -> str:
        """Quoted."""
        return quoted(value)

    @property
    def allowed(self) -> str:
        """In words."""
        return self.says


@dataclass(frozen=True, slots=True)
class Decimals(Kind):
    """A number with a decimal fraction, held as a whole number of a smaller unit."""

    scale: int
    unit: str
    small_unit: str
    low: int = 0
    high: int = 10**18

    def read(self, raw: Any) -> int:
        """Exactly, or not at all."""
        if isinstance(raw, bool) or not isinstance(raw, int | Decimal) or not Decimal(raw).is_finite():
            raise self.refuse(raw)
        if not self.low <= raw * self.scale <= self.high:
            raise self.refuse(raw)
        exact = Decimal(raw) * self.scale
        if exact != exact.to_integral_value():
            raise Refused(f"{shown(raw)} is finer than a {self.small_unit}")
        return int(exact)

    def write(self, value: int) -> str:
        """As short as it is exact."""
        whole, rest = divmod(value, self.scale)
        if not rest:
            return str(whole)
        digits = str(rest).rjust(len(str(self.scale)) - 1, "0").rstrip("0")
        return f"{whole}.{digits}"

    @property
    def allowed(self) -> str:
        """The bounds in the large unit."""
        return f"{self.unit} from {self.write(self.low)} to {self.write(self.high)}"


def Millis(low_ns: int = 0, high_ns: int = 3600 * _SECOND) -> Decimals:  # noqa: N802 - reads as a kind
    """A time: milliseconds in the file, nanoseconds inside.

    Examples
    --------
    >>> Millis().read(Decimal("0.25")), Millis().write(250_001)
    (250000, '0.250001')
    """
    return Decimals(_MS, "a time in milliseconds", "nanosecond", low_ns, high_ns)


def Percent() -> Decimals:  # noqa: N802 - reads as a kind
    """A share: percent in the file, millionths inside."""
    return Decimals(10_000, "a share in percent", "ten-thousandth of a percent", 0, 1_000_000)


def Megabits() -> Decimals:  # noqa: N802 - reads as a kind
    """A rate: megabits per second in the file, bits per second inside."""
    return Decimals(1_000_000, "a rate in megabits per second", "bit per second", 0, 10**12)


@dataclass(frozen=True, slots=True)
class Moment(Kind):
    """A point in time: an offset date-time, or whole nanoseconds since 1970.

    Examples
    --------
    >>> Moment().read(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)), Moment().write(1_500_000_000)
    (1000000000, '1970-01-01T00:00:01.500000Z')
    """

    def read(self, raw: Any) -> int:
        """Nanoseconds since 1970 UTC."""
        if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**63:
            return raw
        if isinstance(raw, datetime) and raw.tzinfo is not None and raw >= _EPOCH:
            value = (raw - _EPOCH) // timedelta(microseconds=1) * 1000
            if value < 2**63:
                return value
        raise self.refuse(raw)

    def write(self, value: int) -> str:
        """A date where it is whole microseconds, digits where it is not."""
        if value % 1000:
            return str(value)
        when = _EPOCH + timedelta(microseconds=value // 1000)
        return when.replace(tzinfo=None).isoformat() + "Z"

    @property
    def allowed(self) -> str:
        """Both forms."""
        return "a date and time with an offset (2026-01-01T00:00:00Z) or nanoseconds since 1970"


@dataclass(frozen=True, slots=True)
class Mac(Kind):
    """An Ethernet address, held in small letters."""

    def read(self, raw: Any) -> str:
        """Six pairs of hexadecimal digits; no group address."""
        if isinstance(raw, str) and re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", raw):
            if int(raw[:2], 16) & 1:
                raise Refused(f"{shown(raw)} is a group address; an interface needs one of its own")
            return raw.lower()
        raise self.refuse(raw)

    def write(self, value: str) -> str:
        """Quoted."""
        return quoted(value)

    @property
    def allowed(self) -> str:
        """An example."""
        return "an Ethernet address such as 02:00:00:00:00:01"


@dataclass(frozen=True, slots=True)
class Ipv4(Kind):
    """An IPv4 unicast address."""

    def read(self, raw: Any) -> str:
        """Dotted quad."""
        return _address(self, raw, ipaddress.IPv4Address)

    def write(self, value: str) -> str:
        """Quoted."""
        return quoted(value)

    @property
    def allowed(self) -> str:
        """An example."""
        return "an IPv4 unicast address such as 192.0.2.1"


@dataclass(frozen=True, slots=True)
class Ipv6(Kind):
    """An IPv6 unicast address, held in its canonical form (RFC 5952)."""

    def read(self, raw: Any) -> str:
        """Canonical form."""
        return _address(self, raw, ipaddress.IPv6Address)

    def write(self, value: str) -> str:
        """Quoted."""
        return quoted(value)

    @property
    def allowed(self) -> str:
        """An example."""
        return "an IPv6 unicast address such as 2001:db8::1"


def _address(kind: Kind, raw: Any, of: type[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> str:
    if isinstance(raw, str) and "%" not in raw:
        try:
            address = of(raw)
        except ValueError:
            raise kind.refuse(raw) from None
        if not (address.is_multicast or address.is_unspecified or address.is_loopback):
            return str(address)
    raise kind.refuse(raw)


@dataclass(frozen=True, slots=True)
class NumberList(Kind):
    """Whole numbers; a sysctl of three may also be written as the kernel prints it, "4096 16384 4194304"."""

    of: Whole
    count: int | None = None
    rising: bool = False

    def read(self, raw: Any) -> tuple[int, ...]:
        """A tuple."""
        if isinstance(raw, str) and self.count and re.fullmatch(r"\d+(\s+\d+)*", raw):
            raw = [int(word) for word in raw.split()]
        if not isinstance(raw, list) or not raw or self.count not in (None, len(raw)):
            raise self.refuse(raw)
        values = tuple(self.of.read(v) for v in raw)
        if self.rising and any(a >= b for a, b in itertools.pairwise(values)):
            raise Refused(f"{shown(raw)} is not in rising order")
        return values

    def write(self, value: Iterable[int]) -> str:
        """An array."""
        return "[" + ", ".join(str(v) for v in value) + "]"

    @property
    def allowed(self) -> str:
        """Count and bounds."""
        what = self.of.allowed.removeprefix("a whole number")
        return f"a list of {self.count or 'one or more'} whole numbers, each{what}"


@dataclass(frozen=True, slots=True)
class Sizes(Kind):
    """Sizes in bytes, none or more."""

    most: int = 60_000

    def read(self, raw: Any) -> tuple[int, ...]:
        """A tuple."""
        if not isinstance(raw, list):
            raise self.refuse(raw)
        one = Whole(0, self.most)
        return tuple(one.read(v) for v in raw)

    def write(self, value: Iterable[int]) -> str:
        """An array."""
        return "[" + ", ".join(str(v) for v in value) + "]"

    @property
    def allowed(self) -> str:
        """The bounds."""
        return f"a list of whole numbers from 0 to {self.most}"


@dataclass(frozen=True, slots=True)
class HeaderPairs(Kind):
    """Header fields in order: [[name, value], ...]; values may hold the given placeholders."""

    placeholders: tuple[str, ...] = ()

    def read(self, raw: Any) -> tuple[tuple[str, str], ...]:
        """Pairs of a field name (RFC 9110 5.1) and a value without control characters."""
        if not isinstance(raw, list):
            raise self.refuse(raw)
        return tuple(self._pair(pair) for pair in raw)

    def _pair(self, pair: Any) -> tuple[str, str]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(v, str) for v in pair)):
            raise Refused(f"{shown(pair)} is not a pair of strings [name, value]")
        name, value = pair
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise Refused(f"{shown(name)} is not a header field name (RFC 9110 section 5.1)")
        if not re.fullmatch(r"[\t\x20-\x7e\xa0-\xff]*", value):
            raise Refused(f"{shown(value)} is not a header field value: control or non-Latin-1 character")
        for word in re.findall(r"\{[^{}]*\}", value):
            if word not in self.placeholders:
                raise Refused(f"{word} is not one of the placeholders {', '.join(self.placeholders)}")
        return name, value

    def write(self, value: Iterable[tuple[str, str]]) -> str:
        """An array of arrays."""
        return "[" + ", ".join(f"[{quoted(n)}, {quoted(v)}]" for n, v in value) + "]"

    @property
    def allowed(self) -> str:
        """The form, and the placeholders."""
        return f"a list of pairs [name, value]; placeholders: {', '.join(self.placeholders)}"


class Request(NamedTuple):
    """One request: what the client asks for."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class RequestList(Kind):
    """Requests of one connection: paths (GET), or [method, path]."""

    def read(self, raw: Any) -> tuple[Request, ...]:
        """Requests in the order of sending."""
        if not isinstance(raw, list) or not raw:
            raise self.refuse(raw)
        return tuple(self._request(item) for item in raw)

    def _request(self, item: Any) -> Request:
        method, path = (
            ("GET", item) if isinstance(item, str) else (tuple(item) if _is_pair(item) else ("", ""))
        )
        if method not in ("GET", "HEAD") or not re.fullmatch(r"/[\x21-\x7e]*", path):
            raise Refused(f'{shown(item)} is not a path such as "/x", or ["HEAD", "/x"] (methods: GET, HEAD)')
        return Request(method, path)

    def write(self, value: Iterable[Request]) -> str:
        """Paths alone where the method is GET."""
        items = (quoted(p) if m == "GET" else f"[{quoted(m)}, {quoted(p)}]" for m, p in value)
        return "[" + ", ".join(items) + "]"

    @property
    def allowed(self) -> str:
        """The form."""
        return 'a list of one or more paths ("/x", or ["HEAD", "/x"])'


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(isinstance(v, str) for v in item)
