import numpy as np
import polars as pl

from pcaptool.diff.align import HOW, align


def rows(*specs, group=0):
    """Rows from (content, start, end) or (content, start, end, kind); place is kind and range."""
    out = []
    for n, spec in enumerate(specs, 1):
        content, start, end = spec[:3]
        kind = spec[3] if len(spec) > 3 else "data"
        place = (hash((kind, start, end)) & 0xFFFFFFFF,)[0]
        out.append((n - 1, group, n, None, content, place, None, kind, start, end))
    schema = {
        "row": pl.Int64, "g": pl.Int64, "n": pl.UInt32, "identity": pl.UInt64, "content": pl.UInt64,
        "place": pl.UInt64, "stray": pl.UInt64, "kind": pl.String, "start": pl.Int64, "end": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(out, schema=schema, orient="row")


def pairs(found):
    return list(zip(found.one_a.tolist(), found.one_b.tolist(), strict=True))


def test_equal_content_is_paired_in_order():
    same = rows((1, 0, 10), (2, 10, 20), (1, 0, 10))
    found = align(same, same)
    assert pairs(found) == [(0, 0), (1, 1), (2, 2)]
    assert {HOW[h] for h in found.one_how} == {"content"}


def test_a_changed_packet_keeps_its_place():
    found = align(rows((1, 0, 10), (2, 10, 20)), rows((1, 0, 10), (9, 10, 20)))
    assert pairs(found) == [(0, 0), (1, 1)]
    assert HOW[found.one_how[1]] == "place"


def test_the_missing_one_of_two_alike_is_told_by_its_neighbours():
    # content 7 stands twice; the first one is missing in b: what stands before decides.
    a = rows((7, 5, 5, "ack"), (1, 5, 10), (7, 5, 5, "ack"), (2, 10, 20))
    b = rows((1, 5, 10), (7, 5, 5, "ack"), (2, 10, 20))
    found = align(a, b)
    assert pairs(found) == [(1, 0), (2, 1), (3, 2)]
    assert found.only_a.tolist() == [0]


def test_a_super_packet_is_its_segments():
    found = align(rows((1, 0, 30)), rows((2, 0, 10), (3, 10, 20), (4, 20, 30)))
    assert not len(found.one_a)
    assert found.seg_a.tolist() == [0, 0, 0]
    assert found.seg_b.tolist() == [0, 1, 2]
    assert len(set(found.seg_run.tolist())) == 1
    assert not len(found.only_a)
    assert not len(found.only_b)


def test_cuts_at_other_places_are_one_run():
    found = align(rows((1, 0, 15), (2, 15, 30)), rows((3, 0, 10), (4, 10, 30)))
    assert list(zip(found.seg_a.tolist(), found.seg_b.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 1)]


def test_a_short_cut_inside_a_long_one_does_not_hide_it():
    # b's second packet repeats a part; a's last packet still finds the long one that covers it.
    found = align(rows((1, 0, 20), (2, 20, 40)), rows((3, 0, 40), (4, 5, 10)))
    assert {(x, y) for x, y in zip(found.seg_a.tolist(), found.seg_b.tolist(), strict=True)} == {
        (0, 0), (1, 0), (0, 1),
    }  # fmt: skip


def test_a_packet_moved_in_sequence_space_is_found_behind_its_neighbour():
    found = align(rows((1, 0, 10), (2, 10, 20), (3, 20, 30)), rows((1, 0, 10), (9, 500, 510), (3, 20, 30)))
    assert pairs(found) == [(0, 0), (1, 1), (2, 2)]
    assert HOW[found.one_how[1]] == "kind"


def test_groups_do_not_mix():
    a = pl.concat([rows((1, 0, 10)), rows((2, 0, 10), group=2).with_columns(row=pl.lit(1, pl.Int64))])
    b = pl.concat([rows((2, 0, 10)), rows((1, 0, 10), group=2).with_columns(row=pl.lit(1, pl.Int64))])
    assert {HOW[h] for h in align(a, b).one_how} == {"place"}


def test_nothing_on_one_side():
    found = align(rows((1, 0, 10)), rows())
    assert found.only_a.tolist() == [0]
    assert not len(found.one_a)


def test_many_equal_packets_stay_linear():
    # A million-fold product would not end within the test's time.
    count = 30_000
    base = rows((1, 0, 0, "ack"))
    many = pl.concat([base] * count).with_columns(
        row=pl.int_range(count), n=pl.int_range(1, count + 1, dtype=pl.UInt32)
    )
    found = align(many, many.head(count - 1))
    assert len(found.one_a) == count - 1
    assert np.array_equal(np.sort(found.one_b), np.arange(count - 1))
