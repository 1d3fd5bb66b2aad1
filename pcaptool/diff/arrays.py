"""What the modules of the diff call their arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Ints", "Mask"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
