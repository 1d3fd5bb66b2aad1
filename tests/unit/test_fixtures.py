"""The evidence is as it was recorded: sums, counts and times of the manifest; one scenario to each capture."""

from __future__ import annotations

import csv
import hashlib

import pytest

from tests import lab_manifest


def rows(fixtures):
    with (fixtures / "captures" / "lab" / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_capture_is_what_the_manifest_says(fixtures):
    assert rows(fixtures) == lab_manifest.rows(), "after adding a capture: python tests/lab_manifest.py"


def test_every_capture_has_its_scenario(fixtures, lab_scenarios):
    assert {r["scenario"] for r in rows(fixtures) if r["tap"] == "server"} == {
        p.stem for p in lab_scenarios.glob("*.toml")
    }


def test_the_readme_says_the_sum_of_the_demos_capture(fixtures):
    digest = hashlib.sha256((fixtures / "demo" / "real.server.pcap").read_bytes()).hexdigest()
    assert digest in (fixtures / "README.md").read_text()


def test_fixtures_stay_small(fixtures):
    assert sum(p.stat().st_size for p in fixtures.rglob("*") if p.is_file()) < 3_500_000


@pytest.mark.parametrize("name", ["rmem-6m", "write-two-cork", "concurrent-4", "nginx-timeout-close"])
def test_a_lab_record_becomes_the_bundled_scenario(name, lab_scenarios):
    from pcaptool.scenario import load_scenario
    from tests.lab_scenarios import from_lab

    lab = {
        "name": name, "note": "", "family": 4, "mtu": 1500, "cc": "cubic", "link": "veth", "delay_ms": 0.0,
        "tap_offload": False, "jitter_order": [], "drop": [], "qdisc": None,
        "offload": {"server": {}, "client": {}}, "sysctl": {}, "server_sysctl": {}, "client_sysctl": {},
        "server": {"kind": "raw"}, "sizes": [1000], "connections": 1, "stagger_ms": 0, "keepalive": True,
        "client": {"kind": "py"}, "snaplen": 0,
    }  # fmt: skip
    changes = {
        "rmem-6m": {
            "sysctl": {"net.ipv4.tcp_rmem": "4096 131072 6291456"},
            "keepalive": False,
            "note": "tcp_rmem max 6291456",
        },
        "write-two-cork": {"server": {"kind": "raw", "write": "two", "cork": True}, "sizes": [1000, 1000]},
        "nginx-timeout-close": {
            "server": {"kind": "nginx", "conf": "sendfile on; tcp_nopush on; keepalive_timeout 1;"},
            "client": {"kind": "py", "close": "server"},
            "note": "server closes the idle connection",
        },
        "concurrent-4": {"connections": 4, "sizes": [5000, 5000], "note": "4 connections"},
    }
    assert from_lab({**lab, **changes[name]}) == load_scenario(lab_scenarios / f"{name}.toml")


def test_a_lab_record_of_an_unknown_program_is_refused():
    from tests.lab_scenarios import from_lab

    with pytest.raises(ValueError, match="lighttpd"):
        from_lab({"name": "x", "server": {"kind": "lighttpd"}, "client": {"kind": "py"}})
