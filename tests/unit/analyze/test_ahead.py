"""Running ahead changes neither items nor errors, and leaves no thread behind."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.analyze.ahead import ahead


def threads():
    return [t.name for t in threading.enumerate() if t.name == "pcaptool-ahead"]


@given(st.lists(st.integers()), st.integers(1, 4))
def test_same_items(items, most):
    assert list(ahead(iter(items), most)) == items
    assert threads() == []


def test_an_error_comes_behind_the_items_before_it():
    def source():
        yield 1
        raise ValueError("cut")

    running = ahead(source())
    assert next(running) == 1
    with pytest.raises(ValueError, match="cut"):
        next(running)
    assert threads() == []


def test_no_more_is_made_than_is_asked_for():
    made = []

    def source():
        for i in range(100):
            made.append(i)
            yield i

    running = ahead(source(), 2)
    assert next(running) == 0
    running.close()
    assert len(made) <= 5
    assert threads() == []
