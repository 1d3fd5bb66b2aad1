"""The width of what commands print, the same whatever runs the tests (xdist sets COLUMNS for its workers)."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
