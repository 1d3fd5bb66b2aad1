"""What of a report is wanted: tables, and of each some columns or all.

Knows: names. Must not know: which analysis fills what, how anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from pcaptool.errors import UsageError
from pcaptool.tables import TABLES
from pcaptool.tables.columns import Columns
from pcaptool.tables.definition import Table

__all__ = ["TCP_RULES", "Selection", "select"]

# Versions of Wireshark whose rules can be followed, the usual one first.
TCP_RULES = ("4.0", "4.4")


@dataclass(frozen=True)
class Selection:
    """Names of the columns that are wanted.

    Parameters
    ----------
    columns : mapping
        Table name to its columns, in file order; tables in the order of the layers.
    tcp_rules : str
        Whose rules make conversations and TCP analysis: one of TCP_RULES.

    Examples
    --------
    >>> some = select(columns=["tcp.len", "tcp.srcport"])
    >>> some.tables, some.table("tcp").names, some.wants("tcp", {"len"}), some.wants("tcp", {"n"})
    (('tcp',), ('srcport', 'len'), True, False)
    """

    columns: Mapping[str, tuple[str, ...]]
    tcp_rules: str = TCP_RULES[0]

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return tuple(self.columns)

    @cached_property
    def _sets(self) -> dict[str, frozenset[str]]:
        return {table: frozenset(names) for table, names in self.columns.items()}

    def wants(self, table: str, names: Iterable[str]) -> bool:
        """Whether one of these columns is wanted."""
        mine = self._sets.get(table)
        return mine is not None and not mine.isdisjoint(names)

    def by_rules(self, tcp_rules: str) -> Selection:
        """The same, by other rules.

        Raises
        ------
        UsageError
            Rules that are not known.
        """
        if tcp_rules not in TCP_RULES:
            raise UsageError(f"there are no TCP rules {tcp_rules!r}", hint=f"known: {', '.join(TCP_RULES)}")
        return replace(self, tcp_rules=tcp_rules)

    def table(self, name: str) -> Table:
        """The definition of a table, with the wanted columns only."""
        whole, names = TABLES[name], self._sets[name]
        if len(names) == len(whole.columns):
            return whole
        return replace(whole, columns=tuple(c for c in whole.columns if c.name in names))

    def pick(self, name: str, columns: Columns) -> Columns:
        """Of computed columns those that are wanted."""
        names = self._sets[name]
        if columns.keys() <= names:
            return columns
        return {column: values for column, values in columns.items() if column in names}


def select(
    tables: Iterable[str] | None = None,
    columns: Iterable[str] | None = None,
    possible: Mapping[str, Iterable[str]] | None = None,
) -> Selection:
    """Tables that are wanted whole, and columns of others.

    Parameters
    ----------
    tables : iterable of str, optional
        Whole tables. Without them and without `columns`: all.
    columns : iterable of str, optional
        "table.column".
    possible : mapping, optional
        Table name to the columns that there can be; all that are defined without.

    Raises
    ------
    UsageError
        A name that is not known.
    """
    known = {name: tuple(TABLES[name].names) for name in TABLES}
    if possible is not None:
        known = {
            name: tuple(c for c in known[name] if c in set(possible[name]))
            for name in TABLES
            if name in possible
        }
    if tables is None and columns is None:
        return Selection(known)
    chosen: dict[str, set[str]] = {}
    for name in tables or ():
        if name not in known:
            raise UsageError(f"there is no table {name!r}", hint=f"known: {', '.join(known)}")
        chosen[name] = set(known[name])
    for word in columns or ():
        table, _, column = word.partition(".")
        if table not in known or not column:
            raise UsageError(f"there is no column {word!r}", hint=f"TABLE.COLUMN; tables: {', '.join(known)}")
        if column not in known[table]:
            raise UsageError(
                f"table {table} has no column {column!r}", hint=f"pcaptool schema {table} lists them"
            )
        chosen.setdefault(table, set()).add(column)
    return Selection(
        {name: tuple(c for c in known[name] if c in chosen[name]) for name in known if name in chosen}
    )
