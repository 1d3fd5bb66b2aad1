"""Kernels over all packets of two sides: order by group, the same frames in the same order, turns, and reach.

Knows: numbers only. Must not know: what a frame is, or what follows from a match.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "by_group",
    "carried",
    "latest_known",
    "lowest",
    "mark_places",
    "marked_places",
    "reached",
    "same_frames",
    "settle",
    "turns",
]

REACH = 8  # packets that either side may skip where two sequences part, tried in all combinations
LOOK = 8  # packets that a new beginning is judged by
BUDGET = 64  # comparisons a packet of a group, for longer searches
NONE = -(1 << 62)
DATA = 3


def by_group(group: Any, starts: Any, order: Any) -> None:
    """A counting sort: `order` lists the indices group by group; negative groups are left out.

    `starts` has an element more than there are groups; all zero at first.
    """
    for i in range(len(group)):
        if group[i] >= 0:
            starts[group[i] + 1] += 1
    for g in range(len(starts) - 1):
        starts[g + 1] += starts[g]
    for i in range(len(group)):
        if group[i] >= 0:
            order[starts[group[i]]] = i
            starts[group[i]] += 1
    for k in range(len(starts) - 1):
        g = len(starts) - 1 - k
        starts[g] = starts[g - 1]
    starts[0] = 0


def settle(packets: Any, ways: Any, out: Any) -> None:
    """Number packets by flow pairs and by initial sequence numbers.

    Parameters
    ----------
    packets : (mine, ts, start, space, ack)
        Group (2 * flow + side, -1 without), time, and what `numbers_kernel.number` says; start and ack are
        overwritten.
    ways : (group, way, moves, ack moves, begin)
        For each of the side's groups, one more for none: its group by flow pairs, direction, what is to be added to
        numbers and acknowledgements (`NONE`: not known), the flow's first time.
    out : (group, way, elapsed, end)
        Written.
    """
    mine, ts, start, space, ack = packets
    new_group, new_way, moves, ack_moves, begin = ways
    group, way, elapsed, end = out
    for i in range(len(mine)):
        g = mine[i] if mine[i] >= 0 else len(new_group) - 1
        group[i], way[i] = new_group[g], new_way[g]
        elapsed[i] = ts[i] - begin[g]
        if start[i] != NONE and moves[g] != NONE:
            start[i] += moves[g]
            end[i] = start[i] + space[i]
        else:
            start[i], end[i] = NONE, NONE
        ack[i] = ack[i] + ack_moves[g] if ack[i] != NONE and ack_moves[g] != NONE else NONE


def latest_known(group: Any, known: Any, wanted: Any, last: Any, out: Any) -> None:
    """The latest known packet no later than each wanted one, in its group and in its flow.

    Parameters
    ----------
    group, known : arrays
        An element a packet; -1 in `known` for packets that are not.
    wanted : int64 array
        Indices, rising.
    last : (by group, by flow)
        All -1 at first.
    out : (in group, in flow)
        An element for each wanted packet, written: an index, or -1.
    """
    by_group_, by_flow = last
    in_group, in_flow = out
    k = 0
    for i in range(len(group)):
        if k >= len(wanted):
            return
        g = group[i]
        inside = 0 <= g < len(by_group_)
        if inside and known[i] >= 0:
            by_group_[g] = i
            by_flow[g >> 1] = i
        if wanted[k] == i:
            in_group[k] = by_group_[g] if inside else -1
            in_flow[k] = by_flow[g >> 1] if inside else -1
            k += 1


def common(x: Any, y: Any, i: int, j: int, end_x: int, end_y: int) -> int:  # noqa: PLR0917 - kernels take flat arguments
    """How many frames follow that are the same, at most `LOOK`; the common end of both counts as many."""
    (hash_x, order_x), (hash_y, order_y) = x, y
    k = 0
    while k < LOOK:
        if i + k >= end_x or j + k >= end_y:
            return LOOK if k and i + k >= end_x and j + k >= end_y else k
        if hash_x[order_x[i + k]] != hash_y[order_y[j + k]]:
            return k
        k += 1
    return k


def parted(x: Any, y: Any, i: int, j: int, end_x: int, end_y: int) -> tuple[int, int]:  # noqa: PLR0917 - kernels take flat arguments
    """Frames to skip on either side so that both go on alike, or none.

    The fewest, where a frame that stands for another one counts once; of equals those after which most follows
    alike; of these (frames that repeat byte for byte) those that leave both sides most alike in length.
    """
    uneven = (end_x - i) - (end_y - j)
    for skipped in range(1, REACH + 1):
        best, best_x, best_y, best_uneven = 0, 0, 0, 0
        for k in range(2 * skipped + 1):
            skip_x, skip_y = min(k, skipped), min(2 * skipped - k, skipped)
            follow = common(x, y, i + skip_x, j + skip_y, end_x, end_y)
            left = abs(uneven - skip_x + skip_y)
            if follow > best or (follow == best and follow > 0 and left < best_uneven):
                best, best_x, best_y, best_uneven = follow, skip_x, skip_y, left
        if best:
            return best_x, best_y
    return 0, 0


def far(x: Any, y: Any, i: int, j: int, end_x: int, end_y: int, budget: Any) -> tuple[int, int]:  # noqa: PLR0917 - kernels take flat arguments
    """The same for a long gap on one side, within a budget of comparisons."""
    for skipped in range(REACH + 1, max(end_x - i, end_y - j)):
        if budget[0] <= 0:
            return 0, 0
        budget[0] -= 2
        if i + skipped < end_x and common(x, y, i + skipped, j, end_x, end_y) > 1:
            return skipped, 0
        if j + skipped < end_y and common(x, y, i, j + skipped, end_x, end_y) > 1:
            return 0, skipped
    return 0, 0


def repeats(x: Any, y: Any, i: int, j: int, end_x: int, end_y: int) -> int:  # noqa: PLR0917 - kernels take flat arguments
    """How many frames of x repeat byte for byte the one that y has next, and has once.

    Behind frames that y lacks it is the first of them that it lacks, too: what is missing is one piece.
    """
    (hash_x, order_x), (hash_y, order_y) = x, y
    k = 0
    while i + k + 1 < end_x and j < end_y:
        next_x, next_y = hash_x[order_x[i + k + 1]], hash_y[order_y[j]]
        if next_x != next_y or hash_x[order_x[i + k]] != next_y:
            return k
        if j + 1 < end_y and hash_y[order_y[j + 1]] == next_x:
            return k
        k += 1
    return k


def same_frames(x: Any, y: Any, starts_x: Any, starts_y: Any, state: Any, limit: int, partner: Any) -> int:  # noqa: PLR0917 - kernels take flat arguments
    """Pair the frames of each group that are the same and stand in the same order.

    Parameters
    ----------
    x, y : (hash, order)
        A hash for each frame, and the frames group by group.
    starts_x, starts_y : int64 arrays
        Where each group begins in its order; an element more than there are groups.
    state : int64 array of five elements
        Zero at first: the group, whether it has begun, how far both sides of it have come, comparisons left for
        longer searches; goes on from what it says.
    limit : int
        Frames of `x` to look at before it returns.
    partner : int64 array
        An element for each frame of `x`, -1 at first, written: the one of `y`.

    Returns
    -------
    int
        Pairs; the end has come when the group of the state is behind the last one.
    """
    (hash_x, order_x), (hash_y, order_y) = x, y
    count = looked = 0
    budget = state[4:]
    while state[0] < len(starts_x) - 1 and looked < limit:
        g = state[0]
        end_x, end_y = starts_x[g + 1], starts_y[g + 1]
        if not state[1]:
            state[1], state[2], state[3] = 1, starts_x[g], starts_y[g]
            budget[0] = BUDGET * (end_x - starts_x[g] + end_y - starts_y[g])
        i, j = state[2], state[3]
        looked -= i
        while i < end_x and j < end_y and looked + i < limit:
            if hash_x[order_x[i]] == hash_y[order_y[j]]:
                partner[order_x[i]] = order_y[j]
                count += 1
                i += 1
                j += 1
                continue
            skip_x, skip_y = parted(x, y, i, j, end_x, end_y)
            if skip_x + skip_y == 0:
                skip_x, skip_y = far(x, y, i, j, end_x, end_y, budget)
            if skip_x + skip_y == 0:
                skip_x, skip_y = 1, 1
            i += skip_x
            j += skip_y
            if skip_y == 0:
                i += repeats(x, y, i, j, end_x, end_y)
            elif skip_x == 0:
                j += repeats(y, x, j, i, end_y, end_x)
        looked += i
        state[2], state[3] = i, j
        if i >= end_x or j >= end_y:
            state[0], state[1] = g + 1, 0
    return count


def place_key(group: int, kind: int, start: int, end: int, ack: int) -> int:
    """63 bits of a place in a flow: its group, kind and range, and for pure ACKs and probes what they acknowledge."""
    last = ack if kind in (5, 6) else end
    h = ((group * 31 + kind) & 0xFFFFFFFF) * 0x5BD1E995 & 0xFFFFFFFF
    h = ((h ^ (h >> 15) ^ (start & 0xFFFFFFFF)) * 0x2C1B3C6D) & 0xFFFFFFFF
    h = ((h ^ (h >> 13) ^ (last & 0xFFFFFFFF)) * 0x297A2D39) & 0xFFFFFFFF
    more = ((h ^ (start & 0x7FFFFFFF)) * 0x5BD1E995 + (last & 0x7FFFFFFF) * 31 + group) & 0x7FFFFFFF
    return (more << 32) | (h ^ (h >> 16))


def mark_places(chosen: Any, packets: Any, marks: Any, keys: Any) -> None:
    """Set the marks of the places of the chosen packets (indices), and write their keys."""
    group, kind, start, end, ack = packets
    mask = len(marks) - 1
    for k in range(len(chosen)):
        i = chosen[k]
        keys[k] = place_key(group[i], kind[i], start[i], end[i], ack[i])
        marks[keys[k] & mask] = 1


def where_is(keys: Any, key: int) -> int:
    """Where a key stands among rising ones, -1 where it does not."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < len(keys) and keys[low] == key else -1


