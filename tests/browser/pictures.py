"""The pictures of the pages in docs/images, from captures that are bundled: `make pictures`.

Needs Chromium. Nothing compares them: fonts differ from machine to machine. Look at them before they are committed.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pcaptool.cli.main import run  # noqa: E402 - a script finds the package by itself
from tests.chromium import PROGRAM, Chromium  # noqa: E402

LAB = ROOT / "fixtures" / "captures" / "lab"
IMAGES = ROOT / "docs" / "images"


def command(*words: str | Path) -> None:
    """A command of pcaptool, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        code = run([str(word) for word in words])
    if code > 1:
        raise SystemExit(code)


def picture(page: Path, name: str, size: tuple[int, int], *steps: str) -> None:
    """A page as it is after some scripts, in a window of this size."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Chromium(Path(folder), *size) as browser,
    ):
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=False,
        )
        browser.open(page)
        for step in steps:
            browser.run(step)
        browser.picture(IMAGES / f"{name}.png")


def main() -> None:
    """Make them all."""
    if PROGRAM is None:
        raise SystemExit("there is no Chromium; on Debian: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="pcaptool-") as name:
        folder = Path(name)
        lost = LAB / "loss-mid-cubic.server.pcap"
        command("analyze", lost, "-o", folder / "r", "--html", folder / "lost.html")
        picture(folder / "lost.html", "report", (1280, 1595))
        both = (LAB / "repeat" / f"loss-mid-cubic.{end}.pcap" for end in ("client", "server"))
        command("diff", *(path.relative_to(Path.cwd()) for path in both), "--html", folder / "diff.html")
        picture(folder / "diff.html", "diff", (1440, 1400))
        model = folder / "model.pcapng"
        command("generate", ROOT / "fixtures" / "demo" / "scenario.toml", "-o", model)
        stages = folder / "model.stages.parquet"
        command("analyze", model, "-o", folder / "m", "--stages", stages, "--html", folder / "model.html")
        show = "document.getElementById('{}').scrollIntoView()"
        picture(folder / "model.html", "report-timings", (1300, 913), show.format("timings"))
        frame = "document.querySelector('#ladder rect[data-n=\"8\"]')"
        click = f"{frame}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"
        picture(folder / "model.html", "report-packet", (1300, 913), click, show.format("packet"))


if __name__ == "__main__":
    main()
