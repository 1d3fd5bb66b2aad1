"""What a notebook shows of a comparison."""

from __future__ import annotations

import re

from pcaptool.diff import diff


def test_a_notebook_shows_the_verdict_and_no_markup_of_a_name(fixtures, tmp_path):
    hostile = tmp_path / "<img src=x onerror=alert(1)>\x1b[31m.pcap"
    hostile.write_bytes((fixtures / "demo" / "real.server.pcap").read_bytes())
    other = fixtures / "captures" / "lab" / "size-10240.client.pcap"
    found = diff(hostile, other)
    shown = found._repr_html_()
    assert found.exit_code == 1
    assert "<img" not in shown
    assert "\x1b" not in shown
    assert "&lt;img src=x" in shown
    field = next(f for layer in found.layers for f in layer.fields if f.differing)
    assert re.search(rf"<td>{re.escape(field.name)}</td>.*<td>{field.differing:,}</td>", shown)


def test_equal_captures_show_no_differing_field(fixtures):
    path = fixtures / "demo" / "real.server.pcap"
    found = diff(path, path, relation="exact")
    assert found.same
    assert "<table>" not in found._repr_html_()
