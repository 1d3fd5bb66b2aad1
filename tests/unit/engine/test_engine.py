"""When kernels are compiled, where their machine code is kept, and that it is never needed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import pcaptool.engine.engine as engine_module
from pcaptool.engine import Engine, sources
from pcaptool.engine.beside import Wanted, compile_all
from pcaptool.engine.calls import arguments_like, flatten, kinds_of
from pcaptool.engine.engine import COMPILE_AFTER, LOAD_AFTER, LOAD_FROM_BYTES, kernel_for
from pcaptool.engine.machine import kernel
from pcaptool.engine.undisturbed import signals_kept

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
    for tell in (kinds_of, lambda args: flatten(args)[0]):
        found = [tell((value,)) for value in different]
        assert len(set(found)) == len(found)
        assert tell((whole,)) == tell((whole.copy()[1:],))
        with pytest.raises(TypeError, match="str"):
            tell(("text",))


def test_arguments_made_from_kinds_have_these_kinds():
    whole = np.zeros((4, 6), np.int64)
    readonly = np.frombuffer(b"abc", np.uint8)
    given = (3, (whole, (readonly, 2)), whole[:, ::2], whole[0].astype("i4"), (), np.zeros(3, np.bool_))
    kinds = kinds_of(given)
    assert kinds_of(arguments_like(kinds)) == kinds
    for wrong in ("(", "i)", "x", "u2Cw", "u2", kinds[:-1]):
        with pytest.raises(ValueError, match="kinds"):
            arguments_like(wrong)


LOADS = "pcaptool.engine.loads"


TINY = """
def add(a, b):
    return a + b

def first(array, k):
    return 0 + array[k]

def corners(pair, more):
    table, line = pair
    table[1, 2] = 7
    return table[0, 0] + 10 * table[1, 0] + 100 * table[0, 2] + 1000 * line[1] + 10000 * more

def twice(k):
    return k + k
"""


@pytest.mark.parametrize("kept", [True, False])
def test_two_processes_compile_what_one_alone_would(tmp_path, monkeypatch, kept):
    """Where machine code is kept both do; where it is not, this one all."""
    name = f"tiny_kernels_{kept}"  # a process compiles a kernel once
    (tmp_path / f"{name}.py").write_text(TINY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv(sources.CACHE_VARIABLE, str(tmp_path / "kept") if kept else "/proc/nowhere")
    kinds = {"add": "ii", "first": "u1Cr1i", "twice": "i"}
    compile_all(Wanted(name, function, of) for function, of in kinds.items())
    made = sorted(path.name.split(".")[1] for path in tmp_path.rglob(f"*{sources.SUFFIX}"))
    assert made == (sorted(kinds) if kept else [])
    data = np.frombuffer(b"abc", np.uint8)
    assert kernel(name, "add")(2, 3) == 5
    assert kernel(name, "first")(data, 1) == ord("b")
    assert kernel(name, "twice")(21) == 42
    table = np.arange(24, dtype=np.int32).reshape(4, 6)
    for view in (table, table[::2, ::2], np.asfortranarray(table)):  # any strides
        before = [int(view[at]) for at in ((0, 0), (1, 0), (0, 2))]
        total = kernel(name, "corners")((view, np.array([0, 5, 0], np.uint16)[::1]), 6)
        assert total == before[0] + 10 * before[1] + 100 * before[2] + 5000 + 60_000
        assert view[1, 2] == 7


@pytest.fixture
def interruptible():
    """A shell's background job ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_llvm_calls_back_is_not_lost():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), signals_kept(), contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # what ctypes does with it is what `suppress` does
    assert signal.getsignal(signal.SIGINT) is before
    with signals_kept():
        pass


def test_what_a_long_capture_needs_is_compiled_when_it_turns_out_to_be_long(monkeypatch, caplog):
    asked = []
    monkeypatch.setattr(sources, "cached", lambda _name: False)
    monkeypatch.setattr("pcaptool.engine.beside.compile_all", lambda wanted: asked.append(list(wanted)))
    caplog.set_level("INFO", "pcaptool.engine")
    engine = Engine()
    flat, plain = engine.flat(LOADS, "be16"), engine.function(LOADS, "le16")
    data = np.arange(4, dtype=np.uint8)
    assert (flat(data, 0), plain(data, 0)) == (1, 256)
    assert not engine._seen  # a short capture looks at nothing
    engine.passed(LOAD_AFTER)
    assert (flat(data, 0), plain(data, 0)) == (1, 256)
    engine.passed(COMPILE_AFTER)
    assert asked == [[Wanted(LOADS, "be16", "u1Cw1i"), Wanted(LOADS, "le16", "u1Cw1i")]]
    assert [record.message for record in caplog.records] == [
        "compiling for this machine, once: some 10 to 20 seconds"
    ]


@pytest.mark.parametrize(
    ("size", "soon"), [(None, False), (COMPILE_AFTER * 1000, False), (COMPILE_AFTER * 2000, True)]
)
def test_what_is_long_by_its_size_is_compiled_soon(monkeypatch, size, soon):
    monkeypatch.setattr(sources, "cached", lambda _name: False)
    engine = Engine()
    engine.expect(size)
    engine.passed(LOAD_AFTER, LOAD_AFTER * 1000)
    assert (engine.left < 1000) == soon
    engine.passed(engine.left)
    assert engine.compiled


def test_the_switch_comes_later_where_compiling_takes_time(monkeypatch):
    for cached, limit in ((True, LOAD_AFTER), (False, COMPILE_AFTER)):
        monkeypatch.setattr(sources, "cached", lambda _name, answer=cached: answer)
        engine = Engine()
        engine.passed(limit - 1)
        assert not engine.compiled
        assert engine.left == 1
        engine.passed(1)
        assert engine.compiled


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
