"""`python -m pcaptool` is the command `pcaptool`. Knows: nothing else."""

from pcaptool.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
