"""Kernels over packets that are the same on both sides, or are aligned one to one: counts and times, in one pass each.

Knows: numbers only. Must not know: what a packet is, or what follows from a count.
Each stands for a chain of whole-array steps whose intermediate arrays, of an element a packet, cost more than the
counting: of a million packets the memory alone is most of the time.
Time: O(packets). Memory: what the caller passes.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "couple",
    "disorder",
    "equal_pairs",
    "equal_times",
    "mark_pairs",
    "steps",
    "tally",
    "turned",
    "unsettled",
]


def equal_times(ts_a: Any, ts_b: Any, at_a: Any, at_b: Any, counted: Any) -> int:
    """How many of the couples that count have equal times."""
    equal = 0
    for k in range(len(at_a)):
        if counted[k] and ts_a[at_a[k]] == ts_b[at_b[k]]:
            equal += 1
    return equal


def equal_pairs(ts_a: Any, ts_b: Any, to_b: Any) -> int:
    """Packets of A that have a counterpart with the same time, minus those whose counterpart has another."""
    more = 0
    for i in range(len(to_b)):
        if to_b[i] >= 0:
            more += 1 if ts_a[i] == ts_b[to_b[i]] else -1
    return more


def turned(to_b: Any, first: int, to_a: Any) -> int:
    """The same pairs seen from B; how many. `to_a` is all -1 at first, `to_b` begins at A's packet `first`."""
    count = 0
    for i in range(len(to_b)):
        if to_b[i] >= 0:
            to_a[to_b[i]] = first + i
            count += 1
    return count


def mark_pairs(to_b: Any, found_a: Any, found_b: Any) -> None:
    """Mark a packet and its counterpart both, where either is."""
    for i in range(len(to_b)):
        if to_b[i] >= 0 and (found_a[i] or found_b[to_b[i]]):
            found_a[i] = found_b[to_b[i]] = 1


def tally(to_b: Any, shape: Any, group: Any, shapes: Any, groups: Any) -> None:
    """Count packets of A that have a counterpart by shape (never negative there), and by group; zero at first."""
    for i in range(len(to_b)):
        if to_b[i] >= 0:
            shapes[shape[i]] += 1
            if 0 <= group[i] < len(groups):
                groups[group[i]] += 1


def couple(order: Any, to_b: Any, a: Any, b: Any, out: Any) -> int:
    """Aligned packets in A's order by group.

    Parameters
    ----------
    order, to_b : int64 arrays
        A's packets by group; for each of A's packets B's, or -1.
    a, b : (group, way)
        Of each side's packets.
    out : (a, b, pair, way)
        Room for as many as there are, written: both indices, the flow pair or -1 (of a packet whose own flow has no
        counterpart, that of the other one), direction in it.

    Returns
    -------
    int
        Rows.
    """
    (group_a, way_a), (group_b, way_b) = a, b
    at_a, at_b, pair, way = out
    count = 0
    for k in range(len(order)):
        i = order[k]
        j = to_b[i]
        if j < 0:
            continue
        at_a[count], at_b[count] = i, j
        pair[count], way[count] = -1, way_a[i]
        if group_a[i] >= 0 and way_a[i] >= 0:
            pair[count] = group_a[i] >> 1
        elif group_b[j] >= 0 and way_b[j] >= 0:
            pair[count], way[count] = group_b[j] >> 1, way_b[j]
        count += 1
    return count


def steps(couples: Any, ts_a: Any, ts_b: Any, first: int, out: Any, counts: Any) -> None:  # noqa: PLR0917 - kernels take flat arguments
    """Time of each pair since a first one, and B's time minus A's, direction by direction.

    Parameters
    ----------
    couples : (a, b, way)
        Indices, and the direction in the flow.
    ts_a, ts_b : int64 arrays
    out : (when, step) of direction 0, then of direction 1
        Room for as many as there are, written.
    counts : int64 array of two elements
        How many there are of each direction; goes on from what it says.
    """
    at_a, at_b, way = couples
    when_0, step_0, when_1, step_1 = out
    count_0, count_1 = counts[0], counts[1]
    for k in range(len(at_a)):
        when = ts_a[at_a[k]]
        step = ts_b[at_b[k]] - when
        if way[k] == 0:
            when_0[count_0], step_0[count_0] = when - first, step
            count_0 += 1
        elif way[k] == 1:
            when_1[count_1], step_1[count_1] = when - first, step
            count_1 += 1
    counts[0], counts[1] = count_0, count_1


def disorder(couples: Any, groups: Any, number: Any, counted: Any, state: Any) -> int:
    """Groups in which B's packets do not rise as A's do.

    Parameters
    ----------
    couples : (a, b)
        Indices, by A's group.
    groups : (of a's packets, of b's packets)
    number : array
        B's packet numbers.
    counted : bool or uint8 array
        Which couples have an order; those of different groups have none.
    state : int64 array of three elements
        Zero at first: how many have an order, number and group + 2 of the last of them; goes on from what it says.

    Returns
    -------
    int
        How many fall behind the one before them in their group.
    """
    at_a, at_b = couples
    group_a, group_b = groups
    count, last, last_group = 0, state[1], state[2] - 2
    for k in range(len(at_a)):
        g = group_a[at_a[k]]
        if not counted[k] or g != group_b[at_b[k]]:
            continue
        n = number[at_b[k]]
        state[0] += 1
        if g == last_group and n <= last:
            count += 1
        last, last_group = n, g
    state[1], state[2] = last, last_group + 2
    return count


def unsettled(couples: Any, groups: Any, number: Any, counted: Any, top: Any, marks: Any) -> None:  # noqa: PLR0917 - kernels take flat arguments
    """Stretches of a group outside of which all stands in order: behind each, B's numbers are higher than all before.

    Parameters
    ----------
    couples, groups, number, counted
        As `disorder` takes them.
    top : int64 array
        An element a couple, for the kernel's own use.
    marks : uint8 array
        An element a couple, zero at first, written: 1 in a stretch of more than one couple, 2 where such a one ends.
    """
    at_a, at_b = couples
    group_a, group_b = groups
    last_group, highest = -2, 0
    for k in range(len(at_a)):
        g = group_a[at_a[k]]
        if not counted[k] or g != group_b[at_b[k]]:
            continue
        n = int(number[at_b[k]])
        highest = n if g != last_group or n > highest else highest
        top[k], last_group = highest, g
    last_group, lowest, end = -2, 0, 0
    inside = 0  # couples of the stretch that ends at `end`
    for back in range(len(at_a)):
        k = len(at_a) - 1 - back
        g = group_a[at_a[k]]
        if not counted[k] or g != group_b[at_b[k]]:
            continue
        n = int(number[at_b[k]])
        if g != last_group or top[k] < lowest:
            inside, end, lowest = 0, k, n
        else:
            lowest = min(lowest, n)
            if inside == 0:
                marks[end] = 2
            inside += 1
            marks[k] = 1
        last_group = g
