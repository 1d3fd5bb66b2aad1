"""Queueing disciplines as tc writes them: names, parameters, units, defaults.

Knows: the grammar of `tc qdisc add ... root WORDS` for the disciplines that the model has (tc-tbf(8), tc-fq(8),
tc-fq_codel(8), tc-netem(8)), and tc's units (tc(8), "UNITS").
Must not know: what a discipline does (`stack.qdisc`).
Sizes are bytes ("kb" is 1024), rates bits a second ("mbit" is 10**6), times nanoseconds (a bare number is
microseconds, as in tc), shares parts in 10**9.
Leaves out: netem's correlations, distributions and slots, tbf's peak rate, filters and classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from pcaptool.scenario.kinds import Kind, Refused, quoted, shown

__all__ = ["DISCIPLINES", "Discipline", "Parameter", "QdiscPlan", "QdiscWords", "parse_qdisc"]

SHARE = 10**9

_SIZE_UNITS = {"": 1, "b": 1, "k": 1024, "kb": 1024, "m": 1024**2, "mb": 1024**2, "g": 1024**3, "gb": 1024**3}
_SIZE_UNITS |= {"kbit": 128, "mbit": 128 * 1024, "gbit": 128 * 1024**2}
_RATE_UNITS = {"": 1, "bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
_RATE_UNITS |= {"kibit": 2**10, "mibit": 2**20, "gibit": 2**30}
_RATE_UNITS |= {"bps": 8, "kbps": 8 * 10**3, "mbps": 8 * 10**6, "gbps": 8 * 10**9}
_TIME_UNITS = {"": 10**3, "us": 10**3, "usec": 10**3, "usecs": 10**3, "ns": 1, "nsec": 1, "nsecs": 1}
_TIME_UNITS |= {"ms": 10**6, "msec": 10**6, "msecs": 10**6, "s": 10**9, "sec": 10**9, "secs": 10**9}
_SHARE_UNITS = {"%": SHARE // 100}


def _quantity(units: dict[str, int], what: str) -> Callable[[str], int]:
    def read(word: str) -> int:
        match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)([a-zA-Z%]*)", word)
        if match is None or match[2].lower() not in units:
            raise Refused(f"{shown(word)} is not {what}")
        try:
            return int(Decimal(match[1]) * units[match[2].lower()])
        except InvalidOperation:
            raise Refused(f"{shown(word)} is not {what}") from None

    return read


def _count(word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", word):
        raise Refused(f"{shown(word)} is not a whole number")
    return int(word)


_SIZE = _quantity(_SIZE_UNITS, 'a size such as "32kb"')
_RATE = _quantity(_RATE_UNITS, 'a rate such as "10mbit"')
_TIME = _quantity(_TIME_UNITS, 'a time such as "400ms"')


def _share(word: str) -> int:
    value = _quantity(_SHARE_UNITS, 'a share such as "1%"')(word)
    if value > SHARE:
        raise Refused(f"{shown(word)} is more than 100%")
    return value


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a discipline.

    Parameters
    ----------
    name : str
        tc's word.
    read : callable or None
        From the word behind it to a value; None for a switch without value.
    default : int or None
        None: not given.
    also : str
        Name of a second value that may follow ("delay 10ms 2ms"), "" where none may.
    """

    name: str
    read: Callable[[str], int] | None
    default: int | None = None
    also: str = ""


@dataclass(frozen=True, slots=True)
class Discipline:
    """A queueing discipline's words."""

    parameters: tuple[Parameter, ...] = ()
    required: tuple[tuple[str, ...], ...] = ()  # of each group exactly one must be given


@dataclass(frozen=True, slots=True)
class QdiscPlan:
    """A discipline with its parameters, defaults filled in.

    Examples
    --------
    >>> plan = parse_qdisc("tbf rate 10mbit burst 32kb latency 400ms")
    >>> plan.name, plan["rate"], plan["burst"], plan["latency"]
    ('tbf', 10000000, 32768, 400000000)
    """

    name: str
    values: dict[str, int | None]

    def __getitem__(self, name: str) -> int:
        """A parameter that has a value."""
        value = self.values[name]
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str) -> int | None:
        """A parameter that may have none."""
        return self.values[name]


