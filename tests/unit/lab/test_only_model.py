"""The laboratory refuses what it would have to leave out."""

from __future__ import annotations

import pytest

from pcaptool.errors import ScenarioError
from pcaptool.lab.run import lab_run
from pcaptool.scenario import parse_scenario


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[[hook]]\naction = "pass"', "hook"),
        ("[dns]\nqueries = [1]", "dns.queries"),
        ("[link]\nmtu = 1400", "link.mtu"),
        ('[host.client]\ndriver = "nic"\nqdisc = "pfifo_fast"', "host.client.driver"),
    ],
)
def test_what_only_the_model_can_do_is_refused_before_anything_is_made(text, key, tmp_path):
    with pytest.raises(ScenarioError, match=f"{key}: only the model"):
        lab_run(parse_scenario(text), tmp_path / "out")
    assert not (tmp_path / "out").exists()
