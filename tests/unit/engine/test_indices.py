"""No kernel counts from an array's end: compiled kernels take indices as they are."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given, settings

from pcaptool.analyze.pipeline import frames
from pcaptool.cli.main import run
from pcaptool.engine import Engine
from tests.property.test_decode import PACKETS, tables

CAPTURES = ("size-1.server.pcap", "loss-acks.server.pcap")


class FrontOnly(np.ndarray):
    """An array whose elements are Python's integers, and that refuses negative indices."""

    def __getitem__(self, at):
        found = super().__getitem__(from_front(at))
        return found if isinstance(found, np.ndarray) else found.item()

    def __setitem__(self, at, value):
        super().__setitem__(from_front(at), value)


def from_front(at):
    for part in at if isinstance(at, tuple) else (at,):
        for edge in (part.start, part.stop) if isinstance(part, slice) else (part,):
            assert edge is None or edge >= 0, at
    return at


def checked(value):
    if isinstance(value, np.ndarray):
        return value.view(FrontOnly)
    return tuple(map(checked, value)) if isinstance(value, tuple) else value


class CheckedEngine(Engine):
    def __init__(self, *_args):
        super().__init__("plain")

    def function(self, module, name):
        kernel = getattr(importlib.import_module(module), name)
        return lambda *args: kernel(*map(checked, args))

    flat = function


def test_a_negative_index_is_noticed():
    array = checked(np.zeros((2, 2)))
    array[0, 1] = 5
    assert array[0, 1] == 5
    with pytest.raises(AssertionError):
        array[0, -1]


@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize("rules", ["4.0", "4.4"])
def test_analysis(lab_captures, name, rules):
    found = frames(lab_captures / name, engine=CheckedEngine(), tcp_rules=rules)
    usual = frames(lab_captures / name, engine=Engine("plain"), tcp_rules=rules)
    assert all(found[table].equals(usual[table]) for table in usual)


@given(PACKETS)
@settings(max_examples=100)
def test_decoding_of_whatever_the_bytes(packet):
    assert len(tables([packet], 1, 0, CheckedEngine())["packets"]) == 1


def test_comparison(lab_captures, monkeypatch):
    monkeypatch.setattr(Engine, "function", CheckedEngine.function)
    monkeypatch.setattr(Engine, "flat", CheckedEngine.function)
    one, other = (str(lab_captures / name) for name in ("size-1.server.pcap", "size-1.client.pcap"))
    assert run(["diff", one, other]) in (0, 1)
