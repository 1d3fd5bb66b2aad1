"""Each bundled scenario several times on this machine's kernel: which of them are the same each time?

    sudo python tests/model/repeats.py [RUNS [SCENARIO ...]]      writes reports/repeats.csv

A scenario whose recordings differ from each other has no single truth: no model that knows only the scenario can equal
them all. The table says for each how many of the runs are alike in every field and cut (as `pcaptool diff --as model
--side server` compares), and how many of them the model equals. `tests/model/fidelity.py` puts it on its page.
Both programs run on one processor, as `pcaptool lab run` lets them. Named scenarios replace or join those of the table.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

import fidelity

from pcaptool.diff import diff
from pcaptool.errors import PcapToolError
from pcaptool.generate import generate
from pcaptool.lab.run import lab_run
from pcaptool.scenario import load_scenario

TABLE = fidelity.ROOT / "reports" / "repeats.csv"
COLUMNS = ("scenario", "runs", "alike", "model_equals", "bundled_equals", "note")


def same(a: Path, b: Path) -> bool:
    """Whether the server's frames of two captures are equal."""
    return diff(a, b, relation="model", side="server").exit_code == 0


def outcomes(captures: list[Path]) -> list[list[Path]]:
    """Groups of captures that are alike, the largest first; a group is told by its first member."""
    groups: list[list[Path]] = []
    for one in captures:
        for group in groups:
            if same(group[0], one):
                group.append(one)
                break
        else:
            groups.append([one])
    return sorted(groups, key=len, reverse=True)


def equal_to(capture: Path, groups: list[list[Path]]) -> int:
    """How many of the captures a capture equals."""
    return sum(len(group) for group in groups if same(capture, group[0]))


def row(name: str, runs: int, folder: Path) -> dict[str, str | int]:
    """One scenario: the largest group of runs that are alike, and how many the model and the bundled capture equal."""
    try:
        made = [
            lab_run(fidelity.scenario_file(name), folder / f"{name}.{n}", trace=False) for n in range(runs)
        ]
        groups = outcomes([one.server for one in made])
        plan = load_scenario(made[0].folder / "scenario.toml")
        model_equals = equal_to(generate(plan, folder / f"{name}.pcapng").capture, groups)
        bundled = equal_to(fidelity.real_capture(name), groups)
    except PcapToolError as error:
        return dict(zip(COLUMNS, (name, 0, 0, 0, 0, str(error).splitlines()[0]), strict=True))
    return dict(zip(COLUMNS, (name, runs, len(groups[0]), model_equals, bundled, ""), strict=True))


def known() -> dict[str, dict[str, str]]:
    """The table as it is, by scenario."""
    if not TABLE.exists():
        return {}
    with TABLE.open(newline="") as file:
        return {line["scenario"]: line for line in csv.DictReader(file)}


def main(runs: int, names: list[str]) -> None:
    """Run them, and write the table after each."""
    rows: dict[str, dict[str, str | int]] = dict(known())
    for name in names or [name for name in fidelity.names() if name != "demo"]:
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = row(name, runs, Path(folder))
        sys.stdout.write(f"{rows[name]}\n")
        sys.stdout.flush()
        with TABLE.open("w", newline="") as out:
            writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:])