def marked_places(packets: Any, marks: Any, keys: Any, found: Any) -> None:
    """Which packets stand at a place whose key is among the (sorted) keys; marks only save looking there."""
    group, kind, start, end, ack = packets
    mask = len(marks) - 1
    for i in range(len(group)):
        if group[i] < 0:
            continue
        key = place_key(group[i], kind[i], start[i], end[i], ack[i])
        if not marks[key & mask]:
            continue
        if where_is(keys, key) >= 0:
            found[i] = 1


def reached(packets: Any, places: Any, asked: Any, starts: Any, out: Any) -> None:
    """How far a side's data that begins no later than some places reaches, and what its peer acknowledges.

    Parameters
    ----------
    packets : (group, start, end, ack)
        An element a packet.
    places : int64 array
        For each group which of the asked ones it is, or -1.
    asked : int64 array
        Places, sorted within each group that is asked about.
    starts : int64 array
        Where each group's places begin in `asked`; an element more than there are groups.
    out : (reach, acked)
        An element a place, and one a group that is asked about, written; `NONE` where there is none.
    """
    group, start, end, ack = packets
    reach, acked = out
    for k in range(len(reach)):
        reach[k] = NONE
    for k in range(len(acked)):
        acked[k] = NONE
    for i in range(len(group)):
        if group[i] < 0 or group[i] >= len(places):
            continue
        back = places[group[i] ^ 1]
        if back >= 0 and ack[i] > acked[back]:
            acked[back] = ack[i]
        g = places[group[i]]
        if g < 0 or start[i] == NONE or end[i] <= start[i]:
            continue
        low, high = starts[g], starts[g + 1]
        while low < high:
            middle = (low + high) // 2
            if asked[middle] < start[i]:
                low = middle + 1
            else:
                high = middle
        if low < starts[g + 1] and end[i] > reach[low]:
            reach[low] = end[i]
    for g in range(len(starts) - 1):
        for k in range(starts[g] + 1, starts[g + 1]):
            reach[k] = max(reach[k], reach[k - 1])


