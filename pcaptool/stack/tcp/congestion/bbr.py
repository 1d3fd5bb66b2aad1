"""BBR version 1: pace at the measured bandwidth, hold about two bandwidth-delay products in flight.

Knows: the model of the path (largest delivery rate of ten rounds, shortest round trip of ten seconds), the four
modes, and the window and pacing rate that follow (draft-cardwell-iccrg-bbr-congestion-control-00; tcp_bbr.c).
Must not know: how a buffer's departure is delayed (`pacing`), how losses are found.
Fixed point as in the kernel, so that rates round alike: bandwidth in segments per microsecond times 2**24, gains in
256ths. Facts 42 and 64. The long-term estimator for policers is `bbr_policer`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from pcaptool.stack.tcp.congestion.base import CongestionControl
from pcaptool.stack.tcp.congestion.bbr_policer import Policer
from pcaptool.stack.tcp.congestion.filters import WindowedMax
from pcaptool.stack.tcp.congestion.units import BW_SCALE, BW_UNIT, UNIT, bytes_per_second
from pcaptool.stack.tcp.sock import CaState

if TYPE_CHECKING:
    from pcaptool.stack.tcp.rate import RateSample
    from pcaptool.stack.tcp.sock import TcpSock

__all__ = ["Bbr", "Mode"]

HIGH_GAIN = UNIT * 2885 // 1000 + 1  # 2/ln 2: doubles each round
DRAIN_GAIN = UNIT * 1000 // 2885
CWND_GAIN = 2 * UNIT
CYCLE = (UNIT * 5 // 4, UNIT * 3 // 4, UNIT, UNIT, UNIT, UNIT, UNIT, UNIT)
CYCLE_PHASES_DRAWN = 7  # the phase right after the probing one is not a beginning
BANDWIDTH_ROUNDS = 10
MIN_RTT_WINDOW_S = 10
PROBE_RTT_MS = 200
MIN_WINDOW = 4
FULL_BANDWIDTH_GROWTH = UNIT * 5 // 4
FULL_BANDWIDTH_ROUNDS = 3
SLOW_PATH_BPS = 1_200_000  # below it single segments leave
MAX_AGGREGATION_US = 100_000
AGGREGATION_ROUNDS = 5
INITIAL_WINDOW = 10
TSO_BYTES = 65536 - 1 - 320
INFINITE_SSTHRESH = 0x7FFFFFFF
UNKNOWN_RTT_US = 0xFFFFFFFF
_RECOVERING = frozenset({CaState.RECOVERY, CaState.LOSS})


class Mode(Enum):
    """What BBR is doing."""

    STARTUP = "startup"
    DRAIN = "drain"
    PROBE_BW = "probe_bw"
    PROBE_RTT = "probe_rtt"


class Bbr(CongestionControl):
    """BBR version 1."""

    takes_control = True
    needs_pacing = True
    sndbuf_factor = 3

    def __init__(self) -> None:
        self.mode = Mode.STARTUP
        self.pacing_gain = self.cwnd_gain = HIGH_GAIN
        self.bandwidth = WindowedMax(BANDWIDTH_ROUNDS)
        self.policer = Policer()
        self.rounds = 0
        self.round_start = False
        self.round_end_delivered = 0
        self.min_rtt_us = UNKNOWN_RTT_US
        self.min_rtt_jiffies = 0
        self.probe_rtt_done_jiffies: int | None = None
        self.probe_rtt_round_done = False
        self.idle_restart = False
        self.seen_rtt = False
        self.full_bandwidth = 0
        self.full_rounds = 0
        self.full = False  # STARTUP has filled the pipe
        self.cycle_index = 0
        self.cycle_us = 0
        self.prior_cwnd = 0
        self.prior_state = CaState.OPEN
        self.conserve = False  # first round of recovery: as much leaves as arrives
        self.extra_acked = [0, 0]
        self.extra_index = 0
        self.extra_rounds = 0
        self.epoch_us = 0
        self.epoch_acked = 0

    # --- hooks

    def init(self, sk: TcpSock) -> None:
        """bbr_init."""
        sk.ssthresh = INFINITE_SSTHRESH
        self.round_end_delivered = sk.delivered
        self.min_rtt_us = sk.min_rtt_us
        self.min_rtt_jiffies = _jiffies(sk)
        self._initial_pacing_rate(sk)
        self.policer.reset(sk)
        self.epoch_us = sk.host.now_ns // 1000

    def main(self, sk: TcpSock, sample: RateSample) -> None:
        """bbr_main: update the model, then pacing rate and window."""
        self._update_bandwidth(sk, sample)
        self._update_aggregation(sk, sample)
        if self.mode is Mode.PROBE_BW and self._phase_is_over(sk, sample):
            self._next_phase(sk)
        self._check_full(sample)
        self._check_drain(sk)
        self._update_min_rtt(sk, sample)
        self._update_gains()
        self._set_pacing_rate(sk, self._bw, self.pacing_gain)
        self._set_cwnd(sk, sample)

    def ssthresh(self, sk: TcpSock) -> int:
        """bbr_ssthresh: remember the window; there is no threshold."""
        self._save_cwnd(sk)
        return sk.ssthresh

    def undo_cwnd(self, sk: TcpSock) -> int:
        """bbr_undo_cwnd: look for the full pipe anew."""
        self.full_bandwidth = self.full_rounds = 0
        self.policer.reset(sk)
        return sk.snd_cwnd

    def min_tso_segs(self, sk: TcpSock) -> int:
        """bbr_min_tso_segs."""
        return 1 if sk.pacing_rate < SLOW_PATH_BPS >> 3 else 2

    def set_state(self, sk: TcpSock, state: CaState) -> None:
        """bbr_set_state: a timeout counts as the end of a round with a loss."""
        if state is CaState.LOSS:
            self.prior_state = CaState.LOSS
            self.full_bandwidth = 0
            self.round_start = True
            self._police(sk, losses=1, app_limited=False)

    def transmission_starts(self, sk: TcpSock) -> None:
        """bbr_cwnd_event: after idling, begin at the measured rate."""
        if not sk.app_limited:
            return
        self.idle_restart = True
        self.epoch_us, self.epoch_acked = sk.host.now_ns // 1000, 0
        if self.mode is Mode.PROBE_BW:
            self._set_pacing_rate(sk, self._bw, UNIT)
        elif self.mode is Mode.PROBE_RTT:
            self._check_probe_rtt_done(sk)

    # --- what the path can do

    @property
    def _bw(self) -> int:
        return self.policer.bandwidth if self.policer.in_use else self.bandwidth.value

    def _update_bandwidth(self, sk: TcpSock, sample: RateSample) -> None:
        """bbr_update_bw: rounds, and the largest delivery rate of the last ten."""
        self.round_start = False
        if sample.delivered < 0 or sample.interval_us <= 0:
            return
        if sample.prior_delivered >= self.round_end_delivered:
            self.round_end_delivered = sk.delivered
            self.rounds += 1
            self.round_start = True
            self.conserve = False
        self._police(sk, losses=sample.losses, app_limited=sample.app_limited)
        rate = sample.delivered * BW_UNIT // sample.interval_us
        if not sample.app_limited or rate >= self.bandwidth.value:
            self.bandwidth.update(self.rounds, rate)

    def _police(self, sk: TcpSock, *, losses: int, app_limited: bool) -> None:
        in_probe_bw = self.mode is Mode.PROBE_BW
        verdict = self.policer.sample(
            sk, losses=losses, app_limited=app_limited, round_start=self.round_start, in_probe_bw=in_probe_bw
        )
        if verdict == "begins":
            self.pacing_gain = UNIT
        elif verdict == "ends":
            self._enter_probe_bw(sk)

    def _update_aggregation(self, sk: TcpSock, sample: RateSample) -> None:
        """bbr_update_ack_aggregation: how much more than expected arrives at once."""
        if sample.acked <= 0 or sample.delivered < 0 or sample.interval_us <= 0:
            return
        if self.round_start:
            self.extra_rounds = min(0x1F, self.extra_rounds + 1)
            if self.extra_rounds >= AGGREGATION_ROUNDS:
                self.extra_rounds = 0
                self.extra_index ^= 1
                self.extra_acked[self.extra_index] = 0
        expected = self._bw * (sk.delivered_us - self.epoch_us) // BW_UNIT
        if self.epoch_acked <= expected or self.epoch_acked + sample.acked >= 1 << 20:
            self.epoch_acked, self.epoch_us, expected = 0, sk.delivered_us, 0
        self.epoch_acked = min(0xFFFFF, self.epoch_acked + sample.acked)
        extra = min(self.epoch_acked - expected, sk.snd_cwnd)
        self.extra_acked[self.extra_index] = max(self.extra_acked[self.extra_index], extra)

    def _update_min_rtt(self, sk: TcpSock, sample: RateSample) -> None:
        """bbr_update_min_rtt: a new measurement at least each ten seconds, with almost nothing in flight."""
        now = _jiffies(sk)
        expired = now > self.min_rtt_jiffies + MIN_RTT_WINDOW_S * sk.host.jiffies.hz
        if sample.rtt_us >= 0 and (sample.rtt_us < self.min_rtt_us or (expired and not sample.ack_delayed)):
            self.min_rtt_us, self.min_rtt_jiffies = sample.rtt_us, now
        if expired and not self.idle_restart and self.mode is not Mode.PROBE_RTT:
            self._save_cwnd(sk)
            self.mode = Mode.PROBE_RTT
            self.probe_rtt_done_jiffies = None
        if self.mode is Mode.PROBE_RTT:
            self._probe_rtt(sk, now)
        if sample.delivered > 0:
            self.idle_restart = False

    def _probe_rtt(self, sk: TcpSock, now: int) -> None:
        sk.app_limited = max(1, sk.delivered + sk.packets_in_flight)
        if self.probe_rtt_done_jiffies is None:
            if sk.packets_in_flight <= MIN_WINDOW:
                self.probe_rtt_done_jiffies = now + sk.host.jiffies.from_ms(PROBE_RTT_MS)
                self.probe_rtt_round_done = False
                self.round_end_delivered = sk.delivered
            return
        self.probe_rtt_round_done |= self.round_start
        if self.probe_rtt_round_done:
            self._check_probe_rtt_done(sk)

    def _check_probe_rtt_done(self, sk: TcpSock) -> None:
        now = _jiffies(sk)
        if self.probe_rtt_done_jiffies is None or now <= self.probe_rtt_done_jiffies:
            return
        self.min_rtt_jiffies = now
        sk.snd_cwnd = max(sk.snd_cwnd, self.prior_cwnd)
        if self.full:
            self._enter_probe_bw(sk)
        else:
            self.mode = Mode.STARTUP

    # --- modes

    def _check_full(self, sample: RateSample) -> None:
        """bbr_check_full_bw_reached: three rounds without a quarter more."""
        if self.full or not self.round_start or sample.app_limited:
            return
        if self.bandwidth.value >= self.full_bandwidth * FULL_BANDWIDTH_GROWTH // UNIT:
            self.full_bandwidth = self.bandwidth.value
            self.full_rounds = 0
            return
        self.full_rounds += 1
        self.full = self.full_rounds >= FULL_BANDWIDTH_ROUNDS

    def _check_drain(self, sk: TcpSock) -> None:
        if self.mode is Mode.STARTUP and self.full:
            self.mode = Mode.DRAIN
            sk.ssthresh = self._inflight(sk, self.bandwidth.value, UNIT)
        if self.mode is Mode.DRAIN and self._in_network(sk, sk.packets_in_flight) <= self._inflight(
            sk, self.bandwidth.value, UNIT
        ):
            self._enter_probe_bw(sk)

    def _enter_probe_bw(self, sk: TcpSock) -> None:
        self.mode = Mode.PROBE_BW
        drawn = sk.host.chance.stream("bbr cycle").randrange(CYCLE_PHASES_DRAWN)
        self.cycle_index = len(CYCLE) - 1 - drawn
        self._next_phase(sk)

    def _next_phase(self, sk: TcpSock) -> None:
        self.cycle_index = (self.cycle_index + 1) % len(CYCLE)
        self.cycle_us = sk.delivered_us

    def _phase_is_over(self, sk: TcpSock, sample: RateSample) -> bool:
        """bbr_is_next_cycle_phase."""
        whole = sk.delivered_us - self.cycle_us > self.min_rtt_us
        if self.pacing_gain == UNIT:
            return whole
        flying = self._in_network(sk, sample.prior_in_flight)
        bandwidth = self.bandwidth.value
        if self.pacing_gain > UNIT:
            reached = flying >= self._inflight(sk, bandwidth, self.pacing_gain)
            return whole and (sample.losses > 0 or reached)
        return whole or flying <= self._inflight(sk, bandwidth, UNIT)

    def _update_gains(self) -> None:
        match self.mode:
            case Mode.STARTUP:
                self.pacing_gain, self.cwnd_gain = HIGH_GAIN, HIGH_GAIN
            case Mode.DRAIN:
                self.pacing_gain, self.cwnd_gain = DRAIN_GAIN, HIGH_GAIN
            case Mode.PROBE_BW:
                self.pacing_gain = UNIT if self.policer.in_use else CYCLE[self.cycle_index]
                self.cwnd_gain = CWND_GAIN
            case Mode.PROBE_RTT:
                self.pacing_gain = self.cwnd_gain = UNIT

    # --- pacing rate and window

    def _initial_pacing_rate(self, sk: TcpSock) -> None:
        """bbr_init_pacing_rate_from_rtt."""
        rtt_us = 1000
        if sk.srtt8_us:
            rtt_us = max(sk.srtt8_us >> 3, 1)
            self.seen_rtt = True
        sk.pacing_rate = bytes_per_second(sk.mss_cache, sk.snd_cwnd * BW_UNIT // rtt_us, HIGH_GAIN)

    def _set_pacing_rate(self, sk: TcpSock, bandwidth: int, gain: int) -> None:
        if not self.seen_rtt and sk.srtt8_us:
            self._initial_pacing_rate(sk)
        rate = bytes_per_second(sk.mss_cache, bandwidth, gain)
        if self.full or rate > sk.pacing_rate:
            sk.pacing_rate = rate

    def _tso_segs(self, sk: TcpSock) -> int:
        size = min(sk.pacing_rate >> 10, TSO_BYTES)
        return min(max(size // sk.mss_cache, self.min_tso_segs(sk)), 0x7F)

    def _bdp(self, bandwidth: int, gain: int) -> int:
        """Bandwidth-delay product times a gain, in segments, rounded up."""
        if self.min_rtt_us == UNKNOWN_RTT_US:
            return INITIAL_WINDOW
        return ((bandwidth * self.min_rtt_us * gain // UNIT) + BW_UNIT - 1) // BW_UNIT

    def _budget(self, sk: TcpSock, window: int) -> int:
        """bbr_quantization_budget: room for super-packets on their way through both hosts."""
        window += 3 * self._tso_segs(sk)
        window = (window + 1) & ~1
        return window + 2 if self.mode is Mode.PROBE_BW and self.cycle_index == 0 else window

    def _inflight(self, sk: TcpSock, bandwidth: int, gain: int) -> int:
        return self._budget(sk, self._bdp(bandwidth, gain))

    def _in_network(self, sk: TcpSock, flying: int) -> int:
        """bbr_packets_in_net_at_edt: what will be in flight when the next buffer may leave."""
        now_ns = sk.host.now_ns
        wait_us = (max(sk.write_stamp_ns, now_ns) - now_ns) // 1000
        if self.pacing_gain > UNIT:
            flying += self._tso_segs(sk)
        return max(0, flying - (self._bw * wait_us >> BW_SCALE))

    def _save_cwnd(self, sk: TcpSock) -> None:
        good = self.prior_state not in _RECOVERING and self.mode is not Mode.PROBE_RTT
        self.prior_cwnd = sk.snd_cwnd if good else max(self.prior_cwnd, sk.snd_cwnd)

    def _recover(self, sk: TcpSock, sample: RateSample) -> tuple[int, bool]:
        """bbr_set_cwnd_to_recover_or_restore: the window, and whether it is final."""
        before, state = self.prior_state, sk.ca_state
        window = max(sk.snd_cwnd - sample.losses, 1) if sample.losses > 0 else sk.snd_cwnd
        if state is CaState.RECOVERY and before is not CaState.RECOVERY:
            self.conserve = True
            self.round_end_delivered = sk.delivered
            window = sk.packets_in_flight + sample.acked
        elif before in _RECOVERING and state not in _RECOVERING:
            window = max(window, self.prior_cwnd)
            self.conserve = False
        self.prior_state = state
        if self.conserve:
            return max(window, sk.packets_in_flight + sample.acked), True
        return window, False

    def _set_cwnd(self, sk: TcpSock, sample: RateSample) -> None:
        """bbr_set_cwnd: grow towards the target by what is acknowledged."""
        window = sk.snd_cwnd
        if sample.acked:
            window, final = self._recover(sk, sample)
            if not final:
                target = self._bdp(self._bw, self.cwnd_gain)
                if self.full:
                    most = self._bw * MAX_AGGREGATION_US // BW_UNIT
                    target += min(max(self.extra_acked), most)
                target = self._budget(sk, target)
                if self.full:
                    window = min(window + sample.acked, target)
                elif window < target or sk.delivered < INITIAL_WINDOW:
                    window += sample.acked
                window = max(window, MIN_WINDOW)
        sk.snd_cwnd = min(window, MIN_WINDOW) if self.mode is Mode.PROBE_RTT else window


def _jiffies(sk: TcpSock) -> int:
    return sk.host.jiffies.at(sk.host.now_ns)
