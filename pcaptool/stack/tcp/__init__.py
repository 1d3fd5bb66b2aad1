"""TCP of the modelled host, in the kernel's own division.

    sock            the state of a connection             ecn             congestion marks and their echo
    handshake       SYN, SYN-ACK, third ACK               rate            delivery-rate samples
    sendmsg         send(), recv(), shutdown(), close()   rtt             round-trip time, timeout, pacing rate
    output          which bytes leave now, and how        scoreboard      what SACK blocks say of each buffer
    cwnd            whether the window is in use          rack            what is overdue
    pacing          when the next buffer may leave        recovery        states, and what is sent again
    small_queue     how much may lie below TCP            reduction       how the window shrinks
    window          the window to advertise               undo            when it need not have
    options         option bytes in Linux's order         recovery_state  what recovery remembers
    validate        which segments count                  timers          retransmission, probes, delayed ACK
    input           what an arriving segment changes      give_up         when TCP stops to try
    ack             what an acknowledgement changes       pmtu            what "too big" changes
    acknowledge     when an ACK leaves                    info            TCP_INFO
    keepalive       whether an idle peer is still there
    challenge       answers to what does not fit          lock            the socket's owner, and its backlog
    ofo             what waits behind a hole              protocol        which socket a segment belongs to
    receive_queue   bytes that nobody has read yet        congestion      Reno, CUBIC, BBR: a file each

Knows: RFC 9293 as Linux 6.x implements it, under the kernel's names.
Must not know: programs, IP headers, devices.
"""
