"""What `pcaptool lab matrix --keep FOLDER` kept, against today's model: `python tests/model/kept.py FOLDER`.

The kernel does not run again, so that two versions of the model are held against the same captures.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pcaptool.diff import diff
from pcaptool.generate import generate
from tests.model.fidelity import counts


def main(folder: Path) -> None:
    """Print a line for each scenario that differs, and the sums."""
    runs = same = frames = equal = 0
    with tempfile.TemporaryDirectory() as scratch:
        for kept in sorted(path.parent for path in folder.glob("*/server.pcap")):
            model = generate(kept / "scenario.toml", Path(scratch) / "model.pcapng").capture
            found = diff(model, kept / "server.pcap", relation="model", side="server")
            real, alike = counts(found, "server to client")
            runs, frames, equal = runs + 1, frames + real, equal + alike
            if found.exit_code == 0:
                same += 1
            else:
                sys.stdout.write(f"{kept.name}: {alike} of {real} frames; {found.verdict}\n")
    sys.stdout.write(
        f"{same} of {runs} scenarios without a difference; {equal} of {frames} server frames equal\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
