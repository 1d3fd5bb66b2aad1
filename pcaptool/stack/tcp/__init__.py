"""TCP of the modelled host, in the kernel's own division.

    sock            the state of a connection
    handshake       SYN, SYN-ACK, third ACK
    sendmsg         what send(), recv(), shutdown() and close() do
    output          which bytes leave now, and under which header
    input           what an arriving segment changes
    receive_queue   bytes that nobody has read yet, and what they cost
    rtt             round-trip time, timeout, pacing rate
    timers          retransmission, loss probe, window probe, delayed ACK
    congestion      how the window grows
    options         option bytes in Linux's order
    lock            the socket's owner, and what waits for it
    protocol        which socket a segment belongs to

Knows: RFC 9293 as Linux 6.x implements it, under the kernel's names.
Must not know: programs, IP headers, devices.
"""
