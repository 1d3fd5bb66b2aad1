"""Writing behind: the same bytes whatever the blocks, faults of the thread told, nothing left behind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcaptool.errors import OutputError
from pcaptool.file.aside import AsideFile
from pcaptool.file.behind import WriteBehind


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=40), st.integers(1, 64))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_what_was_given(tmp_path_factory, pieces, block_bytes):
    path = tmp_path_factory.mktemp("behind") / "x"
    out = WriteBehind(AsideFile(path), block_bytes)
    for data, in_place in pieces:
        if in_place:
            out.room(len(data))[:] = data
        else:
            out.write(data)
    out.finish()
    assert path.read_bytes() == b"".join(data for data, _ in pieces)


class _Full(AsideFile):
    """A disk with room for one block."""

    taken = 0

    def write(self, data):
        type(self).taken += len(data)
        if self.taken > 16:
            raise OutputError("cannot be written: no space left on device", path=self.path)
        super().write(data)


@pytest.mark.parametrize("writes", [4, 5, 9])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, writes):
    _Full.taken = 0
    out = WriteBehind(_Full(tmp_path / "x"), block_bytes=16)
    with pytest.raises(OutputError, match="no space left"):  # noqa: PT012 - which call says so is the thread's matter
        for _ in range(writes):
            out.write(bytes(12))
        out.finish()
    out.discard()
    assert not list(tmp_path.iterdir())
