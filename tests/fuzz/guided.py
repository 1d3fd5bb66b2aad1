"""Captures and packets that find new ways through the code: atheris (libFuzzer) watches which branches they take.

    python tests/fuzz/guided.py {file,packet} [--seconds N] [--seed N] [FOLDER...]

`file` takes the bytes as a capture file: pcap and pcapng in all their forms, damaged. `packet` takes them as packets
of one capture: the first byte chooses the link type, then each packet begins with its length; nothing is lost on
headers of files. Kernels run as plain Python: they raise where they read beyond a buffer, and every branch is seen.
It begins with the captures in the folders, by default the bundled ones. Whatever raises anything but the house's own
errors is written beside the working folder as `crash-...`, and the exit code is not 0.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import pkgutil
import struct
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures" / "captures"
LONGEST = 2_000  # bytes of an input: short ones are tried more often

PACKAGES = ("pcaptool.file", "pcaptool.decode", "pcaptool.analyze")

with atheris.instrument_imports(include=list(PACKAGES)):
    for package in PACKAGES:  # kernels are imported when they are first called: too late to be instrumented
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(found.name)
    from pcaptool.analyze.http import HttpAnalysis
    from pcaptool.analyze.registry import ANALYSES
    from pcaptool.analyze.timings import TimingAnalysis
    from pcaptool.decode.decoder import Decoder
    from pcaptool.engine import Engine
    from pcaptool.errors import PcapToolError
    from pcaptool.file.reader import open_capture
    from pcaptool.wire.linktype import LinkType

LINKS = tuple(LinkType)


def capture_of(raw: bytes) -> bytes:
    """A capture of the packets in these bytes.

    Examples
    --------
    >>> capture_of(bytes([1, 2, 7, 8]))[20:24], capture_of(bytes([1, 2, 7, 8]))[-2:]
    (b'\\x01\\x00\\x00\\x00', b'\\x07\\x08')
    """
    link = LINKS[raw[0] % len(LINKS)] if raw else LinkType.ETHERNET
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)]
    at = 1
    while at < len(raw):
        packet = raw[at + 1 : at + 1 + raw[at]]
        out.append(struct.pack("<IIII", len(out), 0, len(packet), len(packet)) + packet)
        at += 1 + raw[at]
    return b"".join(out)


def packets_of(capture: bytes) -> bytes:
    """The other way round, as far as a byte can say how long a packet is."""
    link = int.from_bytes(capture[20:24], "little")
    out = [bytes([LINKS.index(LinkType(link)) if link in set(LINKS) else LINKS.index(LinkType.ETHERNET)])]
    at = 24
    while at + 16 <= len(capture):
        size = int.from_bytes(capture[at + 8 : at + 12], "little")
        packet = capture[at + 16 : at + 16 + min(size, 255)]
        out.append(bytes([len(packet)]) + packet)
        at += 16 + size
    return b"".join(out)


def try_file(raw: bytes) -> None:
    """All that `analyze` does but for writing the tables, which takes most of the time and depends on no byte."""
    engine = Engine("plain")
    analyses = [entry.make(engine) for entry in ANALYSES]
    http = next(each for each in analyses if isinstance(each, HttpAnalysis))
    for each in analyses:
        if isinstance(each, TimingAnalysis):
            each.http = http
    with contextlib.suppress(PcapToolError), open_capture(io.BytesIO(raw), engine) as capture:
        for batch in Decoder(engine).batches(capture):
            for each in analyses:
                each.feed(batch)
    for each in analyses:
        each.finish()


def try_packets(raw: bytes) -> None:
    """The same for packets."""
    try_file(capture_of(raw))


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("what", choices=["file", "packet"])
    options.add_argument("folders", nargs="*", type=Path, default=[FIXTURES])
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(p for each in chosen.folders for p in each.rglob("*.*cap*") if p.is_file())
        for i, path in enumerate(files):
            raw = path.read_bytes()
            little = raw[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
            if chosen.what == "packet" and not little:
                continue
            seed = raw if chosen.what == "file" else packets_of(raw[: 4 * LONGEST])
            (Path(folder) / f"{i}").write_bytes(seed[:LONGEST])
        limits = (
            f"-max_total_time={chosen.seconds}",
            f"-max_len={LONGEST}",
            "-timeout=20",
            "-rss_limit_mb=2048",
        )
        arguments = [sys.argv[0], *limits, f"-seed={chosen.seed}", "-print_final_stats=1", folder]
        atheris.Setup(arguments, try_file if chosen.what == "file" else try_packets)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
