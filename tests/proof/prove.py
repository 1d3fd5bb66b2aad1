"""The four proofs of the diff, with figures: `make diff-proof` writes reports/diff.md.

    python tests/proof/prove.py [--each N]

Captures are the bundled ones; with PCAPTOOL_LAB naming a folder of the lab script's runs, those as well.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from pcaptool.diff import Side, diff, load_side
from tests.proof.copies import COPIES, SEGMENT
from tests.proof.ends import Ends, bundled, dropped, lost, numbered, of_lab, overtaken
from tests.proof.frames import Packets, editable, read, write
from tests.proof.mutations import MUTATIONS, ONLY_EXACT, mistakes

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "fixtures" / "captures" / "lab"
RELATIONS = ("model", "exact", "path")
RULES = {"absolute-time": True, "http-date": False}


@dataclass
class Score:
    """What became of some cases."""

    cases: int = 0
    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    def add(self, name: str, found: list[str]) -> None:
        self.cases += 1
        self.right += not found
        self.wrong.update(f.split(":")[0] for f in found)
        self.told += [f"{name}: {f}" for f in found]


def captures() -> list[str]:
    """Bundled captures that the generator can edit: IPv4, not too long, with TCP."""
    found = [p for p in sorted(LAB.rglob("*.server.pcap")) if not p.name.startswith(("v6-", "udp-"))]
    return [str(p.relative_to(LAB)) for p in found if p.stat().st_size < 150_000]


@cache
def corpus() -> list[str]:
    """Captures of the corpus (PCAPTOOL_CORPUS) that the generator can edit: not too long, with TCP."""
    folder = os.environ.get("PCAPTOOL_CORPUS")
    found = []
    for path in sorted(Path(folder).rglob("*.pcap")) if folder else ():
        if not path.is_file() or not 24 < path.stat().st_size < 80_000 or not editable(path):
            continue
        with suppress(ValueError, IndexError, struct.error):
            if any(p.is_tcp for p in read(path)[1]):
                found.append(str(path))
    return found


@cache
def capture(name: str) -> tuple[bytes, Packets]:
    return read(LAB / name)


@cache
def loaded(name: str) -> Side:
    return load_side(LAB / name)


def places(mutation: str, most: int) -> list[tuple[str, int]]:
    """Packets that a mutation applies to, spread evenly over all captures."""
    found = []
    for name in [*captures(), *corpus()]:
        packets = capture(name)[1]
        found += [(name, i) for i in range(len(packets)) if MUTATIONS[mutation](packets, i) is not None]
    step = max(1.0, len(found) / most)
    return [found[int(k * step)] for k in range(min(most, len(found)))]


def mutation_case(job: tuple[str, str, int, str]) -> tuple[str, list[str]]:
    """One mutation of one packet in one capture: what the diff got wrong."""
    mutation, name, i, relation = job
    head, packets = capture(name)
    change = MUTATIONS[mutation](packets, i)
    assert change is not None
    with tempfile.TemporaryDirectory() as folder:
        mutated = Path(folder) / "b.pcap"
        write(mutated, head, change.packets)
        rules = RULES if mutation not in ONLY_EXACT else {"http-date": False}
        found = diff(loaded(name), mutated, relation=relation, rules=rules)
    shown = f"corpus/{Path(name).name}" if Path(name).is_absolute() else name
    return f"{mutation}, packet {i + 1} of {shown}, {relation}", list(
        mistakes(mutation, packets, change, found, relation)
    )


def mutation_jobs(each: int) -> list[tuple[str, str, int, str]]:
    jobs = []
    for mutation in MUTATIONS:
        for k, (name, i) in enumerate(places(mutation, each)):
            relation = "exact" if mutation in ONLY_EXACT else RELATIONS[k % 3]
            if mutation == "ip id" and relation == "model" and not counts_on(name, i):
                relation = "exact"
            jobs.append((mutation, name, i, relation))
    return jobs


def counts_on(name: str, i: int) -> bool:
    """Whether enough packets of a direction follow a counter to tell which one is off: two runs start anywhere."""
    packets = capture(name)[1]
    mine = [p for p in packets if p.is_tcp and p.raw[26:34] == packets[i].raw[26:34]]
    return (
        len([p for p in mine if p.raw[p.tcp_at : p.tcp_at + 4] == packets[i].raw[packets[i].tcp_at :][:4]])
        > 3
    )


def copy_case(job: tuple[str, str, str]) -> tuple[str, list[str]]:
    """One copy of one capture: empty where the diff says that it is the same."""
    copy, name, relation = job
    head, packets = capture(name)
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "b.pcap"
        write(other, head, COPIES[copy][0](packets))
        found = diff(loaded(name), other, relation=relation)
    wrong = [] if found.exit_code == 0 else [f"differs: {found.verdict[:200]}"]
    if copy == "segmented" and len(COPIES[copy][0](packets)) > len(packets) and not wrong:
        wrong = (
            [] if found.verdict.startswith("Same stream, segmented differently") else ["verdict: not said"]
        )
    return f"{copy}, {name}, {relation}", wrong


def copy_jobs() -> list[tuple[str, str, str]]:
    return [(c, name, r) for c, (_, relations) in COPIES.items() for name in captures() for r in relations]


def truncated_case(name: str) -> tuple[str, list[str]]:
    """A copy without its first packets: what it did not see is all that is missing."""
    head, packets = capture(name)
    cut = min(6, len(packets) // 2)
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "b.pcap"
        write(other, head, packets[cut:])
        found = diff(loaded(name), other, relation="path")
    rows = found.differences.select("field", "n_a", "n_b").to_dicts()
    wrong = [f"too much: {r}" for r in rows if r["n_b"] is not None or r["field"] not in ("frame", "flow")]
    wrong += [f"place: frame {r['n_a']}" for r in rows if r["n_a"] > cut]
    return f"truncated start, {name}", wrong


def ends_case(ends: Ends) -> tuple[str, list[str]]:
    """Both ends of one run: losses are the drops, and what the link held back is out of order.

    Packets may overtake each other without the scenario's doing: two processors serve a veth pair.
    """
    found = diff(ends.client, ends.server, relation="path")
    expected, got = dropped(ends), lost(found)
    wrong = [] if expected == got else [f"losses: {sorted(expected)} expected, {sorted(got)} found"]
    late, moved = numbered(ends, ends.late), overtaken(found)
    wrong += [] if late <= moved else [f"order: {sorted(late)} expected, {sorted(moved)} found"]
    return ends.name, wrong


def all_ends() -> list[Ends]:
    folder = os.environ.get("PCAPTOOL_LAB")
    return [*bundled(ROOT / "fixtures"), *(of_lab(Path(folder)) if folder else ())]


def page(each: int) -> Iterator[str]:
    """The report, a line at a time; the work is done here."""
    begin = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = mutation_jobs(each)
        by_mutation: dict[str, Score] = {name: Score() for name in MUTATIONS}
        for (mutation, *_), result in zip(jobs, pool.map(mutation_case, jobs, chunksize=16), strict=True):
            by_mutation[mutation].add(*result)
        copies = copy_jobs()
        by_copy: dict[str, Score] = {name: Score() for name in (*COPIES, "truncated start")}
        for (copy, *_), result in zip(copies, pool.map(copy_case, copies, chunksize=16), strict=True):
            by_copy[copy].add(*result)
        for result in pool.map(truncated_case, captures(), chunksize=8):
            by_copy["truncated start"].add(*result)
        both = all_ends()
        ends = Score()
        for result in pool.map(ends_case, both, chunksize=4):
            ends.add(*result)
    yield from _head(by_mutation, by_copy, ends, sum(len(dropped(e)) for e in both))
    yield from _mutation_table(by_mutation)
    yield from _copy_table(by_copy)
    told = [line for score in (*by_mutation.values(), *by_copy.values(), ends) for line in score.told]
    yield from ("", "## What went wrong", "", *([f"* {line}" for line in told[:60]] or ["Nothing."]))
    if len(told) > 60:
        yield f"* and {len(told) - 60} more"
    yield f"\nTook {time.perf_counter() - begin:.0f} s on two processors."


def _head(mutations: dict[str, Score], copies: dict[str, Score], ends: Score, drops: int) -> Iterator[str]:
    scores = list(mutations.values())
    cases = sum(s.cases for s in scores)
    wrong = sum((s.wrong for s in scores), Counter[str]())
    found, clean = cases - wrong["missed"], cases - wrong["too much"]
    yield "# The diff, proved"
    yield ""
    yield "Made by `make diff-proof` (tests/proof). The generator knows nothing of the package: it edits bytes."
    ends_known = len(list(bundled(ROOT / "fixtures")))
    if corpus():
        yield f"Proof 2 also takes {len(corpus())} captures of the corpus that PCAPTOOL_CORPUS names."
    yield (
        f"Proofs 1, 2 and 4 take {len(captures())} bundled captures; proof 3 takes the"
        f" {ends_known} bundled runs of which"
    )
    yield "both ends are there, and all runs under the folder named by PCAPTOOL_LAB, if that is set."
    yield ""
    yield f"1. **Copies**: {sum(s.right for s in copies.values())} of {sum(s.cases for s in copies.values())} are"
    yield "   equal in the relation meant."
    yield f"2. **Mutations**: {cases} single known changes; found {found} (recall {found / cases:.2%}), nothing else"
    yield f"   reported in {clean} (precision {clean / cases:.2%}), at the right packet in {cases - wrong['place']},"
    yield f"   cause named rightly in {cases - wrong['cause']} ({1 - wrong['cause'] / cases:.2%})."
    yield f"3. **Both ends of a run**: in {ends.right} of {ends.cases} runs the losses found are exactly the"
    yield f"   scenario's drops ({drops} packets), and packets that the link held back are told as out of order."
    cut = copies["segmented"]
    yield f"4. **Segmentation**: {cut.right} of {cut.cases} pairs before and after segments of {SEGMENT} bytes are the"
    yield '   same, and say "same stream, segmented differently" where any packet was cut.'


def _mutation_table(scores: dict[str, Score]) -> Iterator[str]:
    yield from (
        "",
        "## Mutations",
        "",
        "A third each in relation `model`, `exact` (without capture times) and `path`.",
        "",
    )
    yield "| change | cases | all right | missed | too much | other place | other cause |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, s in scores.items():
        w = s.wrong
        yield f"| {name} | {s.cases} | {s.right} | {w['missed']} | {w['too much']} | {w['place']} | {w['cause']} |"


def _copy_table(scores: dict[str, Score]) -> Iterator[str]:
    yield from ("", "## Copies", "", "| copy | cases | as meant |", "| --- | ---: | ---: |")
    for name, s in scores.items():
        yield f"| {name} | {s.cases} | {s.right} |"


def main() -> None:
    """Run the proofs and write the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--each", type=int, default=90, help="cases of each mutation, at most")
    options.add_argument("--out", type=Path, default=ROOT / "reports" / "diff.md")
    chosen = options.parse_args()
    text = "\n".join(page(chosen.each)) + "\n"
    chosen.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text.partition("## Mutations")[0])


if __name__ == "__main__":
    main()