def carried(packets: Any, asked: Any, keys: Any, out: Any) -> None:
    """How many packets carry some timestamps of some groups, and how many of the peers' echo them.

    Parameters
    ----------
    packets : (group, tsval, tsecr)
        An element a packet.
    asked : uint8 array
        For each group whether anything of it is asked.
    keys : int64 array
        Group << 32 | TSval, sorted, each once.
    out : (carried, echoed)
        An element a key, zero at first, written.
    """
    group, tsval, tsecr = packets
    for i in range(len(group)):
        if group[i] < 0 or group[i] >= len(asked):
            continue
        for k in range(2):
            value = tsval[i] if k == 0 else tsecr[i]
            g = group[i] ^ k
            if value < 0 or not asked[g]:
                continue
            at = where_is(keys, (g << 32) | value)
            if at >= 0:
                out[k][at] += 1


def lowest(x: Any, y: Any, scale: Any, found: Any) -> None:
    """Of each bin of x the index of the lowest sign * y, of equals the one with the smallest x.

    Parameters
    ----------
    x, y : int64 arrays
    scale : (sign, first x, width of a bin)
    found : int64 array
        An element a bin, -1 at first, written.
    """
    sign, first, width = scale
    for i in range(len(x)):
        k = (x[i] - first) // width
        old = found[k]
        if old < 0 or sign * y[i] < sign * y[old] or (y[i] == y[old] and x[i] < x[old]):
            found[k] = i


