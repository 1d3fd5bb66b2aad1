"""The modelled Linux hosts: one file per layer, in the order in which a response passes them.

    application/   what the server's and the client's program call, when, with which bytes
    syscalls       socket, connect, send, recv, shutdown, close: entry cost, blocking, the socket's lock
    tcp/           write queue, segmentation, windows, acknowledgements, timers, congestion control
    ip             IP header, identification, demultiplexing of what arrives
    neighbour      the next hop's link address: ARP, neighbour discovery, link header
    qdisc/         queueing disciplines
    device         offloads, software segmentation, the driver; the tap where tcpdump sits
    host, run      two of these, joined by a link; what comes out

Knows: what decides which packets leave and when (Linux 6.x), in integer nanoseconds of virtual time.
Must not know: files, the real clock, or how packets are decoded (`decode` is its test, and it `decode`'s).
"""
