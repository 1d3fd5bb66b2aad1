"""Bodies of HTTP messages as files.

Knows: names that no capture can choose, bounds, a folder that appears whole or not at all.
Must not know: HTTP's grammar, streams.

A name is made of numbers and a suffix from a fixed list: `flow-000003-exchange-00012-response.html.gz`. Nothing
captured is ever part of a name. Transfer coding is removed; content coding is not undone: a suffix (`.gz`, `.br`) says
so. Bytes that the capture lacks are zeros in the file, so that all others stand in their place; `bodies.json` says how
many, and of which exchange each file is.
Bounds: BODY_BYTES a file, TOTAL_BYTES and FILES in all; what lies beyond is left out, and said.
Memory: at most BUFFER_BYTES a message that is being read.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pcaptool.errors import OutputError

__all__ = ["BODY_BYTES", "FILES", "TOTAL_BYTES", "Bodies", "Body"]

BODY_BYTES = 1 << 30
TOTAL_BYTES = 1 << 32
FILES = 100_000
BUFFER_BYTES = 1 << 16
_ZEROS = bytes(1 << 16)

_TYPES = {
    "text/html": "html", "text/css": "css", "text/plain": "txt", "text/csv": "csv", "text/xml": "xml",
    "text/javascript": "js", "application/javascript": "js", "application/json": "json", "application/xml": "xml",
    "application/pdf": "pdf", "application/zip": "zip", "application/gzip": "gz", "image/png": "png",
    "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/svg+xml": "svg", "image/x-icon": "ico",
    "font/woff2": "woff2", "video/mp4": "mp4", "audio/mpeg": "mp3",
}  # fmt: skip
_CODINGS = {"gzip": "gz", "x-gzip": "gz", "deflate": "deflate", "br": "br", "zstd": "zst", "compress": "Z"}


@dataclass(slots=True)
class Body:
    """One message's body; `left_out` are bytes behind the bounds."""

    file: str
    flow: int
    exchange: int
    side: str
    content_type: str | None = None
    content_coding: str | None = None
    size_bytes: int = 0
    gap_bytes: int = 0
    left_out_bytes: int = 0
    complete: bool = False
    waiting: bytearray = field(default_factory=bytearray, repr=False)
    number: int = field(default=0, repr=False)  # among all


class Bodies:
    """A folder of bodies that is being written.

    Parameters
    ----------
    folder : path
        Must not exist, or be empty.
    body_bytes, total_bytes, files : int
        Bounds.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with Bodies(place + "/b") as bodies:
    ...         body = bodies.begin(3, 12, "response", "text/html; charset=utf-8", "gzip")
    ...         bodies.add(body, b"abc")
    ...         bodies.end(body, complete=True)
    ...     print(*sorted(os.listdir(place + "/b")))
    bodies.json flow-000003-exchange-00012-response.html.gz
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        body_bytes: int = BODY_BYTES,
        total_bytes: int = TOTAL_BYTES,
        files: int = FILES,
    ) -> None:
        self._folder = Path(folder)
        self._bounds = (body_bytes, total_bytes, files)
        self._aside: Path | None = None
        self._left = total_bytes
        self._listed: list[Body] = []
        self.left_out = 0
        if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
            raise OutputError("is there already, and not an empty folder", path=self._folder)

    def __enter__(self) -> Self:
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._aside = Path(tempfile.mkdtemp(prefix=f".{self._folder.name}.", dir=self._folder.parent))
        except OSError as error:
            raise OutputError(f"cannot be made: {error.strerror}", path=self._folder) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._aside is None:
            return
        if kind is not None:
            shutil.rmtree(self._aside, ignore_errors=True)
            return
        listed = [
            {k: v for k, v in asdict(body).items() if k not in {"waiting", "number"}}
            for body in sorted(self._listed, key=lambda b: b.file)
        ]
        about = {"bodies": listed, "left_out": self.left_out}
        (self._aside / "bodies.json").write_text(json.dumps(about, indent=1), "utf-8")
        self._aside.chmod(0o777 & ~_umask())
        self._aside.replace(self._folder)

    @property
    def count(self) -> int:
        """Files so far."""
        return len(self._listed)

    def begin(
        self, flow: int, exchange: int, side: str, content_type: str | None, content_coding: str | None
    ) -> Body | None:
        """A body's first byte is there; None where there may be no more files."""
        if len(self._listed) >= self._bounds[2]:
            self.left_out += 1
            return None
        kind = (content_type or "").partition(";")[0].strip().lower()
        codings = [word.strip().lower() for word in (content_coding or "").split(",") if word.strip()]
        suffixes = [_TYPES.get(kind, "bin"), *(_CODINGS.get(word, "coded") for word in codings[:3])]
        name = f"flow-{flow:06}-exchange-{exchange:05}-{side}.{'.'.join(suffixes)}"
        body = Body(name, flow, exchange, side, content_type, content_coding, number=len(self._listed))
        self._listed.append(body)
        return body

    def rest(self, body: Body) -> int:
        """Write what waits; `of` gives the body back."""
        self._write(body)
        return body.number

    def of(self, number: int) -> Body:
        """The body that `rest` gave this number for."""
        return self._listed[number]

    def add(self, body: Body, data: bytes | memoryview) -> None:
        """More bytes of a body."""
        room = min(self._bounds[0] - body.size_bytes, self._left)
        taken = data[: max(room, 0)]
        body.left_out_bytes += len(data) - len(taken)
        body.size_bytes += len(taken)
        self._left -= len(taken)
        body.waiting += taken
        if len(body.waiting) > BUFFER_BYTES:
            self._write(body)

    def gap(self, body: Body, size: int) -> None:
        """Bytes of a body that the capture lacks."""
        body.gap_bytes += size
        for at in range(0, min(size, self._bounds[0], max(self._left, 0)), len(_ZEROS)):
            self.add(body, _ZEROS[: size - at])

    def end(self, body: Body, *, complete: bool) -> None:
        """No more will come of a body."""
        body.complete = complete and not body.left_out_bytes
        self._write(body)

    def _write(self, body: Body) -> None:
        if self._aside is None:
            raise OutputError("bodies are written inside a with statement only", path=self._folder)
        try:
            with (self._aside / body.file).open("ab") as file:
                file.write(body.waiting)
        except OSError as error:
            raise OutputError(
                f"cannot be written: {error.strerror}", path=self._folder / body.file
            ) from error
        body.waiting.clear()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
