"""Arrays from buffers against pyarrow's own conversion, which is the oracle."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcaptool.tables.arrow_arrays import lists, numbers, strings, text_lists

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MAYBE = st.none() | TEXT


@given(st.lists(MAYBE))
def test_strings_are_pyarrow_s(values: list[str | None]) -> None:
    made = strings(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))


def test_words_may_be_appended_while_they_are_taken() -> None:
    """A decoder's dictionary grows in its thread while another one encodes what is there."""
    words = ["first"]
    done = threading.Event()

    def append() -> None:
        while not done.is_set() and len(words) < 1_000_000:
            words.append(f"word {len(words)}")

    thread = threading.Thread(target=append)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread.start()
    try:
        for _ in range(50):
            strings(words).validate(full=True)
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)


@given(st.lists(st.none() | st.lists(MAYBE)))
def test_lists_of_strings_are_pyarrow_s(values: list[list[str | None] | None]) -> None:
    made = text_lists(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.list_(pa.string())))


@given(st.lists(st.none() | st.integers(0, 2**16 - 1)), st.sampled_from(["u2", "u4", "i8", "u8"]))
def test_numbers_are_pyarrow_s_whatever_width_they_come_with(values: list[int | None], given_as: str) -> None:
    valid = np.array([value is not None for value in values], np.bool_)
    made = numbers(pa.uint16(), "u2", np.array([value or 0 for value in values], given_as), valid)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.uint16()))


@given(st.lists(st.lists(st.integers(0, 255))))
def test_lists_of_numbers_are_pyarrow_s(values: list[list[int]]) -> None:
    offsets = np.cumsum([0, *map(len, values)]).astype("i4")
    made = lists(offsets, numbers(pa.uint8(), "u1", np.array([each for row in values for each in row], "u1")))
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.list_(pa.uint8())))


@given(st.lists(st.booleans()))
def test_truth_values_are_pyarrow_s(values: list[bool]) -> None:
    assert numbers(pa.bool_(), "?", np.array(values, np.bool_)).equals(pa.array(values, pa.bool_()))


def test_a_number_that_does_not_fit_is_refused_unless_it_is_null() -> None:
    values = np.array([1, 1 << 20, -1], np.int64)
    with pytest.raises(OverflowError, match="does not fit uint16"):
        numbers(pa.uint16(), "u2", values)
    with pytest.raises(OverflowError, match="does not fit uint64"):
        numbers(pa.uint64(), "u8", np.array([-1], np.int64))
    some = numbers(pa.uint16(), "u2", values, np.array([True, False, False]))
    assert some.to_pylist() == [1, None, None]
    nothing = numbers(pa.float64(), "f8", np.array([np.nan, 0.5], np.float32)).to_pylist()
    assert nothing[0] != nothing[0]
    assert nothing[1] == 0.5


def test_a_report_is_made_without_pandas(fixtures: Path, tmp_path: Path) -> None:
    """It is installed for the recipes; importing it takes longer than making a small report."""
    pytest.importorskip("pandas")
    source = fixtures / "demo" / "real.server.pcap"
    program = (
        "import io, sys; from contextlib import redirect_stdout; from pcaptool.cli.main import run;"
        f" command = ['analyze', {str(source)!r}, '-o', {str(tmp_path / 'report')!r}];"
        "\nwith redirect_stdout(io.StringIO()) as said: code = run(command)"
        "\nprint(code, 'Flows' in said.getvalue(), 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0 True False"
