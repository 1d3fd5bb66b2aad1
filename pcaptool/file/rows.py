"""Many packets of the same length at once: records of a capture as one array.

Knows: the fixed parts of pcap's record and pcapng's enhanced packet block.
Must not know: where the bytes go (`writer`).
Complexity: O(bytes), a few array operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["repeated_records"]


def repeated_records(rows: np.ndarray[Any, np.dtype[np.uint8]], model: bytes, at: int) -> bytes:
    r"""Records that differ in the packet's bytes alone.

    Parameters
    ----------
    rows : array
        One packet a row.
    model : bytes
        The record of the first packet.
    at : int
        Where the packet's bytes begin in it.

    Examples
    --------
    >>> import numpy as np
    >>> repeated_records(np.array([[1, 2], [3, 4]], np.uint8), b"<\x01\x02>", 1)
    b'<\x01\x02><\x03\x04>'
    """
    import numpy as np  # noqa: PLC0415 - only where there are many

    count, size = rows.shape
    out = np.empty((count, len(model)), np.uint8)
    out[:] = np.frombuffer(model, np.uint8)
    out[:, at : at + size] = rows
    return out.tobytes()
