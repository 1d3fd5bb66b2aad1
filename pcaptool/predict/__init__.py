"""What the modelled server would have sent, given exactly the client's packets of a real capture.

Knows: how a capture becomes a driven run: the server's settings and its program's writes are inferred, the client's
frames are played at their recorded times, and the modelled host answers.
Must not know: how the stack works inside, or how arguments came.

    observe    the capture's frames, by connection and direction
    infer      the server's settings, and what its program wrote when
    drive      the run

What comes out can be compared with what went in: bulk and lossy captures too, whose client differs from run to run.
"""

from __future__ import annotations

from pcaptool.predict.drive import Prediction, predict

__all__ = ["Prediction", "predict"]
