"""What a scenario can say that only the model can do: the laboratory refuses it, rather than leave it out.

Knows: which keys these are.
Must not know: how the laboratory does the others.
"""

from __future__ import annotations

from pcaptool.errors import ScenarioError
from pcaptool.scenario import Scenario

__all__ = ["refuse_what_only_the_model_can"]


def refuse_what_only_the_model_can(scenario: Scenario) -> None:
    """Raise for the first such key.

    Raises
    ------
    ScenarioError
        The laboratory cannot do this.

    Examples
    --------
    >>> refuse_what_only_the_model_can(Scenario())
    """
    hosts, link = scenario.host, scenario.link
    for key, wanted in (
        ("hook", bool(scenario.hooks)),
        ("dns.queries", bool(scenario.dns.queries)),
        ("link.mtu", bool(link.mtu)),
        ("host.server.driver", hosts.server.driver != "veth"),
        ("host.client.driver", hosts.client.driver != "veth"),
    ):
        if wanted:
            raise ScenarioError(f"{key}: only the model can do this yet", hint="pcaptool generate runs it")
