"""Many random scenarios on the real kernel and through the model, compared.

Says how well the model predicts what it was not made with.

Knows: `lab_run`, `generate` and `diff`, and the page made of their answers.
Must not know: how any of them works.
Where a scenario differs it is run on the kernel again: whether the kernel repeats itself is told beside it.
"""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcaptool.diff import Diff, diff
from pcaptool.errors import CaptureError, PcapToolError
from pcaptool.file import open_capture
from pcaptool.generate import generate
from pcaptool.lab.commands import need
from pcaptool.lab.frames import frame_kinds
from pcaptool.lab.namespaces import Namespace, namespaces, require_root
from pcaptool.lab.owner import scratch_folder
from pcaptool.lab.run import lab_run
from pcaptool.lab.sample import QUEUES, Sample, samples
from pcaptool.lab.session import needs_relay
from pcaptool.predict import predict
from pcaptool.scenario import Scenario, dump_scenario, load_scenario

__all__ = ["Row", "compare", "dropped_behind_tap", "frame_counts", "matrix", "page"]

_SAYS_MOST = 220
_NOT_RUN = "could not be run"


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario's result.

    Parameters
    ----------
    number : int
        From 1.
    sample : Sample
    frames, equal : int
        The real server's frames, and those that are equal in every field in the closed run.
    driven : int
        Those that are equal in the driven run, -1 where there was none.
    again : str
        "" where nothing differs; else what a second run on the kernel was to the first: "same" or "differs", or
        "equals the model".
    first : str
        The most important difference.
    """

    number: int
    sample: Sample
    frames: int
    equal: int
    again: str
    first: str
    driven: int = -1

    @property
    def ran(self) -> bool:
        """Whether the kernel could run it."""
        return not self.first.startswith(_NOT_RUN)

    @property
    def same(self) -> bool:
        """Whether nothing differs in the closed run."""
        return self.frames == self.equal and not self.first

    @property
    def driven_same(self) -> bool:
        """Whether nothing differs in the driven run."""
        return self.frames == self.driven


def matrix(
    count: int,
    seed: int,
    *,
    keep: Path | None = None,
    progress: Callable[[Row], None] | None = None,
) -> list[Row]:
    """Run random scenarios and compare.

    Parameters
    ----------
    count, seed : int
        How many, and which ones.
    keep : Path, optional
        Folder that keeps each scenario with its captures; else they are thrown away.
    progress : callable, optional
        Told each row.

    Raises
    ------
    SystemRefusedError
        As `lab_run`, at the first scenario; later ones have it in their row.
    """
    rows = []
    without = lacking_queues()
    with scratch_folder("matrix") as folder:
        for number, sample in enumerate(samples(count, seed, without), 1):
            try:
                row = compare(number, sample, (keep or folder) / f"{number:03}")
            except PcapToolError as error:
                if number == 1:
                    raise  # no root, or a program is missing: it would be the same with every scenario
                row = Row(number, sample, 0, 0, "", f"{_NOT_RUN}: {error}")
            rows.append(row)
            if progress is not None:
                progress(row)
    return rows


def lacking_queues() -> list[str]:
    """Families of queueing disciplines that this kernel was built without.

    Raises
    ------
    SystemRefusedError
        Not root, or a program is missing.
    """
    require_root()
    need(["ip", "tc"])
    with namespaces() as (namespace, _):
        return [
            name
            for name, words in QUEUES.items()
            if "noqueue" in _queue_of_loopback(namespace, words[0].split())
        ]


def _queue_of_loopback(namespace: Namespace, words: list[str]) -> str:
    """What the loopback of a namespace has after it was asked for a discipline."""
    namespace.run("tc", "qdisc", "replace", "dev", "lo", "root", *words, check=False)
    found = namespace.run("tc", "qdisc", "show", "dev", "lo")
    namespace.run("tc", "qdisc", "del", "dev", "lo", "root", check=False)
    return found


def compare(number: int, sample: Sample, folder: Path) -> Row:
    """One scenario on the kernel and through the model, closed and driven; files stay in the folder."""
    real = lab_run(sample.scenario, folder, trace=False).server
    plan = load_scenario(folder / "scenario.toml")  # with the versions of the programs that ran
    model = generate(plan, folder / "model.pcapng").capture
    found = diff(model, real, relation="model", side="server")
    frames, equal = frame_counts(found)
    driven = _driven(plan, real, folder)
    if found.same:
        return Row(number, sample, frames, equal, "", "", driven)
    second = lab_run(sample.scenario, folder / "again", trace=False).server
    again = "same" if diff(real, second, relation="model", side="server").same else "differs"
    if again == "differs" and diff(model, second, relation="model", side="server").same:
        again = "equals the model"
    return Row(number, sample, frames, equal, again, _first(found), driven)


def _driven(plan: Scenario, real: Path, folder: Path) -> int:
    """Frames of the real server that the model sends alike when it gets just what the real client sent."""
    try:
        made = predict(
            real, folder / "driven.pcapng", base=plan.host.server, unseen=dropped_behind_tap(plan, real)
        )
    except CaptureError:
        return -1  # no handshake
    return frame_counts(diff(made.capture, real, relation="model", side="server"))[1]


def dropped_behind_tap(plan: Scenario, capture: Path) -> set[int]:
    """Numbers of the packets that the server's tcpdump saw arrive, and nftables dropped behind it."""
    rules = [drop for drop in plan.link.drops if drop.direction == "client-to-server"]
    if not rules or needs_relay(plan):
        return set()
    source = bytes.fromhex(plan.host.client.mac.replace(":", ""))
    counts, out = [0] * len(rules), set()
    with open_capture(capture) as reader:
        for n, record in enumerate(reader, 1):
            if record.data[6:12] != source:
                continue
            kinds = frame_kinds(record.data)
            for index, rule in enumerate(rules):
                if rule.match in kinds:
                    counts[index] += 1
                    if counts[index] in rule.nth:
                        out.add(n)
                        break  # a rule behind it does not see it any more
    return out


