"""Kernel: the sender's loop: wait for each frame's deadline, hand it to the kernel, note when.

Knows: deadlines on CLOCK_MONOTONIC, sendmmsg(2), which errors pass and which do not.
Must not know: what frames hold, how they were planned.

Waiting is a hybrid: clock_nanosleep to SPIN_NS before the deadline, then reading the clock; a sleeping thread wakes
tens of microseconds late, a reading one does not. A frame is handed over alone, with a reading of the clock of its
own, unless sending is behind by more than BEHIND_NS (a rate beyond single calls; always with topspeed): then those that
are due go together, up to BATCH in one call.
What made one frame late (an interrupt, another program) disturbs one gap, not the burst behind it: frames that follow
keep their distances but for SLEW_NS, or a 128th, each until the lateness is made up for; what is beyond LATE_NS is made
up for at once. Deadlines themselves never move, so nothing adds up.
EAGAIN and ENOBUFS (a full socket buffer, queue or driver ring) are tried again until RETRY_NS have passed without any
success; then the sender gives up, as it does when the interface has gone.
"""

from __future__ import annotations

from typing import Any

from pcaptool.engine.system import load_acquire, monotonic_ns, send_messages, sleep_until, store_release

__all__ = ["CONTROL_SIZE", "send_frames"]

# control[...]: slots filled, slots done, whether to stop, whether no slot will follow; frames handed over or failed;
# times the sender found no frame planned; errno that ended it; first deadline on CLOCK_MONOTONIC; tries repeated;
# how late the last frame was, and when it was due
FILLED, DONE, STOP, ENDED, TRIED, STARVED, FATAL, START_NS, RETRIED = 0, 1, 2, 3, 4, 5, 6, 7, 8
LATENESS_NS, LAST_DUE_NS = 9, 10
CONTROL_SIZE = 16

# settings[...]
SLOTS, ROWS, BATCH, BEHIND_NS, SPIN_NS, RETRY_NS, SLEW_NS, LATE_NS = 0, 1, 2, 3, 4, 5, 6, 7

INTERRUPTED, NO_DEVICE_OR_ADDRESS, AGAIN, NO_DEVICE, NET_DOWN, NO_BUFFERS = 4, 6, 11, 19, 100, 105
MSG_DONTWAIT = 0x40
HEADER_BYTES = 64
SLICE_NS = 20_000_000  # a sleeping sender looks this often whether it is to stop
PAUSE_NS = 50_000  # between two tries
GAP_SHIFT = 7  # of a long gap a 128th is given up to make up for lateness


def send_frames(
    control: Any, settings: Any, handles: Any, headers: int, counts: Any, columns: Any, scratch: Any
) -> int:
    """Send what slots hold, until ENDED and all are done, or STOP, or an error that does not pass.

    Parameters
    ----------
    control, settings : int64 arrays
    handles : int64 array
        Socket of each interface.
    headers : int
        Address of the ring's struct mmsghdr array.
    counts : int64 array
        Rows of each slot.
    columns : tuple of int64 arrays
        Of the ring: due_ns, interface, size, sent_ns, error; a size of 0 is not sent.
    scratch : int64 array
        Room for a struct timespec.

    Returns
    -------
    int
        Slots done.
    """
    done = 0
    while True:
        while load_acquire(control, FILLED) == done:
            if load_acquire(control, STOP):
                return done
            if load_acquire(control, ENDED) and load_acquire(control, FILLED) == done:
                return done
            control[STARVED] += 1
            sleep_until(monotonic_ns(scratch) + PAUSE_NS, scratch)
        if done == 0:
            store_release(control, START_NS, monotonic_ns(scratch))
        slot = done % settings[SLOTS]
        base = slot * settings[ROWS]
        if not _send_slot(control, settings, handles, headers, columns, scratch, base, base + counts[slot]):
            return done
        done += 1
        store_release(control, DONE, done)


def _send_slot(
    control: Any, settings: Any, handles: Any, headers: int, columns: Any, scratch: Any, row: int, end: int
) -> bool:
    """One slot's rows; False where sending is over."""
    due_ns, interface, size = columns[0], columns[1], columns[2]
    start_ns = control[START_NS]
    while row < end:
        if size[row] == 0:
            row += 1
            continue
        slew_ns = max(settings[SLEW_NS], (due_ns[row] - control[LAST_DUE_NS]) >> GAP_SHIFT)
        held_ns = min(max(control[LATENESS_NS] - slew_ns, 0), settings[LATE_NS])
        now_ns = _wait(control, settings, start_ns + due_ns[row] + held_ns, scratch)
        if now_ns < 0:
            return False
        more = 1
        late_ns = now_ns - start_ns - due_ns[row]
        control[LATENESS_NS], control[LAST_DUE_NS] = late_ns, due_ns[row]
        behind = late_ns >= settings[BEHIND_NS]
        while (
            behind
            and more < settings[BATCH]
            and row + more < end
            and size[row + more]
            and interface[row + more] == interface[row]
            and start_ns + due_ns[row + more] <= now_ns
        ):
            more += 1
        gone = _send(
            control,
            settings,
            handles[interface[row]],
            headers,
            columns,
            scratch,
            row,
            more,
            now_ns - start_ns,
        )
        if gone == 0:
            return False
        row += gone
        store_release(control, TRIED, control[TRIED] + gone)
    return True


def _wait(control: Any, settings: Any, due_ns: int, scratch: Any) -> int:
    """Wait for a moment; the time then, or -1 when told to stop."""
    now_ns = monotonic_ns(scratch)
    while now_ns < due_ns:
        if load_acquire(control, STOP):
            return -1
        left_ns = due_ns - now_ns
        if left_ns > settings[SPIN_NS]:
            sleep_until(now_ns + min(left_ns - settings[SPIN_NS], SLICE_NS), scratch)
        now_ns = monotonic_ns(scratch)
    if load_acquire(control, STOP):
        return -1
    return now_ns


def _send(
    control: Any,
    settings: Any,
    handle: int,
    headers: int,
    columns: Any,
    scratch: Any,
    row: int,
    more: int,
    begin_ns: int,
) -> int:
    """Hand over frames that are due: how many were sent or have failed; 0 where sending is over."""
    sent_ns, error = columns[3], columns[4]
    start_ns = control[START_NS]
    first_failure_ns = 0
    while True:
        sent = send_messages(handle, headers + HEADER_BYTES * row, more, MSG_DONTWAIT)
        after_ns = monotonic_ns(scratch) - start_ns
        if sent > 0:
            # A call's frames share its time evenly; a frame alone has the call's begin.
            for k in range(sent):
                sent_ns[row + k] = begin_ns + (after_ns - begin_ns) * k // sent
            return sent
        if -sent not in (AGAIN, NO_BUFFERS, INTERRUPTED):
            error[row], sent_ns[row] = -sent, after_ns
            if -sent in (NET_DOWN, NO_DEVICE, NO_DEVICE_OR_ADDRESS):
                control[FATAL] = -sent
                return 0
            return 1
        if first_failure_ns == 0:
            first_failure_ns = after_ns
        control[RETRIED] += 1
        if after_ns - first_failure_ns > settings[RETRY_NS]:
            error[row], sent_ns[row], control[FATAL] = -sent, after_ns, -sent
            return 0
        if load_acquire(control, STOP):
            return 0
        sleep_until(start_ns + after_ns + PAUSE_NS, scratch)
        begin_ns = monotonic_ns(scratch) - start_ns
