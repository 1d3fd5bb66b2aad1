"""A scenario to capture files and the table of stages.

Knows: the model's run, the writers, which file gets which name.
Must not know: how the stack works, or how arguments came.

    generate             run a scenario through the modelled stack and write what its taps saw
    generate_together    several that share no host, into one capture, by several processes
"""

from __future__ import annotations

from pcaptool.generate.run import Run, generate
from pcaptool.generate.together import Together, generate_together

__all__ = ["Run", "Together", "generate", "generate_together"]
