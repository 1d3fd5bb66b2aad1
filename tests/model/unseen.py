"""Random scenarios that no fixture has, several times each on this machine's kernel, and once through the model.

    sudo python tests/model/unseen.py record FOLDER COUNT SEED [RUNS]     what the kernel does; kept in the folder
    python tests/model/unseen.py count FOLDER                             how much of it the model equals

The scenarios are those of `pcaptool lab matrix` (its families and their mixture), a third of them with larger
responses. A scenario whose runs on the kernel differ from each other has no single truth, and is counted apart. What is
recorded is counted again after a change of the model: "before" and "after" are of the same captures.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from repeats import outcomes

from pcaptool.diff import diff
from pcaptool.errors import PcapToolError
from pcaptool.generate import generate
from pcaptool.lab.matrix import frame_counts, lacking_queues
from pcaptool.lab.run import lab_run
from pcaptool.lab.sample import samples
from pcaptool.scenario import Request, Route, Scenario, dump_scenario, load_scenario

LARGEST_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Count:
    """One scenario: its runs, how many are alike, and the frames of one of those that the model equals."""

    name: str
    runs: int
    alike: int
    frames: int
    equal: int
    says: str

    @property
    def steady(self) -> bool:
        """Whether all runs are alike."""
        return self.alike == self.runs


def drawn(count: int, seed: int, without: list[str]) -> Iterator[Scenario]:
    """The laboratory's samples, every third of them with responses of 160 kB to 5 MB."""
    chance = random.Random(seed)
    for number, sample in enumerate(samples(count, seed, without)):
        plan = sample.scenario
        if number % 3 == 2 and plan.client.read_pause_ns == 0:
            size = int(160_000 * (LARGEST_BYTES / 160_000) ** chance.random())
            requests = (Request("GET", f"/bytes/{size}"), *plan.client.requests[1:])
            routes = tuple(_few_chunks(route, size) for route in plan.server.routes)
            plan = replace(plan, client=replace(plan.client, requests=requests))
            plan = replace(plan, server=replace(plan.server, routes=routes))
        yield replace(plan, note=", ".join(sample.families))


def _few_chunks(route: Route, size: int) -> Route:
    return (
        replace(route, chunk_bytes=max(route.chunk_bytes, size // 30)) if route.write == "chunks" else route
    )


def record(folder: Path, count: int, seed: int, runs: int) -> None:
    """Run them; a scenario that this kernel refuses leaves a folder without captures."""
    for number, plan in enumerate(drawn(count, seed, lacking_queues()), 1):
        for run in range(runs):
            place = folder / f"{number:03}" / str(run)
            if (place / "server.pcap").exists():
                continue
            try:
                lab_run(plan, place, trace=False)
            except PcapToolError as error:
                (folder / f"{number:03}" / "refused.toml").write_text(f"# {error}\n{dump_scenario(plan)}")
                sys.stdout.write(f"{number:03}: {error}\n")
                break


def counted(place: Path) -> Count | None:
    """The largest group of recordings that are alike, and the model against one of them."""
    captures = sorted(place.glob("*/server.pcap"))
    if not captures:
        return None
    plan = load_scenario(captures[0].with_name("scenario.toml"))
    group = outcomes(captures)[0]
    with tempfile.TemporaryDirectory() as scratch:
        model = generate(plan, Path(scratch) / "model.pcapng").capture
        found = diff(model, group[0], relation="model", side="server")
    frames, equal = frame_counts(found)
    says = "" if found.same else found.verdict
    return Count(place.name, len(captures), len(group), frames, equal, f"[{plan.note}] {says}")


def count_all(folder: Path) -> list[Count]:
    """All scenarios of a folder; those that differ are printed."""
    rows = []
    for place in sorted(p for p in folder.iterdir() if p.is_dir()):
        try:
            row = counted(place)
        except PcapToolError as error:
            sys.stdout.write(f"{place.name}: {error}\n")
            continue
        if row is None:
            continue
        rows.append(row)
        if row.equal < row.frames or row.alike < row.runs:
            kind = f"{row.alike} of {row.runs} alike"
            sys.stdout.write(f"{row.name} {kind}: {row.equal} of {row.frames} {row.says[:300]}\n")
            sys.stdout.flush()
    return rows


def summary(rows: list[Count]) -> str:
    """Two lines: scenarios whose runs are alike, and the others."""
    lines = []
    for kind, chosen in (
        ("runs alike", [r for r in rows if r.steady]),
        ("runs differ", [r for r in rows if not r.steady]),
    ):
        frames, equal = sum(r.frames for r in chosen), sum(r.equal for r in chosen)
        same = sum(r.frames == r.equal for r in chosen)
        lines.append(
            f"{kind}: {same} of {len(chosen)} scenarios, {equal} of {frames} frames"
            f" ({100 * equal / max(1, frames):.2f} %)"
        )
    return "\n".join(lines) + "\n"


def main(words: list[str]) -> None:
    """As the head says."""
    match words:
        case ["record", folder, count, seed, *runs]:
            record(Path(folder), int(count), int(seed), int(runs[0]) if runs else 3)
        case ["count", folder]:
            sys.stdout.write(summary(count_all(Path(folder))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
