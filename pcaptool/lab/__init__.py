"""The laboratory: a scenario on the real kernel of this machine, and the reference server that answers it.

Knows: real sockets, network namespaces, tcpdump, the kernel's tracepoints.
Must not know: how captures are decoded; how the model works (but `matrix`, which runs both and compares).

    server, requests    the reference HTTP server (`pcaptool serve`)
    client              the reference client
    run                 one scenario between two namespaces: captures, facts, stages
    matrix              many random scenarios, on the kernel and through the model, compared
"""

from __future__ import annotations
