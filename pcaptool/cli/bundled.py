"""Where the files of the demo lie: inside an installed package, or in the source folder."""

from __future__ import annotations

from pathlib import Path

import pcaptool
from pcaptool.errors import UsageError

__all__ = ["bundled"]


def bundled(name: str) -> Path:
    """A bundled file of the demo.

    Parameters
    ----------
    name : str
        File name under fixtures/demo.

    Raises
    ------
    UsageError
        The installation lacks it.

    Examples
    --------
    >>> bundled("scenario.toml").name
    'scenario.toml'
    """
    package = Path(pcaptool.__file__).parent
    for folder in (package / "fixtures" / "demo", package.parent / "fixtures" / "demo"):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"the bundled file {name} is missing", hint="install pcaptool anew")
