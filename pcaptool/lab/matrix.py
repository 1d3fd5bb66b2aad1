"""Many random scenarios on the real kernel and through the model, compared.

Says how well the model predicts what it was not made with.

Knows: `lab_run`, `generate` and `diff`, and the page made of their answers.
Must not know: how any of them works.
Where a scenario differs it is run on the kernel again: whether the kernel repeats itself is told beside it.
"""

from __future__ import annotations

import platform
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcaptool.diff import Diff, diff
from pcaptool.errors import PcapToolError
from pcaptool.generate import generate
from pcaptool.lab.run import lab_run
from pcaptool.lab.sample import Sample, samples
from pcaptool.scenario import dump_scenario

__all__ = ["Row", "compare", "matrix", "page"]

_SAYS_MOST = 220


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario's result.

    Parameters
    ----------
    number : int
        From 1.
    sample : Sample
    frames, equal : int
        The real server's frames, and those that are equal in every field.
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

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.frames == self.equal and not self.first


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
    with tempfile.TemporaryDirectory(prefix="pcaptool-matrix-") as folder:
        for number, sample in enumerate(samples(count, seed), 1):
            try:
                row = compare(number, sample, (keep or Path(folder)) / f"{number:03}")
            except PcapToolError as error:
                if number == 1:
                    raise  # no root, or a program is missing: it would be the same with every scenario
                row = Row(number, sample, 0, 0, "", f"could not be run: {error}")
            rows.append(row)
            if progress is not None:
                progress(row)
    return rows


def compare(number: int, sample: Sample, folder: Path) -> Row:
    """One scenario on the kernel and through the model; files stay in the folder."""
    real = lab_run(sample.scenario, folder, trace=False).server
    model = generate(sample.scenario, folder / "model.pcapng").capture
    found = diff(model, real, relation="model", side="server")
    frames, equal = _counts(found)
    if found.same:
        return Row(number, sample, frames, equal, "", "")
    second = lab_run(sample.scenario, folder / "again", trace=False).server
    again = "same" if diff(real, second, relation="model", side="server").same else "differs"
    if again == "differs" and diff(model, second, relation="model", side="server").same:
        again = "equals the model"
    return Row(number, sample, frames, equal, again, _first(found))


def _counts(found: Diff) -> tuple[int, int]:
    """(frames of the real server, those equal in every field)."""
    way = "server to client"
    rows = found.alignment.filter(found.alignment["direction"] == way)
    real = set(rows["n_b"].drop_nulls())
    marked = set(found.differences.filter(found.differences["direction"] == way)["n_b"].drop_nulls())
    return len(real), len(real - marked)


def _first(found: Diff) -> str:
    sentences = found.verdict.split(". ")
    text = ". ".join(sentences[1:] or sentences)
    return text if len(text) <= _SAYS_MOST else f"{text[:_SAYS_MOST]}..."


def page(rows: Sequence[Row], seed: int) -> str:
    """The results as Markdown."""
    return "\n".join(_lines(rows, seed)) + "\n"


def _lines(rows: Sequence[Row], seed: int) -> Iterator[str]:
    frames, equal = sum(r.frames for r in rows), sum(r.equal for r in rows)
    same = sum(r.same for r in rows)
    steady = [r for r in rows if not r.same and r.again == "same"]
    yield "# Live fidelity: random scenarios on this machine's kernel and through the model\n"
    yield f"Made by `pcaptool lab matrix --count {len(rows)} --seed {seed}` (`make fidelity-live`, root) on Linux"
    yield f"{platform.release()}, {platform.machine()}. No scenario was chosen by hand. Each was run between two"
    yield "namespaces and through the modelled stack; what the servers sent was compared by"
    yield "`pcaptool diff --side server`.\n"
    yield f"**{same} of {len(rows)} scenarios have no difference at all; {equal} of {frames} frames of the server"
    yield f"({100 * equal / max(1, frames):.1f} %) are equal in every field.**\n"
    yield 'Where something differs, the scenario was run on the kernel once more. "same": the kernel did the same'
    yield f'again, so the model is wrong ({len(steady)} scenarios); "differs": two runs on the kernel differ from each'
    yield 'other, too; "equals the model": the second run is what the model says.\n'
    yield "## By family\n"
    yield "| family | scenarios | without a difference |\n| --- | ---: | ---: |"
    for name, (total, good) in sorted(_families(rows).items()):
        yield f"| {name} | {total} | {good} |"
    yield "\n## Each scenario\n"
    yield "| no. | families | server frames | equal | kernel again | most important difference |"
    yield "| ---: | --- | ---: | ---: | --- | --- |"
    for r in rows:
        first = r.first.replace("|", "\\|")
        yield f"| {r.number} | {', '.join(r.sample.families)} | {r.frames} | {r.equal} | {r.again} | {first} |"
    if steady:
        yield "\n## Scenarios in which the kernel repeats itself and the model differs"
    for r in steady:
        yield f"\n{r.number}:\n\n```toml\n{dump_scenario(r.sample.scenario).strip()}\n```"


def _families(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    out: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in rows:
        for name in row.sample.families:
            total, good = out[name]
            out[name] = total + 1, good + row.same
    return dict(out)
