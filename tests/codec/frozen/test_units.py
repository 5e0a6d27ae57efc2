"""Soft units by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.codec.frozen.parts import made_units
from uniaudio_cli.codec.frozen.units import Units, segment_means, unit

LINE = Units(
    mean=np.array([1.0], np.float32),
    projection=np.array([[2.0]], np.float32),
    centres=np.array([[[0.0], [2.0]]], np.float32),
    error=np.array([0.5], np.float32),
    baseline=np.zeros((1, 2), np.float32),
    temperature=2.0,
)


def test_soft_by_hand():
    # 1.5 lies at (1.5 - 1) 2 = 1, between the two; 1 at 0, where the squared distances 0 and 4 are divided by 2.
    np.testing.assert_allclose(LINE.soft(np.array([[1.5], [1.0]])), [[0.5, 0.5], [0.8808, 0.1192]], atol=1e-4)


def test_a_level_has_the_likeliest_codes_and_the_centred_roots():
    level = replace(LINE, baseline=np.array([[0.1, 0.2]], np.float32)).level(np.array([[1.0], [2.0]]))
    assert level.codes == (0, 1)
    np.testing.assert_allclose(level.feature, np.sqrt([0.5, 0.5]) - [0.1, 0.2], atol=1e-6)


def test_codes_of_later_books_follow_those_of_the_first():
    units = made_units(6, books=3, codes=4)
    features = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    soft = units.soft(features)
    np.testing.assert_allclose(soft.reshape(5, 3, 4).sum(axis=2), 1, rtol=1e-5)
    codes = np.array(units.level(features).codes).reshape(5, 3)
    assert (codes // 4 == [0, 1, 2]).all()


def test_features_of_any_length_are_the_same_where_they_are_normalised():
    units = replace(made_units(6), normalise=True)
    features = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    np.testing.assert_allclose(units.soft(features), units.soft(7 * features), atol=1e-5)


def test_tensors_round_trip():
    units = made_units(6, books=2)
    stored = units.tensors()
    again = Units.of(stored, units.temperature, units.normalise)
    for name, value in stored.items():
        np.testing.assert_array_equal(again.tensors()[name], value)
    assert (again.books, again.size, again.segments) == (2, 8, 1)


@pytest.mark.parametrize(
    ("rows", "weights", "wanted"),
    [
        ([0, 0, 1, 1], None, [0, 1]),
        ([0, 1], [1, 3], [1 / 3, 1]),  # at 1/8 and 5/8: the second is a third of the first segment
        ([5], None, [5, 5]),
    ],
)
def test_segments_by_hand(rows, weights, wanted):
    found = segment_means(np.array(rows, np.float32)[:, None], 2, None if weights is None else np.array(weights))
    assert found.shape == (2, 1)
    if rows != [0, 0, 1, 1] and weights is None:
        np.testing.assert_allclose(found[:, 0], wanted, atol=1e-4)
    assert found[0] <= found[1]


def test_one_segment_is_the_weighted_mean():
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_allclose(segment_means(rows, 1, np.array([1.0, 0.0, 1.0])), [[2.0, 3.0]], atol=1e-4)


def test_unit_leaves_zeros():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])
