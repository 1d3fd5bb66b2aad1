"""The terminal rendering never hands captured text on, and stays bounded."""

from dataclasses import replace

import polars as pl

from pcaptool.diff.result import DIFFERENCE_SCHEMA, Diff
from pcaptool.report.diff import diff_text


def difference(i, value="64"):
    return {
        "layer": "network", "field": "ip.ttl", "flow": 0, "direction": "client to server", "n_a": i, "n_b": i,
        "value_a": value, "value_b": "63", "cause": "hop", "weight": 55,
    }  # fmt: skip


def made(rows, **more):
    frame = pl.DataFrame(rows, schema=DIFFERENCE_SCHEMA, orient="row")
    return replace(Diff("model", 1, "Different.", "a", "b", differences=frame, differing=len(rows)), **more)


def test_control_characters_are_escaped_and_markup_is_text():
    evil = "\x1b[31mred\x1b[0m [bold]x[/bold] :smile: \u202e"
    text = diff_text(made([difference(1, evil)], name_a=evil, notes=(evil,), verdict=evil), width=200)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("\\x1b[31mred\\x1b[0m [bold]x[/bold] :smile: \\u202e") == 4


def test_a_wall_of_differences_is_capped():
    text = diff_text(made([difference(i) for i in range(5000)]))
    assert len(text.splitlines()) < 40
    assert "4996 more" in text


def test_a_result_without_packets_is_short():
    text = diff_text(Diff("model", 2, "Neither side holds a packet: there is nothing to compare.", "a", "b"))
    assert len(text.splitlines()) < 8
