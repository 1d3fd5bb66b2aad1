"""A key of a scenario file: how a field of the model is written, what it may be, and what it means.

Knows: that the model's dataclasses *are* the table of keys: each field carries its `Key`.
Must not know: which keys there are (`model`).

Reading (`load`), writing (`dump`), error messages and docs/scenario.md derive from the keys; nothing about a
key is said twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from pcaptool.scenario.kinds import Kind

__all__ = ["Key", "Section", "Sections", "key", "keys_of", "section", "sections", "walk"]


@dataclass(frozen=True, slots=True)
class Section:
    """A nested table. Its defaults are those of the field's default value."""

    of: type


@dataclass(frozen=True, slots=True)
class Sections:
    """An array of tables."""

    of: type


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Parameters
    ----------
    field : str
        Attribute of the model.
    name : str
        Key in the file; differs from the attribute where the unit does (`delay_ms`, `delay_ns`).
    kind : Kind, Section or Sections
        What it may be.
    default : object
        The model's value where the key is not given.
    doc : str
        One line.
    """

    field: str
    name: str
    kind: Kind | Section | Sections
    default: Any
    doc: str


def key(default: Any, kind: Kind, doc: str, *, name: str | None = None) -> Any:
    """A field of the model that a scenario file can set."""
    return field(default=default, metadata={"key": (name, kind, doc)})


def section(of: type, doc: str, *, default: Any = None) -> Any:
    """A field that is a table of its own."""
    return field(default=of() if default is None else default, metadata={"key": (None, Section(of), doc)})


def sections(of: type, doc: str, *, name: str, default: tuple[Any, ...] = ()) -> Any:
    """A field that is an array of tables."""
    return field(default=default, metadata={"key": (name, Sections(of), doc)})


def keys_of(model: type | object) -> Iterator[Key]:
    """The keys of a model class (or of an instance: then its values are the defaults), in file order.

    Examples
    --------
    >>> from pcaptool.scenario.model import Link
    >>> [k.name for k in keys_of(Link)][:2]
    ['delay_ms', 'rate_mbit']
    """
    for item in fields(model):  # type: ignore[arg-type] # each model class is a dataclass
        name, kind, doc = item.metadata["key"]
        default = item.default if isinstance(model, type) else getattr(model, item.name)
        yield Key(item.name, name or item.name, kind, default, doc)


def walk(model: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Key]]:
    """Every leaf key of a scenario with its place; `Key.default` is the scenario's value.

    Arrays of tables count their elements from 0, as in error messages: ("server", "route", 0, "path").
    """
    for k in keys_of(model):
        here = (*path, k.name)
        match k.kind:
            case Section():
                yield from walk(k.default, here)
            case Sections():
                for index, element in enumerate(k.default):
                    yield from walk(element, (*here, index))
            case _:
                yield here, k
