"""A header as a table: field name, width in bits, meaning.

Knows: big-endian bit fields of a fixed-size header, in order.
Must not know: any particular protocol.
Every header of `wire` is one `Layout`; packing and unpacking follow from the table, and so do the offsets
that the decoder's kernels use and the byte view that `diff` prints.
Complexity: `pack` and `unpack` are O(number of fields); headers are at most 60 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

__all__ = ["Field", "Layout"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a header.

    Parameters
    ----------
    name : str
        Name in the RFC's spirit, lower case.
    bits : int
        Width in bits.
    doc : str
        One line on what it holds.
    wireshark : str
        Wireshark's filter name, empty where it has none.
    """

    name: str
    bits: int
    doc: str = ""
    wireshark: str = ""


@dataclass(frozen=True)
class Layout:
    """A header of fixed size, most significant bit first.

    Parameters
    ----------
    name : str
        Short name of the header.
    source : str
        The document that defines it.
    fields : tuple of Field
        In wire order; the widths add up to whole bytes.

    Examples
    --------
    >>> two = Layout("two", "example", (Field("version", 4), Field("length", 12)))
    >>> two.pack(version=4, length=20).hex()
    '4014'
    >>> two.unpack(bytes.fromhex("4014"))
    {'version': 4, 'length': 20}
    """

    name: str
    source: str
    fields: tuple[Field, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if sum(f.bits for f in self.fields) % 8:
            raise ValueError(f"{self.name}: fields do not fill whole bytes")

    @cached_property
    def size(self) -> int:
        """Bytes of the header."""
        return sum(f.bits for f in self.fields) // 8

    @cached_property
    def bit_offsets(self) -> dict[str, int]:
        """First bit of each field, counted from the start of the header."""
        at, out = 0, {}
        for item in self.fields:
            out[item.name] = at
            at += item.bits
        return out

    def offset(self, name: str) -> int:
        """Byte in which a field begins."""
        return self.bit_offsets[name] // 8

    def pack(self, **values: int) -> bytes:
        """Header bytes; a field that is not given is 0.

        Raises
        ------
        KeyError
            A name that the header does not have.
        OverflowError
            A value that does not fit its field.
        """
        unknown = values.keys() - self.bit_offsets.keys()
        if unknown:
            raise KeyError(f"{self.name} has no field {min(unknown)!r}")
        word = 0
        for item in self.fields:
            value = values.get(item.name, 0)
            if value < 0 or value >> item.bits:
                raise OverflowError(f"{self.name}.{item.name}: {value} does not fit {item.bits} bits")
            word = word << item.bits | value
        return word.to_bytes(self.size, "big")

    def unpack(self, data: bytes | memoryview, at: int = 0) -> dict[str, int]:
        """Values of all fields of the header that begins at byte `at`.

        Raises
        ------
        ValueError
            Fewer bytes than the header needs.
        """
        raw = bytes(data[at : at + self.size])
        if len(raw) < self.size:
            raise ValueError(f"{self.name} needs {self.size} bytes, {len(raw)} are left")
        word, left, out = int.from_bytes(raw, "big"), self.size * 8, {}
        for item in self.fields:
            left -= item.bits
            out[item.name] = word >> left & ((1 << item.bits) - 1)
        return out
