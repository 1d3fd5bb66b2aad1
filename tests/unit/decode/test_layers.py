"""The kernels' numbers are those of the layers' table; decoded columns are the tables' own."""

from __future__ import annotations

import numpy as np
import pytest

from pcaptool.decode.decoder import DECODED, decoded_columns
from pcaptool.decode.dictionary import Dictionary, address_text
from pcaptool.decode.kernels import codes
from pcaptool.decode.kernels.names import number_of
from pcaptool.decode.layers import ERROR_KINDS, LAYER_BITS, LAYER_NAMES, MAX_LAYERS, Layer
from pcaptool.tables import TABLES


def test_kernels_and_table_number_the_layers_alike():
    assert {layer.name: layer.value for layer in Layer} == {
        layer.name: getattr(codes, layer.name) for layer in Layer
    }
    assert (codes.LAYER_BITS, codes.MAX_LAYERS) == (LAYER_BITS, MAX_LAYERS)
    assert len(LAYER_NAMES) == max(Layer) + 1 <= 1 << LAYER_BITS
    assert len(ERROR_KINDS) == codes.E_OPTIONS + 1


@pytest.mark.parametrize("table", DECODED)
def test_every_column_of_a_table_is_decoded_or_an_analysis_fills_it(table):
    assert set(decoded_columns(table)) <= set(TABLES[table].names)
    left = set(TABLES[table].names) - set(decoded_columns(table))
    assert table in ("packets", "tcp", "udp") or not left


def test_numbers_are_given_in_order_of_appearance_and_kept():
    names = Dictionary(address_text, 1000)
    keys, slots, counts = names.table
    numbers = [number_of(0, value % 300, 4, keys, slots, counts) for value in range(900)]
    assert numbers == [value % 300 for value in range(900)]
    assert names.refresh()[299] == "0.0.1.43"


def test_a_long_list_of_words_is_begun_anew_and_the_old_one_stays():
    names = Dictionary(address_text, 70_000)
    keys, slots, counts = names.table
    for value in range(66_000):
        number_of(0, value, 4, keys, slots, counts)
    old = names.refresh()
    names.begin_batch()
    assert (len(old), len(names.words), int(names.table[2][0])) == (66_000, 0, 0)
    assert np.count_nonzero(names.table[1]) == 0
