"""`--fail-on`: which differences make the exit code 1."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from pcaptool.cli.diff import diff
from pcaptool.errors import UsageError

LAB = Path(__file__).resolve().parents[3] / "fixtures" / "captures" / "lab" / "repeat"
PYTHON, NGINX = LAB / "python-1k.1.server.pcap", LAB / "nginx-1k.1.server.pcap"


def exit_code(a, b, fail_on):
    with pytest.raises(typer.Exit) as ended:
        diff(a, b, fail_on=fail_on, packets=0, differences=0)
    return ended.value.exit_code


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [
        (None, 1),
        (["transport"], 1),
        (["tcp.segmentation,ip.ttl"], 1),
        (["link"], 0),
        (["ip.ttl", "ip.dsfield"], 0),
        (["nothing"], 0),
    ],
)
def test_only_the_named_differences_count(fail_on, code, capsys):
    assert exit_code(PYTHON, NGINX, fail_on) == code
    assert "Different:" in capsys.readouterr().out


def test_equal_captures_stay_equal_and_empty_ones_stay_trouble(tmp_path, capsys):
    assert exit_code(PYTHON, PYTHON, ["transport"]) == 0
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(PYTHON.read_bytes()[:24])
    assert exit_code(empty, empty, ["nothing"]) == 2
    # Without a comparison everything differs, whatever was named.
    assert exit_code(empty, PYTHON, ["link"]) == 1


def test_an_unknown_name_is_refused_before_work(tmp_path):
    with pytest.raises(UsageError, match="colour"):
        diff(tmp_path / "a", tmp_path / "b", fail_on=["colour"])
