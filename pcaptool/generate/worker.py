"""A process that runs scenarios for another process: a wish is a line of JSON on standard input, and so is the answer.

Knows: how both look on the way.
Must not know: what is done with the answer (`together`).
"""

from __future__ import annotations

import json
import sys

from pcaptool.errors import PcapToolError
from pcaptool.generate.together import work

__all__ = ["main"]


def main() -> int:
    """Read, run, answer, until there is nothing more to read."""
    try:
        for line in sys.stdin:
            sys.stdout.write(f"{json.dumps(work(json.loads(line)))}\n")
            sys.stdout.flush()
    except PcapToolError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
