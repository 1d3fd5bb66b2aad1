"""`python -m pcaptool` is the command `pcaptool`. Knows: nothing else."""

import sys

from pcaptool.cli.main import run

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(run())
