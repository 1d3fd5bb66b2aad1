"""When a recorded frame of the client may reach the modelled server: not before it is possible.

Knows: that nobody acknowledges what was not sent yet, and that a client's frames keep their order.
Must not know: what the host does with a frame.
The model sends some frames microseconds later than the real server did. An acknowledgement of such a frame that came at
its recorded time would be thrown away, as TCP must, and the connection would wait for it for ever. So it waits for the
frame, and those behind it wait too. `held` counts them: each is a moment at which the model was late.
Where the model itself waits for an acknowledgement meanwhile, as its congestion window is full, neither would ever go
on: after `PATIENCE_NS` the model is told that what it has sent so far is acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from pcaptool.predict.observe import Frame
from pcaptool.stack.host import Host
from pcaptool.stack.skbuff import SkBuff
from pcaptool.stack.tcp.sock import near
from pcaptool.wire.tcp import SEQ_MASK, TcpFlag

__all__ = ["InOrder"]

PATIENCE_NS = 100_000
RETRY_NS = 4_000  # from a frame's leaving to its arrival at the peer and the answer's way back


class InOrder:
    """Lets a client's frames through when what they acknowledge has been sent.

    Parameters
    ----------
    host : Host
    deliver : callable
        Given a frame and the time at which it arrives.
    scales : dict
        By connection (server's address and port, client's address and port): the client's window scale.
    """

    def __init__(
        self,
        host: Host,
        deliver: Callable[[Frame, int], None],
        scales: dict[tuple[bytes, int, bytes, int], int],
    ) -> None:
        self.host = host
        self.scales = scales
        self.deliver = deliver
        self.held = 0
        self._waiting: dict[tuple[bytes, int, bytes, int], deque[Frame]] = {}
        self._sent: dict[tuple[bytes, int, bytes, int], int] = {}  # end of what has left

    def arrive(self, frame: Frame) -> None:
        """A frame's recorded time has come."""
        key = _key(frame)
        if key is None:
            self.deliver(frame, frame.time_ns)
        elif key in self._waiting:
            self._waiting[key].append(frame)
        elif self._possible(key, frame):
            self.deliver(frame, frame.time_ns)
        else:
            self.held += 1
            self._waiting[key] = deque([frame])
            self.host.simulator.after(PATIENCE_NS, self._lose_patience, key, frame, 0)

    def sent(self, time_ns: int, skb: SkBuff, leaving: bool) -> None:
        """The host sends: who waits may be let through soon."""
        if not leaving or skb.ip is None or skb.tcp is None:
            return
        key = (skb.ip.source, skb.tcp.srcport, skb.ip.destination, skb.tcp.dstport)
        end = skb.tcp.seq + skb.length + bool(skb.tcp.flags & (TcpFlag.SYN | TcpFlag.FIN))
        self._sent[key] = max(self._sent.get(key, end), near(end & SEQ_MASK, self._sent.get(key, end)))
        if key in self._waiting:
            self.host.simulator.at(time_ns + RETRY_NS, self._retry, key)

    def _retry(self, key: tuple[bytes, int, bytes, int]) -> None:
        waiting = self._waiting.get(key)
        while waiting and self._possible(key, waiting[0]):
            self.deliver(waiting.popleft(), self.host.simulator.now_ns)
        if waiting is not None and not waiting:
            del self._waiting[key]

    def _lose_patience(self, key: tuple[bytes, int, bytes, int], frame: Frame, told: int) -> None:
        """The model waits for the ACK that waits for it: so much of it as is true already.

        Where newer ACKs stand behind this one, it has been told by that; its bytes and its FIN must come whole.
        """
        waiting, sent, now_ns = self._waiting.get(key), self._sent[key], self.host.simulator.now_ns
        if not waiting or waiting[0] is not frame:
            return
        while waiting and not self._possible(key, waiting[0]):
            head = waiting[0]
            left_ns = head.time_ns + PATIENCE_NS - now_ns
            whole = head.skb.length or head.tcp.flags & TcpFlag.FIN
            if left_ns > 0 or whole or len(waiting) == 1:
                if left_ns <= 0 and sent > told:
                    self._tell(key, head, sent)
                    told = sent
                again_ns = left_ns if left_ns > 0 else PATIENCE_NS
                self.host.simulator.after(again_ns, self._lose_patience, key, head, told)
                return
            self._tell(key, waiting.popleft(), sent)
        self._retry(key)

    def _tell(self, key: tuple[bytes, int, bytes, int], frame: Frame, sent: int) -> None:
        """A frame's ACK as far as it is possible; the window ends where the client said that it does."""
        ahead, scale = near(frame.tcp.ack, sent) - sent, self.scales.get(key, 0)
        window = min(frame.tcp.window + (ahead >> scale), 65535)
        header = replace(frame.tcp, ack=sent & SEQ_MASK, flags=int(TcpFlag.ACK), window=window)
        skb = replace(frame.skb, tcp=header, length=0, payload=memoryview(b""))
        self.deliver(replace(frame, skb=skb), self.host.simulator.now_ns)

    def _possible(self, key: tuple[bytes, int, bytes, int], frame: Frame) -> bool:
        sent, header = self._sent.get(key), frame.tcp
        return sent is None or not header.flags & TcpFlag.ACK or near(header.ack, sent) <= sent


def _key(frame: Frame) -> tuple[bytes, int, bytes, int] | None:
    ip, tcp = frame.skb.ip, frame.skb.tcp
    if ip is None or tcp is None:
        return None
    return (ip.destination, tcp.dstport, ip.source, tcp.srcport)