DISCIPLINES: dict[str, Discipline] = {
    "noqueue": Discipline(),
    "pfifo": Discipline((Parameter("limit", _count, 1000),)),
    "bfifo": Discipline((Parameter("limit", _SIZE, 1000 * 1514),)),
    "pfifo_fast": Discipline(),
    "tbf": Discipline(
        (
            Parameter("rate", _RATE),
            Parameter("burst", _SIZE),
            Parameter("latency", _TIME),
            Parameter("limit", _SIZE),
        ),
        (("rate",), ("burst",), ("latency", "limit")),
    ),
    "fq": Discipline(
        (
            Parameter("limit", _count, 10_000),
            Parameter("flow_limit", _count, 100),
            Parameter("quantum", _SIZE),
            Parameter("initial_quantum", _SIZE),
            Parameter("maxrate", _RATE),
            Parameter("pacing", None),
            Parameter("nopacing", None),
        )
    ),
    "fq_codel": Discipline(
        (
            Parameter("limit", _count, 10_240),
            Parameter("flows", _count, 1024),
            Parameter("target", _TIME, 5_000_000),
            Parameter("interval", _TIME, 100_000_000),
            Parameter("quantum", _SIZE),
            Parameter("memory_limit", _SIZE, 32 * 1024**2),
            Parameter("ecn", None),
            Parameter("noecn", None),
        )
    ),
    "netem": Discipline(
        (
            Parameter("limit", _count, 1000),
            Parameter("delay", _TIME, 0, also="jitter"),
            Parameter("jitter", _TIME, 0),
            Parameter("loss", _share, 0),
            Parameter("duplicate", _share, 0),
            Parameter("reorder", _share, 0),
            Parameter("gap", _count, 0),
            Parameter("rate", _RATE, 0),
        )
    ),
}


def parse_qdisc(text: str) -> QdiscPlan:
    """A discipline's words as values.

    Raises
    ------
    Refused
        An unknown name, an unknown or missing parameter, a value that is none.
    """
    words = text.split()
    if not words or words[0] not in DISCIPLINES:
        raise Refused(f"{shown(text)} is not one of {', '.join(DISCIPLINES)} (with tc's parameters)")
    name, rest = words[0], words[1:]
    discipline = DISCIPLINES[name]
    known = {p.name: p for p in discipline.parameters}
    values: dict[str, int | None] = {p.name: p.default for p in discipline.parameters}
    given: set[str] = set()
    while rest:
        word = rest.pop(0)
        parameter = known.get(word)
        if parameter is None or word == "jitter":
            takes = (
                f"it takes {', '.join(n for n in known if n != 'jitter')}" if known else "it takes nothing"
            )
            raise Refused(f"{name} does not take {shown(word)} here: {takes}")
        given.add(word)
        values[word] = _value(name, parameter, rest)
        if parameter.also and rest and rest[0] not in known:
            values[parameter.also] = _value(name, known[parameter.also], rest)
    for group in discipline.required:
        if len(given & set(group)) != 1:
            raise Refused(f"{name} needs {' or '.join(group)}{' once' if len(group) > 1 else ''}")
    _check(name, values)
    return QdiscPlan(name, values)


def _value(name: str, parameter: Parameter, rest: list[str]) -> int:
    if parameter.read is None:
        return 1
    if parameter.name == "loss" and rest and rest[0] == "random":
        rest.pop(0)
    if not rest:
        raise Refused(f"{name}: {parameter.name} needs a value")
    return parameter.read(rest.pop(0))


def _check(name: str, values: dict[str, int | None]) -> None:
    """What tc or the kernel refuses, too."""
    for zero in ("rate", "burst", "flows", "quantum", "target", "interval"):
        if values.get(zero) == 0 and not (name == "netem" and zero == "rate"):
            raise Refused(f"{name}: {zero} must be more than 0")
    if name == "netem" and values["reorder"] and not values["delay"]:
        raise Refused("netem: reorder needs a delay (the frames that are not delayed overtake the others)")


@dataclass(frozen=True, slots=True)
class QdiscWords(Kind):
    """A queueing discipline in tc's words."""

    def read(self, raw: object) -> str:
        """Single spaces between the words."""
        if not isinstance(raw, str):
            raise self.refuse(raw)
        parse_qdisc(raw)
        return " ".join(raw.split())

    def write(self, value: str) -> str:
        """Quoted."""
        return quoted(value)

    @property
    def allowed(self) -> str:
        """All names."""
        return f"one of {', '.join(DISCIPLINES)}, with tc's parameters (docs/stack/qdisc.md)"
