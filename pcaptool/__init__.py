"""Predict, observe and compare the packets of a Linux web server.

The public surface. Everything is imported when it is first used (PEP 562): `import pcaptool` loads neither
polars nor numba nor pyarrow.

Examples
--------
>>> import pcaptool
>>> pcaptool.parse_scenario("seed = 7").seed
7
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pcaptool._version import __version__
from pcaptool.errors import (
    CaptureError,
    OutputError,
    PcapToolError,
    ReportError,
    ScenarioError,
    SystemRefusedError,
    UsageError,
)

if TYPE_CHECKING:
    from pcaptool.scenario import Scenario, dump_scenario, load_scenario, parse_scenario

# name -> the module that holds it
_LAZY = {
    "Scenario": "pcaptool.scenario",
    "dump_scenario": "pcaptool.scenario",
    "load_scenario": "pcaptool.scenario",
    "parse_scenario": "pcaptool.scenario",
}

__all__ = [
    "CaptureError",
    "OutputError",
    "PcapToolError",
    "ReportError",
    "Scenario",
    "ScenarioError",
    "SystemRefusedError",
    "UsageError",
    "__version__",
    "dump_scenario",
    "load_scenario",
    "parse_scenario",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'pcaptool' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, imported or not."""
    return sorted({*globals(), *__all__})
