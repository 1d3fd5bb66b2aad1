"""When kernels are compiled, where their machine code is kept, and that it is never needed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import pcaptool.engine.engine as engine_module
from pcaptool.engine import Engine, sources
from pcaptool.engine.calls import caller, flatten
from pcaptool.engine.engine import COMPILE_AFTER, LOAD_AFTER, LOAD_FROM_BYTES, kernel_for

CHAIN = "pcaptool.decode.kernels.chain"
SCRIPT = """
import sys
from pcaptool.analyze.pipeline import frames
from pcaptool.engine import Engine
print(frames(sys.argv[1], ["udp"], analyses=(), engine=Engine(sys.argv[2]))["udp"].height, "numba" in sys.modules)
"""


def run(capture, mode, **variables):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(capture), mode],
        capture_output=True,
        text=True,
        env=os.environ | variables,
        timeout=900,  # a loaded machine compiles for minutes
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_small_capture_needs_no_numba(lab_captures):
    assert run(lab_captures / "size-1.server.pcap", "auto") == ["0", "False"]


def test_disabled_compilation_is_plain_python(lab_captures):
    found = run(lab_captures / "size-1.server.pcap", "compiled", NUMBA_DISABLE_JIT="1")
    assert found == ["0", "False"]


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_only_costs_time(lab_captures):
    found = run(lab_captures / "size-1.server.pcap", "compiled", PCAPTOOL_CACHE_DIR="/proc/nowhere")
    assert found == ["0", "True"]


@pytest.mark.slow
def test_machine_code_is_kept_and_needs_no_numba_afterwards(lab_captures, tmp_path):
    capture = lab_captures / "size-1.server.pcap"
    place = {"PCAPTOOL_CACHE_DIR": str(tmp_path)}
    old, recent = tmp_path / "kernels-old", tmp_path / "kernels-recent"
    for folder, days in ((old, 61), (recent, 59)):
        folder.mkdir()
        os.utime(folder, times=(time.time() - days * 86_400,) * 2)
    assert run(capture, "compiled", **place) == ["0", "True"]
    assert run(capture, "compiled", **place) == ["0", "False"]
    assert (old.exists(), recent.exists()) == (False, True)
    for file in tmp_path.rglob(f"*{sources.SUFFIX}"):  # a file that was cut is compiled again, not loaded
        file.write_bytes(file.read_bytes()[:-1])
    assert run(capture, "compiled", **place) == ["0", "True"]
    assert run(capture, "compiled", **place) == ["0", "False"]


def test_a_long_capture_takes_kept_machine_code_at_once(monkeypatch):
    for cached in (True, False):
        monkeypatch.setattr(sources, "cached", lambda _name, answer=cached: answer)
        for size in (None, LOAD_FROM_BYTES - 1, LOAD_FROM_BYTES):
            engine = Engine()
            engine.expect(size)
            assert engine.compiled == (cached and size == LOAD_FROM_BYTES)
    plain = Engine("plain")
    plain.expect(LOAD_FROM_BYTES)
    assert not plain.compiled


def test_arguments_that_need_other_machine_code_are_told_apart():
    whole = np.zeros((4, 6), np.int64)
    readonly = whole.copy()
    readonly.flags.writeable = False
    different = [whole, whole[:, ::2], readonly, whole[0], whole.astype("i4"), (whole,), 1]
    kinds = [flatten((value,))[0] for value in different]
    assert len(set(kinds)) == len(kinds)
    assert flatten((whole,))[0] == flatten((whole.copy()[1:],))[0]
    with pytest.raises(TypeError, match="str"):
        flatten(("text",))


def test_more_arguments_than_can_be_passed():
    with pytest.raises(ValueError, match="2000"):
        caller(0, 2000, None)


def test_the_switch_comes_later_where_compiling_takes_time(monkeypatch):
    said = []
    for cached, limit in ((True, LOAD_AFTER), (False, COMPILE_AFTER)):
        monkeypatch.setattr(sources, "cached", lambda _name, answer=cached: answer)
        engine = Engine(on_compile=said.append)
        engine.passed(limit - 1)
        assert not engine.compiled
        assert engine.left == 1
        engine.passed(1)
        assert engine.compiled
    assert len(said) == 1


def test_the_cache_folder_changes_with_every_source_involved(tmp_path, monkeypatch):
    monkeypatch.setenv(sources.CACHE_VARIABLE, str(tmp_path))
    before = sources.cache_folder(CHAIN, "1")
    assert before != sources.cache_folder(CHAIN, "2")
    changed = tmp_path / "network.py"
    original = sources.source_path("pcaptool.decode.kernels.network")
    changed.write_bytes(original.read_bytes() + b"\n# changed\n")
    place = sources.source_path
    monkeypatch.setattr(
        sources, "source_path", lambda n: changed if n.endswith("kernels.network") else place(n)
    )
    assert sources.cache_folder(CHAIN, "1") != before


def test_no_cache_where_none_is_wanted(monkeypatch):
    monkeypatch.setenv(sources.CACHE_VARIABLE, "")
    assert sources.cache_folder(CHAIN, "1") is None
    assert not sources.cached(CHAIN)


@pytest.mark.parametrize(
    ("packets", "at_hand", "mode"),
    [(10, True, "plain"), (1000, True, "compiled"), (1000, False, "plain"), (50_000, False, "compiled")],
)
def test_a_kernel_that_is_called_once_is_compiled_where_that_is_worth_it(monkeypatch, packets, at_hand, mode):
    modes = []

    class Recorded(Engine):
        def __init__(self, mode):
            modes.append(mode)
            super().__init__("plain")

    monkeypatch.setattr(engine_module, "Engine", Recorded)
    monkeypatch.setattr(engine_module.sources, "cached", lambda _module, _name: at_hand)
    kernel_for("pcaptool.engine.loads", "be16", packets)
    assert modes == [mode]
