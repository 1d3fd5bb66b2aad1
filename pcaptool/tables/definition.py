"""What a table and a column are.

Knows: names, types, units, provenance of a column; how they become an Arrow schema.
Must not know: any particular table.

Types are named by short strings (`KINDS`). A column whose kind is "text" holds few distinct strings
(addresses, protocol names) and is dictionary-encoded; "string" holds many.
`nullable` columns are null where the packet has no such field, never a magic value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KINDS", "Column", "Table"]

# kind -> (numpy dtype or "" where a column is not a plain array, one line)
KINDS: dict[str, tuple[str, str]] = {
    "bool": ("?", "true or false"),
    "u8": ("u1", "unsigned, 8 bits"),
    "u16": ("u2", "unsigned, 16 bits"),
    "u32": ("u4", "unsigned, 32 bits"),
    "u64": ("u8", "unsigned, 64 bits"),
    "i32": ("i4", "signed, 32 bits"),
    "i64": ("i8", "signed, 64 bits"),
    "f64": ("f8", "floating point (ratios only, never a time)"),
    "time": ("i8", "nanoseconds since 1970-01-01 UTC, as timestamp[ns, UTC]"),
    "text": ("", "dictionary-encoded string: few distinct values"),
    "string": ("", "string: many distinct values"),
    "u8_list": ("", "list of unsigned 8-bit values"),
    "u32_list": ("", "list of unsigned 32-bit values"),
    "text_list": ("", "list of strings"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
        Column name; units stand in it (`_ns`, `_bytes`) unless Wireshark's name is used.
    kind : str
        One of `KINDS`.
    doc : str
        One line.
    wireshark : str
        Filter name whose value this column equals, empty where there is none. Two names: of IPv4 and IPv6.
    nullable : bool
        Whether a row may lack it.
    """

    name: str
    kind: str
    doc: str
    wireshark: str = ""
    nullable: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"column {self.name}: unknown kind {self.kind!r}")


@dataclass(frozen=True)
class Table:
    """One table of a report.

    Parameters
    ----------
    name : str
        Also the file's stem.
    version : int
        Raised whenever a column is renamed, removed or changes its meaning.
    row : str
        What one row stands for.
    doc : str
        A paragraph for the docs page.
    columns : tuple of Column
        In file order; a cheap one first (a row count reads only that).

    Examples
    --------
    >>> t = Table("t", 1, "packet", "", (Column("n", "u32", "number"), Column("ts", "time", "time")))
    >>> t.arrow_schema.field("ts").type
    TimestampType(timestamp[ns, tz=UTC])
    >>> t.names
    ('n', 'ts')
    """

    name: str
    version: int
    row: str
    doc: str
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.columns):
            raise ValueError(f"table {self.name}: a column stands twice")

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in file order."""
        return tuple(c.name for c in self.columns)

    def __getitem__(self, name: str) -> Column:
        """A column by name."""
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {c.name: c for c in self.columns}

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """Arrow schema with each column's documentation in its metadata."""
        return self.select_schema(self.names)

    def select_schema(self, names: Iterable[str]) -> pa.Schema:
        """Arrow schema of some columns, in the order given."""
        import pyarrow as pa  # noqa: PLC0415 - `import pcaptool` and `--help` load no Arrow

        return pa.schema(
            [_arrow_field(self[name]) for name in names],
            metadata={"pcaptool.table": self.name, "pcaptool.table_version": str(self.version)},
        )


def _arrow_field(column: Column) -> pa.Field:
    import pyarrow as pa  # noqa: PLC0415

    about = {"doc": column.doc} | ({"wireshark": column.wireshark} if column.wireshark else {})
    return pa.field(column.name, arrow_type(column.kind), nullable=column.nullable, metadata=about)


def arrow_type(kind: str) -> Any:
    """The Arrow type of a column kind."""
    import pyarrow as pa  # noqa: PLC0415

    special = {
        "bool": pa.bool_(),
        "time": pa.timestamp("ns", "UTC"),
        "text": pa.dictionary(pa.int32(), pa.string()),
        "string": pa.string(),
        "u8_list": pa.list_(pa.uint8()),
        "u32_list": pa.list_(pa.uint32()),
        "text_list": pa.list_(pa.string()),
    }
    if kind in special:
        return special[kind]
    return pa.from_numpy_dtype(KINDS[kind][0])
