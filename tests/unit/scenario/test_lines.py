"""The line finder agrees with tomllib on which keys there are, and knows where they stand."""

from __future__ import annotations

import tomllib

import pytest

from pcaptool.scenario.lines import find_lines

TEXT = '''\
# comment with [brackets] and = signs
a = 1  # trailing
"quoted key" = "x # no comment"
'lit.eral' = \'\'\'
several
lines\'\'\'
dotted.key.path = [1, [2, "]"], { in = 3 }]

[table]
multi = """
[not.a.header]
k = 2 \\""" \\
"""
array = [
  "one", # comment ]
  "two",
]
when = 2026-01-01T00:00:00Z
[table.sub]
x = { y = { z = "}" }, w = [
  1,
  2 ] }

[[many]]
k = 1
  [[many.inner]]
  v = 1
  [[many.inner]]
  v = 2
[[many]]
k = 2
[many.table]
"\\u0061\\"" = true
'''

PLACES = {
    ("a",): 2,
    ("quoted key",): 3,
    ("lit.eral",): 4,
    ("dotted", "key", "path"): 7,
    ("dotted", "key", "path", 2, "in"): 7,
    ("table",): 9,
    ("table", "multi"): 10,
    ("table", "array"): 14,
    ("table", "array", 1): 16,
    ("table", "when"): 18,
    ("table", "sub", "x", "y", "z"): 20,
    ("table", "sub", "x", "w", 1): 22,
    ("many", 0, "k"): 25,
    ("many", 0, "inner", 1, "v"): 29,
    ("many", 1, "k"): 31,
    ("many", 1, "table", 'a"'): 33,
}


@pytest.mark.parametrize(("path", "line"), PLACES.items(), ids=str)
def test_where_a_key_stands(path, line):
    assert find_lines(TEXT)[path] == line


def places(value, path=()):
    """All paths of loaded data."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def test_every_key_that_tomllib_finds_has_a_line(fixtures):
    texts = [TEXT, *(p.read_text() for p in sorted(fixtures.rglob("*.toml")))]
    for text in texts:
        assert set(places(tomllib.loads(text))) == set(find_lines(text))