def frame_counts(found: Diff, way: str = "server to client") -> tuple[int, int]:
    """Frames of B in one direction, and those of them that are equal in every field.

    A frame whose bytes A cut elsewhere is not equal, though the diff marks only the first one of such a run.
    """
    rows = found.alignment.filter(found.alignment["direction"] == way)
    real = set(rows["n_b"].drop_nulls())
    marked = set(found.differences.filter(found.differences["direction"] == way)["n_b"].drop_nulls())
    cut = set(rows.filter(rows["how"] == "segmentation")["n_b"].drop_nulls())
    return len(real), len(real - marked - cut)


def _first(found: Diff) -> str:
    sentences = found.verdict.split(". ")
    text = ". ".join(sentences[1:] or sentences)
    return text if len(text) <= _SAYS_MOST else f"{text[:_SAYS_MOST]}..."


def page(rows: Sequence[Row], seed: int) -> str:
    """The results as Markdown."""
    return "\n".join(_lines(rows, seed)) + "\n"


def _lines(all_rows: Sequence[Row], seed: int) -> Iterator[str]:
    rows = [r for r in all_rows if r.ran]
    frames, equal = sum(r.frames for r in rows), sum(r.equal for r in rows)
    played = [r for r in rows if r.driven >= 0]
    steady = [r for r in rows if not r.same and r.again == "same"]
    yield "# Live fidelity: random scenarios on this machine's kernel and through the model\n"
    yield f"Made by `pcaptool lab matrix --count {len(all_rows)} --seed {seed}` (`make fidelity-live`, root) on Linux"
    yield f"{platform.release()}, {platform.machine()}. No scenario was chosen by hand. Each was run between two"
    yield "namespaces and through the modelled stack; what the servers sent was compared by"
    yield "`pcaptool diff --side server`.\n"
    yield f"**Closed (both hosts modelled): {sum(r.same for r in rows)} of {len(rows)} scenarios have no difference at"
    yield f"all; {equal} of {frames} frames of the server ({_percent(equal, frames)}) are equal in every field.**\n"
    yield f"**Driven (`pcaptool predict`: the real client's packets): {sum(r.driven_same for r in played)} of"
    yield f"{len(played)}; {sum(r.driven for r in played)} of {sum(r.frames for r in played)} frames"
    yield f"({_percent(sum(r.driven for r in played), sum(r.frames for r in played))}).**\n"
    yield 'Where the closed run differs, the scenario was run on the kernel once more. "same": the kernel did the same'
    yield f'again, so the model is wrong ({len(steady)} scenarios); "differs": two runs on the kernel differ from each'
    yield 'other, too; "equals the model": the second run is what the model says.\n'
    drawn = {name for r in all_rows for name in r.sample.families}
    if missing := sorted(set(QUEUES) - drawn):
        yield f"Not drawn: {', '.join(missing)} (this kernel may be built without).\n"
    if refused := [r for r in all_rows if not r.ran]:
        yield f"{len(refused)} of the {len(all_rows)} scenarios drawn could not be run on this kernel:\n"
        yield from sorted({f"* {', '.join(r.sample.families)}: {r.first}" for r in refused})
        yield ""
    yield "## By family\n"
    yield "| family | scenarios | closed: no difference | driven: no difference |\n| --- | ---: | ---: | ---: |"
    for name, (total, closed, driven) in sorted(_families(rows).items()):
        yield f"| {name} | {total} | {closed} | {driven} |"
    yield "\n## Each scenario\n"
    yield "| no. | families | server frames | closed | driven | kernel again | most important difference (closed) |"
    yield "| ---: | --- | ---: | ---: | ---: | --- | --- |"
    for r in rows:
        first = r.first.replace("|", "\\|")
        played_equal = "-" if r.driven < 0 else r.driven
        cells = (r.number, ", ".join(r.sample.families), r.frames, r.equal, played_equal, r.again, first)
        yield f"| {' | '.join(map(str, cells))} |"
    if steady:
        yield "\n## Scenarios in which the kernel repeats itself and the model differs"
    for r in steady:
        yield f"\n{r.number}:\n\n```toml\n{dump_scenario(r.sample.scenario).strip()}\n```"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.1f} %"


def _families(rows: Sequence[Row]) -> dict[str, tuple[int, int, int]]:
    out: dict[str, tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for row in rows:
        for name in row.sample.families:
            total, closed, driven = out[name]
            out[name] = total + 1, closed + row.same, driven + row.driven_same
    return dict(out)
