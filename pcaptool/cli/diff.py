"""`pcaptool diff`: two captures or reports, aligned, compared layer by layer, judged."""

from __future__ import annotations

import io
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcaptool.cli.terminal import answer, console, make_folder, status
from pcaptool.errors import UsageError, printable

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from pcaptool.diff import Diff
    from pcaptool.file.aside import AsideFile

__all__ = ["diff", "write_diff"]


class Relation(StrEnum):
    """How the two belong together."""

    MODEL = "model"
    PATH = "path"
    EXACT = "exact"


class Side(StrEnum):
    """Whose packets count."""

    SERVER = "server"
    CLIENT = "client"


def diff(
    a: Annotated[Path, typer.Argument(help="A capture, or a report.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Another one.", metavar="B")],
    relation: Annotated[
        Relation | None,
        typer.Option(
            "--as",
            help="model: two runs of the same thing; path: the same packets at two points;"
            " exact: the same content. Without: found out.",
        ),
    ] = None,
    side: Annotated[Side | None, typer.Option(help="Only this host's packets count.")] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(help="What a field may differ by: tcp.window=1%, time=50us. Several times, or commas."),
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="Switch a rule: isn=off, http-date=on. Several times, or commas.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the tables and the text.", metavar="DIR")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="A page to look at; it asks no network.", metavar="FILE.html"),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit with 1 only for differences in these layers or fields: transport, ip.ttl. Several times,"
            " or commas; nothing: none."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
    packets: Annotated[int, typer.Option(min=0, help="Rows of the packet list.")] = 60,
    differences: Annotated[int, typer.Option(min=0, help="Differences to list.")] = 20,
) -> None:
    """Compare two captures: what is equal, what differs, in which layer, and why.

    Exit code 0: the same; 1: they differ; 2: they cannot be compared.
    """
    from pcaptool.diff import diff as run_diff
    from pcaptool.engine.heap import keep_freed

    keep_freed()
    counted = _counted(fail_on)
    with status("comparing"):
        found = run_diff(
            a,
            b,
            relation=relation.value if relation else None,
            side=side.value if side else None,
            tolerances=_pairs(tolerance, "--tolerance"),
            rules={name: _switch(name, word) for name, word in _pairs(rule, "--rule").items()},
        )
    if out is not None:
        write_diff(found, out)
    if html is not None:
        from pcaptool.report.comparison import comparison_page

        _write(html, comparison_page(found).encode())
    if as_json:
        answer(found.to_json())
    else:
        from pcaptool.report.diff import diff_renderable

        console().print(diff_renderable(found, packets=packets, differences=differences))
        if out is not None:
            console().print(f"written: {printable(str(out))}/diff.json, diff.txt, *.parquet", markup=False)
        if html is not None:
            console().print(f"written: {printable(str(html))}", markup=False)
    differs = found.exit_code == 1
    raise typer.Exit(found.exit_code if counted is None or not differs else int(found.differs_in(counted)))


def _counted(given: list[str] | None) -> set[str] | None:
    """Layers and fields whose differences count for the exit code; None for all."""
    if given is None:
        return None
    from pcaptool.diff.fields import FIELD_BY_NAME, LAYERS
    from pcaptool.diff.structure import STRUCTURE_FIELDS

    names = {name.strip() for text in given for name in text.split(",")} - {"nothing"}
    unknown = sorted(names - {*LAYERS, *FIELD_BY_NAME, *STRUCTURE_FIELDS, "frame.time"})
    if unknown:
        raise UsageError(
            f"--fail-on: no layer or compared field is called {unknown[0]!r}",
            hint=f"layers are {', '.join(LAYERS)}; fields are listed in docs/diff.md",
        )
    return names


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """`name=value` words, several to an argument with commas between."""
    pairs = {}
    for word in (w.strip() for text in given or () for w in text.split(",")):
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {word!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def _switch(name: str, word: str) -> bool:
    if word not in ("on", "off"):
        raise UsageError(f"--rule {name}={word!r} is not on or off")
    return word == "on"


def write_diff(found: Diff, folder: Path) -> None:
    """The result as files: diff.json, diff.txt, alignment.parquet, differences.parquet."""
    from pcaptool.report.diff import diff_text

    files = {
        "diff.json": found.to_json().encode(),
        "diff.txt": diff_text(found, width=160, packets=10_000, differences=1000).encode(),
    }
    buffer = io.BytesIO()
    found.differences.write_parquet(buffer)
    files["differences.parquet"] = buffer.getvalue()
    make_folder(folder)
    for name, data in files.items():
        _write(folder / name, data)
    _write_alignment(found, folder / "alignment.parquet")


def _write_alignment(found: Diff, path: Path) -> None:
    """A row a packet: part by part, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pcaptool.diff.room import letting_go
    from pcaptool.file.aside import AsideFile

    schema = found.rows(0).to_arrow().schema
    file = AsideFile(path)
    try:
        sink = pa.PythonFile(_Sink(file), "w")
        with letting_go(), pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for part in found.parts():
                writer.write_table(part.to_arrow().cast(schema))
        file.commit()
    except BaseException:
        file.discard()
        raise


class _Sink(io.RawIOBase):
    """A file aside as what pyarrow writes to."""

    def __init__(self, file: AsideFile) -> None:
        self._file, self._place = file, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def write(self, data: Buffer) -> int:
        view = memoryview(data)
        self._file.write(view)
        self._place += view.nbytes
        return view.nbytes


def _write(path: Path, data: bytes) -> None:
    """A file, whole or not at all."""
    from pcaptool.file.aside import AsideFile

    file = AsideFile(path)
    try:
        file.write(data)
        file.commit()
    except BaseException:
        file.discard()
        raise
