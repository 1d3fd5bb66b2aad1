"""A scenario made in a program, held against the same rules as a file.

Knows: that what can be written as a scenario file and read again is a scenario.
Must not know: the rules themselves (`kinds`, `checks`, `capabilities`).
"""

from __future__ import annotations

import tomllib

from pcaptool.errors import ScenarioError
from pcaptool.scenario.dump import dump_scenario
from pcaptool.scenario.load import parse_scenario
from pcaptool.scenario.model import Scenario

__all__ = ["check_scenario"]


def check_scenario(scenario: Scenario, *, model: bool = True) -> None:
    """Refuse a scenario with values out of bounds, contradictions, or more than the modelled stack can do.

    Parameters
    ----------
    scenario : Scenario
    model : bool
        Whether it is for the modelled stack; else for a real kernel.

    Raises
    ------
    ScenarioError
        With the key.

    Examples
    --------
    >>> from pcaptool.scenario import Limits
    >>> check_scenario(Scenario(limits=Limits(max_frames=0)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    pcaptool.errors.ScenarioError: limits.max_frames: 0 is ...
    """
    try:
        text = dump_scenario(scenario)
        tomllib.loads(text)
    except (TypeError, ValueError, AttributeError) as error:  # a TOML error is a ValueError
        raise ScenarioError(f"a value is of a wrong type: {error}") from None
    try:
        parse_scenario(text, model=model)
    except ScenarioError as error:
        raise ScenarioError(error.what, hint=error.hint) from None
