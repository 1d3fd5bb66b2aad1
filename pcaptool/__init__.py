"""Predict, observe and compare the packets of a Linux web server.

The public surface. Everything is imported when it is first used (PEP 562): `import pcaptool` loads neither
polars nor numba nor pyarrow.

    generate(scenario, out)   what the modelled server would send: a capture and its stages (`Run`)
    predict(capture, out)     what the modelled server would have sent, given a capture's client packets
    analyze(captures, out)    captures to a folder of Parquet tables (`Report`)
    open_report(path)         a report that is there already
    scan_pcap(capture, table) a table of a capture as a polars LazyFrame: selections reach the decoder
    frames(capture, tables)   the tables of a capture in memory, as polars frames
    diff(a, b)                two captures or reports, compared layer by layer (`Diff`)
    replay(capture, [name])   a capture's packets sent again on an interface (`replay.Outcome`)
    parse_scenario, load_scenario, dump_scenario
                              TOML to `Scenario` and back

The verbs generate, predict, analyze, diff and replay are also rooms of the house; these rooms can be called.

Examples
--------
>>> import pcaptool
>>> pcaptool.parse_scenario("seed = 7").seed
7
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
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
    from pcaptool.analyze.pipeline import analyze, frames
    from pcaptool.diff import Diff, diff
    from pcaptool.generate import Run, Together, generate, generate_together
    from pcaptool.predict import Prediction, predict
    from pcaptool.replay import replay
    from pcaptool.scan import scan_pcap
    from pcaptool.scenario import Scenario, dump_scenario, load_scenario, parse_scenario
    from pcaptool.tables.report import Report, open_report

# Rooms that are verbs -> the module that holds the function of the room's name.
_VERBS = {
    "analyze": "pcaptool.analyze.pipeline",
    "diff": "pcaptool.diff",
    "generate": "pcaptool.generate",
    "predict": "pcaptool.predict",
    "replay": "pcaptool.replay",
}

# name -> the module that holds it
_LAZY = {
    "Diff": "pcaptool.diff",
    "Prediction": "pcaptool.predict",
    "Report": "pcaptool.tables.report",
    "Run": "pcaptool.generate",
    "Scenario": "pcaptool.scenario",
    "Together": "pcaptool.generate",
    "dump_scenario": "pcaptool.scenario",
    "frames": "pcaptool.analyze.pipeline",
    "generate_together": "pcaptool.generate",
    "load_scenario": "pcaptool.scenario",
    "open_report": "pcaptool.tables.report",
    "parse_scenario": "pcaptool.scenario",
    "scan_pcap": "pcaptool.scan",
}

__all__ = [
    "CaptureError",
    "Diff",
    "OutputError",
    "PcapToolError",
    "Prediction",
    "Report",
    "ReportError",
    "Run",
    "Scenario",
    "ScenarioError",
    "SystemRefusedError",
    "Together",
    "UsageError",
    "__version__",
    "analyze",
    "diff",
    "dump_scenario",
    "frames",
    "generate",
    "generate_together",
    "load_scenario",
    "open_report",
    "parse_scenario",
    "predict",
    "replay",
    "scan_pcap",
]


class _Verb(ModuleType):
    """A room that can be called: the call goes to the function of the room's name."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module(_VERBS[name]), name)(*args, **named)


class _Surface(ModuleType):
    """The package itself: whoever imports a verb's room first, the room becomes callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds a submodule to its package here, and only here.
        if name in _VERBS and type(value) is ModuleType:
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Surface


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _VERBS:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'pcaptool' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, imported or not."""
    return sorted({*globals(), *__all__})
