"""Small parts of the diff: fingerprints, tolerances, texts, order, rules."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.diff.fields import FIELDS, IN_ORDER, LAYERS
from pcaptool.diff.fingerprint import MODULUS, fingerprint, joined, mask_http_dates
from pcaptool.diff.path import clocks_of, delays_of
from pcaptool.diff.rules import RULES, rules_in_force
from pcaptool.diff.sample import sample_of
from pcaptool.diff.structure import _outside_longest
from pcaptool.diff.text import value_text
from pcaptool.diff.timing import quantiles
from pcaptool.diff.tolerance import parse_tolerance, parse_tolerances
from pcaptool.diff.whole import Couples, Whole
from pcaptool.engine import Engine
from pcaptool.engine.loads import PRIME_HIGH, PRIME_LOW
from pcaptool.errors import UsageError


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_fingerprints_join(parts):
    assert joined([(fingerprint(p), len(p)) for p in parts]) == fingerprint(b"".join(parts))


@given(st.binary(min_size=1, max_size=3000), st.data())
def test_one_changed_byte_changes_the_fingerprint(data, draw):
    at = draw.draw(st.integers(0, len(data) - 1))
    other = data[:at] + bytes((data[at] ^ draw.draw(st.integers(1, 255)),)) + data[at + 1 :]
    assert fingerprint(data) != fingerprint(other)


def test_bytes_that_change_places_change_the_fingerprint():
    # 2**61 - 1 as modulus would not see two bytes exchanged 61 places apart.
    data = bytes(range(200))
    for distance in range(1, 200):
        swapped = bytearray(data)
        swapped[0], swapped[distance] = data[distance], data[0]
        assert fingerprint(bytes(swapped)) != fingerprint(data)


def test_the_modulus_is_a_product_of_safe_primes():
    def prime(n):  # Miller-Rabin; these bases decide below 3.3e24
        d, r = n - 1, 0
        while not d & 1:
            d, r = d >> 1, r + 1
        for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
            x = pow(base, d, n)
            if x not in (1, n - 1) and all((x := x * x % n) != n - 1 for _ in range(r - 1)):
                return False
        return True

    assert MODULUS == PRIME_HIGH * PRIME_LOW
    for factor in (PRIME_HIGH, PRIME_LOW):
        assert prime(factor)
        assert prime((factor - 1) // 2)
        assert factor < 1 << 31


@given(st.lists(st.binary(max_size=70), max_size=5), st.integers(0, 9))
def test_the_kernel_is_the_same_plain_and_compiled(parts, place):
    data = np.frombuffer(b"".join(parts), np.uint8)
    sizes = np.array([len(p) for p in parts], np.int64)
    starts = np.cumsum(sizes) - sizes
    places, lengths = np.full(len(parts), place), np.full(len(parts), 50)
    answers = []
    for mode in ("plain", "compiled"):
        out = tuple(np.zeros(len(parts), np.int64) for _ in range(3))
        Engine(mode).flat("pcaptool.diff.print_kernel", "prints")(data, (starts, sizes, places, lengths), out)
        answers.append([x.tolist() for x in out])
    assert answers[0] == answers[1]
    payloads = [p[place : place + 50] for p in parts]
    assert answers[0] == [
        list(map(fingerprint, parts)),
        list(map(fingerprint, payloads)),
        list(map(len, payloads)),
    ]


@pytest.mark.parametrize(
    ("payload", "masked"),
    [
        (b"no http", b"no http"),
        (b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: #\r\n\r\n"),
        (b'HTTP/1.0 200 OK\r\ndate:\t12\r\nETag: "a"', b"HTTP/1.0 200 OK\r\ndate:\t##\r\nETag: ###"),
        (
            b"HTTP/1.1 200 OK\r\n\r\nDate: kept\r\nDate: kept",
            b"HTTP/1.1 200 OK\r\n\r\nDate: kept\r\nDate: kept",
        ),
        (b"GET / HTTP/1.1\r\nDate: kept\r\n\r\n", b"GET / HTTP/1.1\r\nDate: kept\r\n\r\n"),
        (
            b"HTTP/1.1 200 OK\r\nAge: 1\r\n\r\nbodyHTTP/1.1 200 OK\r\nAge: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nAge: #\r\n\r\nbodyHTTP/1.1 200 OK\r\nAge: #\r\n\r\n",
        ),
    ],
)
def test_only_date_like_headers_of_responses_are_masked(payload, masked):
    assert mask_http_dates(payload) == masked


@given(st.binary(max_size=200))
def test_masking_keeps_the_length(payload):
    assert len(mask_http_dates(b"HTTP/1.1 200 OK\r\nDate: " + payload)) == 23 + len(payload)


def test_tolerances():
    x, y = pl.Series([100, 100, None, 7], dtype=pl.Int64), pl.Series([101, 110, 5, 7], dtype=pl.Int64)
    assert parse_tolerance("1%").within(x, y).tolist() == [True, False, False, True]
    assert parse_tolerance("10").within(x, y).tolist() == [True, True, False, True]
    assert parse_tolerances({"window": "2"}).keys() == {"tcp.window_size_value"}
    for wrong in ({"window": "two"}, {"tcp.colour": "1"}, {"window": "-1"}):
        with pytest.raises(UsageError):
            parse_tolerances(wrong)


@given(st.permutations(range(12)))
def test_the_longest_order_is_kept(places):
    outside = _outside_longest(np.array(places))
    kept = [p for i, p in enumerate(places) if i not in outside]
    assert kept == sorted(kept)
    # A single exchange of neighbours costs one packet, never two.
    if places == tuple(range(12)):
        assert outside == []


def test_an_exchange_of_neighbours_costs_one():
    assert len(_outside_longest(np.array([0, 2, 1, 3]))) == 1


def test_tables_hold_together():
    names = {r.name for r in RULES}
    assert len(names) == len(RULES)
    assert {rule for f in FIELDS for rule in f.rules} <= names
    assert {f.layer for f in FIELDS} == set(LAYERS)
    known = {f.name for f in FIELDS}
    position = {f.name: i for i, f in enumerate(IN_ORDER)}
    assert sorted(position) == sorted(known)
    for item in FIELDS:
        assert set(item.follows) <= known
        assert all(position[f] < position[item.name] for f in item.follows), item.name


def test_rules_are_switched():
    assert rules_in_force("exact", None) == {"follows"}
    assert rules_in_force("exact", {"isn": True}) == {"follows", "isn"}
    with pytest.raises(UsageError, match="no rule is called 'insn'"):
        rules_in_force("model", {"insn": False})


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("tcp.flags", 0x0C2, "SEW"),
        ("tcp.options_sack", [10, 50, 20, 60], "{10:20} {50:60}"),
        ("tcp.checksum", 0x11234, "0x1234 (good)"),
        ("tcp.checksum", 0x101234, "0x1234 (bad, partial)"),
        ("tcp.option_kinds", [], "none"),
        ("ip.ttl", None, "-"),
    ],
)
def test_values_in_words(field, value, text):
    assert value_text(field, value) == text


def test_quantiles_are_values_that_occurred():
    t = quantiles("packet", sample_of(np.array([5, 1, 9, 3])))
    assert (t.count, t.min_ns, t.p50_ns, t.p95_ns, t.max_ns) == (4, 1, 3, 9, 9)


@pytest.mark.parametrize("nearer_a", [True, False])
def test_offset_and_order_of_two_points(nearer_a):
    offset, delays = 1_000_000, (50_000, 70_000)
    sign = 1 if nearer_a else -1
    ts = np.array([0, 10, 20, 30], np.int64)
    steps = [
        offset + sign * delays[0],
        offset - sign * delays[0],
        offset + sign * delays[1],
        offset - sign * delays[1],
    ]
    at, way = np.arange(4), np.array([0, 1, 0, 1], np.int8)
    a, b = (
        Whole(at + 1, times, times, way, way, way, at, at, at, at, at, at, 0) for times in (ts, ts + steps)
    )
    found = clocks_of(delays_of(a, b, Couples(at, at, np.zeros(4, np.int64), way)))
    assert (found.a_is_nearer, found.offset_ns, found.both_ways) == (nearer_a, offset, True)
