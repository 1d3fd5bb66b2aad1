"""Several scenarios in one capture: the same bytes however many processes made it, and nothing of one in another."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.errors import OutputError, ScenarioError, UsageError
from pcaptool.file import open_capture
from pcaptool.generate import generate, generate_together
from pcaptool.generate.together import _run_all
from pcaptool.scenario import parse_scenario


def pair(number, more=""):
    """A scenario with hosts of its own."""
    text = f'name = "pair {number}"\n{more}\n'
    for side, last in (("server", 1), ("client", 2)):
        text += f'host.{side}.mac = "02:00:00:00:{number:02x}:{last:02x}"\nhost.{side}.ipv4 = "10.0.{number}.{last}"\n'
        text += f'host.{side}.ipv6 = "2001:db8:{number}::{last}"\n'
    return parse_scenario(text)


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def frames(path):
    """(Nanoseconds, bytes) of each packet."""
    with open_capture(path) as capture:
        return [(record.ts_ns, record.data) for record in capture]


def scenarios(seed):
    """Some scenarios that differ in much."""
    rnd = random.Random(seed)
    for number in range(1, rnd.randint(3, 5)):
        more = f"seed = {rnd.randrange(1000)}\nfamily = {rnd.choice((4, 6))}\n"
        more += f'client.requests = ["/bytes/{rnd.choice((0, 700, 30_000))}"]\n'
        more += f"client.connections = {rnd.randint(1, 6)}\n"
        more += f"client.stagger_ms = {rnd.choice((0, 0.2, 3))}\nlink.delay_ms = {rnd.choice((0, 5))}\n"
        more += f"link.loss_percent = {rnd.choice((0, 5))}\n"
        yield pair(number, more)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), taps=st.sampled_from((["server"], ["wire", "client", "server"])))
def test_however_many_processes_the_bytes_are_the_same(tmp_path_factory, seed, taps):
    folders = []
    for jobs in (1, 2, 3):
        folders.append(tmp_path_factory.mktemp(f"jobs{jobs}"))
        generate_together(list(scenarios(seed)), folders[-1] / "x.pcapng", taps=taps, jobs=jobs)
    assert digests(folders[0]) == digests(folders[1]) == digests(folders[2])


@pytest.mark.parametrize("ending", ["pcap", "pcapng"])
def test_the_capture_holds_what_each_alone_would_by_time(tmp_path, ending):
    plans = list(scenarios(7))
    made = generate_together(plans, tmp_path / f"x.{ending}", jobs=1)
    alone = [
        packet
        for number, plan in enumerate(plans)
        for packet in frames(generate(plan, tmp_path / f"{number}.{ending}").capture)
    ]
    merged = frames(made.captures["server"])
    assert merged == sorted(alone, key=lambda packet: packet[0])
    assert made.packets == {"server": len(alone)}


def test_stages_have_the_merged_captures_numbers(tmp_path):
    plans = [pair(1, "client.connections = 3"), pair(2, "client.stall_ms = 1")]
    made = generate_together(plans, tmp_path / "x.pcapng", taps=["server", "client"], jobs=1)
    rows = pl.read_parquet(made.stages)
    assert rows["ts"].is_sorted()
    for tap in ("server", "client"):
        sent = rows.filter(
            (pl.col("host") == tap) & pl.col("n").is_not_null() & (pl.col("stage") == "ip_output")
        )
        captured = frames(made.captures[tap])
        assert sent.height > 10
        for row in sent.iter_rows(named=True):
            # A frame's bytes begin with its network header here; its length is the frame's less Ethernet's 14.
            assert len(captured[row["n"] - 1][1]) - 14 == row["len_bytes"]
    per_pair = [pl.read_parquet(generate(p, tmp_path / f"{n}.pcapng").stages) for n, p in enumerate(plans)]
    assert rows.height == sum(one.height for one in per_pair)
    assert rows["skb"].n_unique() == sum(one["skb"].n_unique() for one in per_pair)


def test_who_shares_a_host_is_refused(tmp_path):
    with pytest.raises(
        UsageError, match=r"scenario 1 \(pair 1\) and scenario 2 \(pair 1\) share the address"
    ):
        generate_together([pair(1), pair(1)], tmp_path / "x.pcapng")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_cannot_be_written_leaves_nothing(tmp_path, jobs):
    with pytest.raises(OutputError):
        generate_together([pair(1), pair(2)], tmp_path / "missing" / "x.pcapng", jobs=jobs)
    with pytest.raises(ScenarioError):
        generate_together([pair(1), tmp_path / "none.toml"], tmp_path / "x.pcapng", jobs=jobs)
    assert not list(tmp_path.iterdir())


def test_a_process_that_fails_is_told(tmp_path):
    wish = {
        "scenario": "",
        "out": str(tmp_path / "x.pcapng"),
        "taps": ["server"],
        "format": "pcapng",
        "annotate": False,
    }
    bad = [wish | {"out": str(tmp_path / "missing" / f"{n}.pcapng")} for n in range(40)]
    with pytest.raises(OutputError):
        _run_all(bad, 2)


def test_the_command_takes_several(tmp_path):
    for number in (1, 2):
        text = f'name = "p{number}"\n'
        for side, last in (("server", 1), ("client", 2)):
            text += (
                f'[host.{side}]\nmac = "02:00:00:00:{number:02x}:{last:02x}"\nipv4 = "10.0.{number}.{last}"\n'
            )
            text += f'ipv6 = "2001:db8:{number}::{last}"\n'
        (tmp_path / f"{number}.toml").write_text(text)
    command = [sys.executable, "-m", "pcaptool.cli.main", "generate", "1.toml", "2.toml", "-o", "x.pcapng"]
    done = subprocess.run(
        [*command, "--jobs", "2", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["packets"] == {"server": 24}
    assert [Path(p).name for p in said["scenarios"]] == ["x.1.scenario.toml", "x.2.scenario.toml"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "1.toml", "2.toml", "x.1.scenario.toml", "x.2.scenario.toml", "x.pcapng", "x.stages.parquet",
    ]  # fmt: skip
