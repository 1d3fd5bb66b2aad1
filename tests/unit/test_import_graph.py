"""Rooms import each other one way: the table in docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pcaptool"
FREE = {"_version"}  # a constant that everyone may read


def table():
    """room -> what it may import, as the page says; "and what it may import" adds the rooms of the first."""
    rooms = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) != 3 or not re.fullmatch(r"`\w+`", cells[0]):
            continue
        rooms[cells[0].strip("`")] = cells[2]
    return {name: allowed(cell, rooms) for name, cell in rooms.items()}


def allowed(cell, rooms):
    if cell == "everything":
        return set(rooms)
    names = set(re.findall(r"`(\w+)`", cell))
    if "what it may import" in cell:
        names |= {inner for name in tuple(names) for inner in allowed(rooms[name], rooms)}
    return names


def imports():
    """(file, room, imported room) for every import, also those inside functions and under TYPE_CHECKING."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                assert node.level == 0, f"{path}: relative import"
                names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                words = name.split(".")
                if words[0] == "pcaptool" and len(words) > 1:
                    yield "/".join(parts), parts[0], words[1]


ROOMS = table()


def test_the_page_names_every_room():
    found = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))}
    found |= {p.stem for p in PACKAGE.glob("*.py")} - FREE - {"__init__", "__main__"}
    assert found <= set(ROOMS)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_the_page_allows(room):
    exists = {p.stem for p in PACKAGE.iterdir()}
    wrong = {
        f"{place}.py imports {other}"
        for place, own, other in imports()
        if own == room and other not in ROOMS[room] | {room} | FREE and other in exists
    }
    assert not wrong


def test_stack_and_decode_never_meet():
    assert "decode" not in ROOMS["stack"]
    assert "stack" not in ROOMS["decode"]


def test_the_table_has_no_way_back():
    order = list(ROOMS)
    for room in order:
        for other in ROOMS[room] - {room}:
            assert room == "cli" or room not in ROOMS[other], f"{room} and {other} may import each other"
