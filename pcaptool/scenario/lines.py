"""On which line each key of a TOML file stands.

Knows: enough of TOML's grammar to find keys in a text that `tomllib` has already accepted.
Must not know: what any key means.

`tomllib` gives values without places; an error message needs the place. This walks the same text once and
notes the line of every table header, key and array element. It relies on the text being valid TOML.

Paths are tuples as in the loaded data: ("server", "route", 0, "write").
"""

from __future__ import annotations

import re

__all__ = ["find_lines"]

_Path = tuple[str | int, ...]
_KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*""")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_SCALAR = re.compile(
    r'"""(?:[^\\]|\\.)*?"""+|' r"'''.*?'''+|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'|[^\s,\]}#][^,\]}#\n]*",
    re.DOTALL,
)


def find_lines(text: str) -> dict[_Path, int]:
    r"""The 1-based line of each key of a valid TOML text.

    Examples
    --------
    >>> find_lines('a = 1\n[[b]]\nc = { d = 2 }\n[[b]]\nc = [\n 1,\n]')[("b", 1, "c", 0)]
    6
    """
    return _Finder(text).run()


class _Finder:
    """One walk over a text: a position, and the lines found so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[_Path, int] = {}
        self.arrays: dict[_Path, int] = {}  # array of tables -> index of its last element

    def run(self) -> dict[_Path, int]:
        table: _Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self.lines

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _note(self, path: _Path) -> None:
        line = self.text.count("\n", 0, self.at) + 1
        for end in range(1, len(path) + 1):  # a dotted key makes its tables, too
            self.lines.setdefault(path[:end], line)

    def _name(self) -> list[str]:
        """A dotted key; stands behind it afterwards."""
        parts = []
        while match := _KEY.match(self.text, self.at):
            word = match.group(1)
            parts.append(_unquoted(word))
            self.at = match.end()
            if not self.text.startswith(".", self.at):
                break
            self.at += 1
        return parts

    def _resolved(self, names: list[str], *, last: bool) -> _Path:
        """Table names with the index of the current element behind each array of tables."""
        path: _Path = ()
        for number, name in enumerate(names):
            path = (*path, name)
            if path in self.arrays and (last or number < len(names) - 1):
                path = (*path, self.arrays[path])
        return path

    def _header(self) -> _Path:
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        path = self._resolved(self._name(), last=not array)
        if array:
            self.arrays[path] = self.arrays.get(path, -1) + 1
            path = (*path, self.arrays[path])
        end = self.at + (2 if array else 1)
        self.at = start
        self._note(path)
        self.at = end
        return path

    def _pair(self, table: _Path) -> None:
        start = self.at
        path = (*table, *self._name())
        end, self.at = self.at, start
        self._note(path)
        self.at = end + 1  # behind the equals sign
        self._value(path)

    def _value(self, path: _Path) -> None:
        self._skip(_BLANK)
        if self.text.startswith("[", self.at):
            self._elements(path, "]")
        elif self.text.startswith("{", self.at):
            self._elements(path, "}")
        else:
            self._skip(_SCALAR)

    def _elements(self, path: _Path, closing: str) -> None:
        """An array or an inline table; stands behind it afterwards."""
        self.at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self.text.startswith(closing, self.at):
                break
            if closing == "}":
                self._pair(path)
            else:
                self._note((*path, index))
                self._value((*path, index))
                index += 1
            self._skip(_BLANK)
            if self.text.startswith(",", self.at):
                self.at += 1
        self.at += 1


def _unquoted(word: str) -> str:
    if word.startswith("'"):
        return word[1:-1]
    if not word.startswith('"'):
        return word
    simple = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}

    def character(match: re.Match[str]) -> str:
        code = match.group(1) or match.group(2)
        return chr(int(code, 16)) if code else simple.get(match.group(3), match.group(3))

    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", character, word[1:-1])
