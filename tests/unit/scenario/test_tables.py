"""The table of keys is whole: it documents itself, matches other tables, and nothing in it is dead."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass

import pytest

from pcaptool.scenario import Costs, Scenario
from pcaptool.scenario.capabilities import CAPABILITIES, _pattern, lacking
from pcaptool.scenario.checks import contradictions
from pcaptool.scenario.document import scenario_page
from pcaptool.scenario.keys import Section, Sections, keys_of, walk
from pcaptool.scenario.kinds import Kind
from pcaptool.stack.hooks import STAGE_OF_POINT
from pcaptool.tables import STAGE_NAMES


def classes(model=Scenario):
    yield model
    for k in keys_of(model):
        if isinstance(k.kind, Section | Sections):
            yield from classes(k.kind.of)


@pytest.mark.parametrize("model", set(classes()), ids=lambda c: c.__name__)
def test_every_key_is_documented_and_its_default_allowed(model):
    assert is_dataclass(model)
    assert len({k.name for k in keys_of(model)}) == len(fields(model))
    for k in keys_of(model):
        assert k.doc
        if isinstance(k.kind, Kind) and k.default not in (None, ""):
            assert k.kind.allowed


def test_the_page_is_what_the_keys_say(root):
    assert (root / "docs" / "scenario.md").read_text() == scenario_page(), "run `make docs`"


def test_every_place_is_on_the_page():
    page = scenario_page()
    for path, k in walk(Scenario()):
        assert f"| `{k.name}` |" in page, path


def test_costs_are_named_after_stages():
    other = {
        "copy_per_kib",
        "splice_per_kib",
        "netif_receive_skb",
        "tcp_v4_rcv",
        "wakeup",
        "application",
        "accept",
    }
    names = {k.name for k in keys_of(Costs)}
    assert names - other <= set(STAGE_NAMES)
    # sys_enter_sendto is where a path begins, wire is what the link's rate costs, kfree_skb is where one ends
    free = {"sys_enter_sendto", "wire", "kfree_skb", "udp_sendmsg", "udp_send_skb", *STAGE_OF_POINT.values()}
    assert set(STAGE_NAMES) - names == free | ({"net_dev_xmit"} - names)


def test_the_default_scenario_is_sound():
    assert not list(contradictions(Scenario()))
    assert not list(lacking(Scenario()))


def test_every_capability_is_about_a_key():
    known = set()
    for model, path in tables(Scenario, ()):
        known |= {".".join((*path, k.name)) for k in keys_of(model)}
    assert {c.key for c in CAPABILITIES} <= known


def test_nothing_that_can_be_said_is_ignored(root):
    """Each key is read by the stack (its attribute stands there), or its other values are refused."""
    package = root / "pcaptool"
    files = [p for room in ("stack", "sim", "generate") for p in sorted((package / room).rglob("*.py"))]
    files += [package / "scenario" / name for name in ("application.py", "model.py", "programs.py")]
    code = "\n".join(p.read_text() for p in files)
    refused = {c.key for c in CAPABILITIES}
    words = {"name", "note"}  # for people
    no_effect = {"gso"}  # as in Linux: TCP builds super-packets anyway
    for path, k in walk(Scenario()):
        if k.field in words | no_effect or _pattern(path) in refused:
            continue
        assert re.search(rf"\.{k.field}\b", code), f"nothing reads {path}"


def tables(model, path):
    yield model, path
    for k in keys_of(model):
        if isinstance(k.kind, Section | Sections):
            name = "*" if path == ("host",) else k.name
            yield from tables(k.kind.of, (*path, name))