def turns(packets: Any, order: Any, closing: int, state: Any, out: Any) -> int:
    """Turns of conversations: new data of one side until the other speaks.

    Parameters
    ----------
    packets : (group, kind, end, ts)
        An element a packet.
    order : int64 array
        Packets by time order; empty where they stand in it already.
    closing : int
        Whether these are the last ones: then each conversation's last turn ends.
    state : (flow pairs, 6) int64 array
        Zero at first, goes on from what it says: highest number of each side, side that speaks + 1, first and last
        time, last time of the turn before (`NONE`: no turn before).
    out : (pair, asked, first, last)
        A row for each turn of a responder, written: when the originator's turn before it ended, when it began and
        ended.

    Returns
    -------
    int
        Rows.
    """
    group, kind, end, ts = packets
    pair_of, asked_at, first_at, last_at = out
    count = 0
    for k in range(len(group) + len(state) * closing):
        ends = k >= len(group)
        pair = k - len(group)
        way = -1
        if not ends:
            i = order[k] if len(order) else k
            if group[i] < 0 or kind[i] != DATA or group[i] >= 2 * len(state):
                continue
            pair, way = group[i] >> 1, group[i] & 1
            if state[pair, 2] == 0:
                state[pair, 0], state[pair, 1], state[pair, 5] = NONE, NONE, NONE
            if end[i] <= state[pair, way]:
                continue
            state[pair, way] = end[i]
            if state[pair, 2] == way + 1:
                state[pair, 4] = ts[i]
                continue
        if state[pair, 2] == 2 and state[pair, 5] != NONE:
            pair_of[count], asked_at[count], first_at[count], last_at[count] = (
                pair,
                state[pair, 5],
                state[pair, 3],
                state[pair, 4],
            )
            count += 1
        if ends:
            continue
        if state[pair, 2] != 0:
            state[pair, 5] = state[pair, 4]
        state[pair, 2], state[pair, 3], state[pair, 4] = way + 1, ts[i], ts[i]
    return count
