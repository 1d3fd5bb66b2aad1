"""What a terminal shows while a command works; a pipe shows nothing."""

from __future__ import annotations

import logging
import sys

import pytest

from pcaptool.cli.terminal import progress, status

ENGINE = logging.getLogger("pcaptool.engine.engine")


@pytest.mark.parametrize("shows", [progress, status])
@pytest.mark.parametrize("looking", [True, False])
def test_who_waits_for_the_compiler_is_told_so(shows, looking, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: looking)
    with shows("analyzing") as tell:
        assert (tell is not None) == looking
        ENGINE.info("compiling [red]for[/red] this machine")
    ENGINE.info("later")
    said = capsys.readouterr().err
    assert ("pcaptool: compiling [red]for[/red] this machine" in said) == looking
    assert "later" not in said
