"""Random scenarios: the same for a seed, accepted by the model, of every family; and the page about them."""

from __future__ import annotations

from pcaptool.lab.matrix import Row, page
from pcaptool.lab.sample import FAMILIES, PROGRAMS, Sample, available, samples
from pcaptool.scenario import Scenario, dump_scenario, parse_scenario


def test_the_same_seed_gives_the_same_scenarios_that_the_model_accepts():
    first = list(samples(150, 3))
    assert first == list(samples(150, 3))
    assert first != list(samples(150, 4))
    for sample in first:
        assert parse_scenario(dump_scenario(sample.scenario)) == sample.scenario
    assert len({dump_scenario(s.scenario) for s in first}) == 150


def test_every_family_comes_up_and_changes_something():
    drawn = list(samples(150, 1))
    assert {name for sample in drawn for name in sample.families} == set(available())
    assert set(available()) <= set(FAMILIES)
    plain = {"plain"}
    for sample in drawn:
        kept = Scenario(
            name=sample.scenario.name,
            seed=sample.scenario.seed,
            client=type(sample.scenario.client)(requests=sample.scenario.client.requests),
        )
        if len(sample.families) == 1 and sample.families[0] not in plain | {"head, body"}:
            assert sample.scenario != kept, sample.families


def test_a_scenario_has_one_program_and_no_family_that_is_left_out():
    drawn = list(samples(150, 5, without=["fq", "tbf"]))
    for sample in drawn:
        assert len(PROGRAMS.intersection(sample.families)) <= 1
        assert not {"fq", "tbf"}.intersection(sample.families)


def row(number, families, frames, equal, again="", first="", driven=-1):
    return Row(
        number, Sample(tuple(families), Scenario(name=f"n{number}")), frames, equal, again, first, driven
    )


def test_the_page_counts_what_the_rows_say():
    rows = [
        row(1, ["plain"], 10, 10, driven=10),
        row(2, ["plain", "mtu"], 10, 7, "same", "a | b differs", 9),
        row(3, ["mtu"], 5, 4, "differs", "c"),
    ]
    text = page(rows, 9)
    words = " ".join(text.split())
    assert "1 of 3 scenarios have no difference at all; 21 of 25 frames of the server (84.0 %)" in words
    assert "packets): 1 of 2; 19 of 20 frames (95.0 %)" in words
    assert "| plain | 2 | 1 | 1 |" in text
    assert "| mtu | 2 | 0 | 0 |" in text
    assert "| 2 | plain, mtu | 10 | 7 | 9 | same | a \\| b differs |" in text
    assert "| 3 | mtu | 5 | 4 | - | differs | c |" in text
    assert text.count("```toml") == 1
    assert 'name = "n2"' in text
