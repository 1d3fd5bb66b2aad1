"""Whatever a scenario says, its text says again."""

from __future__ import annotations

import tomllib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from pcaptool.errors import ScenarioError
from pcaptool.scenario import Request, Scenario, dump_scenario, parse_scenario
from pcaptool.scenario import kinds as kind_of
from pcaptool.scenario.keys import Section, Sections, keys_of
from pcaptool.scenario.lines import find_lines
from pcaptool.scenario.load import _Reader
from pcaptool.scenario.queueing import QdiscWords

QDISCS = (
    "noqueue",
    "pfifo limit 9",
    "tbf rate 1mbit burst 2kb latency 1s",
    "fq maxrate 2mbit nopacing",
    "fq_codel target 3ms",
    "netem delay 1ms 0.5ms loss 1% reorder 5% gap 3",
)


def numbers(kind):
    return st.integers(kind.low, kind.high)


TOKENS = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True)
VALUES = st.text(
    st.characters(
        min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="{}", categories=("L", "N", "P", "Zs")
    ),
    max_size=12,
).filter(lambda s: all(not 0x7F <= ord(c) < 0xA0 for c in s))
PATHS = st.from_regex(r"/[\x21-\x7e]{0,12}", fullmatch=True)
STRATEGIES = {
    kind_of.Whole: numbers,
    kind_of.Decimals: numbers,
    kind_of.Flag: lambda _: st.booleans(),
    kind_of.Choice: lambda k: st.sampled_from(k.words),
    kind_of.Text: lambda k: st.from_regex(k.pattern, fullmatch=True),
    kind_of.Moment: lambda _: st.integers(0, 2**63 - 1),
    kind_of.Mac: lambda _: st.from_regex(r"0[02468ace](:[0-9a-f]{2}){5}", fullmatch=True),
    kind_of.Ipv4: lambda _: st.integers(1, 100).map(lambda n: f"198.51.100.{n}"),
    kind_of.Ipv6: lambda _: st.integers(1, 9).map(lambda n: f"2001:db8::{n}"),
    kind_of.NumberList: lambda k: st.lists(
        numbers(k.of), min_size=k.count or 1, max_size=k.count or 4, unique=True
    ).map(lambda v: tuple(sorted(v))),
    kind_of.HeaderPairs: lambda k: st.lists(
        st.tuples(TOKENS, st.one_of(VALUES, st.sampled_from(k.placeholders)))
    ).map(tuple),
    kind_of.RequestList: lambda _: st.lists(
        st.builds(Request, st.sampled_from(["GET", "HEAD"]), PATHS), min_size=1, max_size=3
    ).map(tuple),
    kind_of.Sizes: lambda k: st.lists(st.integers(0, k.most), max_size=4).map(tuple),
    QdiscWords: lambda _k: st.sampled_from(QDISCS),
}


def possible(of):
    """Whether a table can be given at all: no registry that it chooses from is empty."""
    return all(k.kind != kind_of.Choice(()) for k in keys_of(of))


def models(of):
    """Any value of a model class."""
    parts = {}
    for k in keys_of(of):
        match k.kind:
            case Section(inner):
                parts[k.field] = models(inner)
            case Sections(inner):
                parts[k.field] = (
                    st.lists(models(inner), max_size=2).map(tuple) if possible(inner) else st.just(())
                )
            case kind:
                strategy = STRATEGIES[type(kind)](kind)
                parts[k.field] = st.none() | strategy if k.default is None else strategy
    return st.builds(of, **parts)


def read(text):
    """The text's scenario, whether its keys fit together or not."""
    return _Reader("x", find_lines(text)).table(Scenario(), tomllib.loads(text, parse_float=Decimal), ())


@given(models(Scenario), st.booleans())
def test_a_dumped_scenario_reads_back_as_itself(scenario, full):
    assert read(dump_scenario(scenario, full=full)) == scenario


@given(models(Scenario))
def test_every_key_of_a_dump_has_a_line(scenario):
    text = dump_scenario(scenario, full=True)
    lines = find_lines(text)
    for path, line in lines.items():
        name = next(p for p in reversed(path) if isinstance(p, str))
        assert name in text.split("\n")[line - 1]


@given(
    st.text() | st.from_regex(r'(\[{1,2}[a-z.]+\]{1,2}\n|[a-z.]+ = ([0-9."]+|\[.*\])\n){1,6}', fullmatch=True)
)
def test_any_text_is_read_or_refused_in_one_line(text):
    message = refusal(text)
    assert "\n" not in message
    assert message.startswith("x.toml")


def refusal(text):
    """What the refusal says, or the file's name where there is none."""
    try:
        parse_scenario(text, "x.toml")
    except ScenarioError as error:
        return str(error)
    return "x.toml"
