from __future__ import annotations

import math

import pytest
import torch

from uniaudio_cli.llm.ngram import NgramCache


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_it_is_a_distribution(weight):
    cache = NgramCache([[0, 1, 2, 1], [1], []], range(4), alpha=0.1, weight=weight)
    for ids in ([1], [3, 0], [2, 2, 2]):
        assert cache.rows(ids).exp().sum(dim=1).tolist() == pytest.approx([1] * len(ids))


def test_by_hand():
    # Seen: a mark, 5, 6, 5. Asked: 5, 6. P(5 | mark) from 1 of 1, P(6 | 5) from 1 of the one time 5 goes on.
    first = 0.5 * (1 + 1) / (1 + 10) + 0.5 * (2 + 1) / (3 + 10)
    second = 0.5 * (1 + 1) / (1 + 10) + 0.5 * (1 + 1) / (3 + 10)
    cache = NgramCache([[5, 6, 5]], range(10), alpha=1.0, weight=0.5)
    assert cache.score([5, 6]).exp().tolist() == pytest.approx([first, second])


def test_longer_n_grams_by_hand():
    # Seen: a mark, 1, 2, 3, 1, 2, 4. After 1 2 comes 3 or 4, and after 3 1 only 2.
    cache = NgramCache([[1, 2, 3, 1, 2, 4]], range(5), alpha=0.1, weight=0.5, order=3)
    single = [0.1 / 6.5, 2.1 / 6.5, 2.1 / 6.5, 1.1 / 6.5, 1.1 / 6.5]
    twos = 0.5 * (1 + 0.1) / 2.5 + 0.5 * single[3]  # 3 after 2
    assert cache.score([1, 2, 3]).exp()[2].item() == pytest.approx(0.5 * (1 + 0.1) / 2.5 + 0.5 * twos)
    # 2 was never heard after 4, nor anything after 4 4: then the shorter one counts.
    assert cache.rows([4, 4, 2])[2].tolist() == pytest.approx(cache.rows([0, 4, 2])[2].tolist())
    assert cache.rows([1, 2, 2, 4]).exp().sum(dim=1).tolist() == pytest.approx([1] * 4)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_what_comes_next_is_what_it_scores(order):
    heard = [1, 2, 1, 3, 1, 2, 1, 0]
    cache = NgramCache([heard, [3, 3]], range(4), order=order)
    rows = cache.rows(heard)
    for number in range(len(heard)):
        assert cache.next(heard[:number], (0, 1, 2, 3)).tolist() == pytest.approx(rows[number].tolist())


def test_the_longer_the_n_grams_the_surer_it_goes_on_as_it_was_heard():
    heard = [1, 2, 1, 3, 1, 2, 1, 0, 1, 2, 2, 3]
    scores = [float(NgramCache([heard], range(4), order=order).score(heard).sum()) for order in (2, 3, 4, 6)]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]


def test_ids_are_known_by_what_they_are_not_by_their_place():
    near = NgramCache([[0, 1, 0]], range(3))
    far = NgramCache([[70, 900, 70]], [70, 900, 5_000])
    assert torch.equal(near.score([0, 2, 1]), far.score([70, 5_000, 900]))


@pytest.mark.parametrize(
    ("query", "likely", "unlikely"),
    [
        ([1, 2, 3], [[1, 2, 3]], [[4, 5, 6]]),
        ([1, 2, 3], [[1, 2, 3]], [[3, 2, 1]]),
        ([7, 8], [[7], [8]], [[1], [7]]),
    ],
)
def test_it_prefers_what_it_has_seen(query, likely, unlikely):
    one, other = (float(NgramCache(clips, range(10)).score(query).sum()) for clips in (likely, unlikely))
    assert other < one < 0


def test_what_was_near_counts_by_how_near_it_was():
    cache = NgramCache([[1, 2]], range(4))
    rows = cache.rows([1, 3])
    hard = torch.full((2, 4), -math.inf).index_put_((torch.tensor([0, 1]), torch.tensor([1, 3])), torch.zeros(2))
    assert torch.equal(cache.score([1, 3], hard), cache.score([1, 3]))
    # The last frame was taken for 3, and was as likely 2, which followed 1 before.
    near = torch.tensor([[0.0, 1, 0, 0], [0, 0, 0.5, 0.5]]).log()
    expected = math.log((rows[1, 2].exp() + rows[1, 3].exp()) / 2)
    assert float(cache.score([1, 3], near)[1]) == pytest.approx(expected)
    assert cache.score([1, 3], near)[1] > cache.score([1, 3])[1]


def test_what_comes_next_is_what_followed_before_among_what_is_allowed():
    cache = NgramCache([[7, 3, 9], [7, 3, 5]], [3, 5, 7, 9])
    rows = cache.rows([3, 7, 3, 9])  # what may stand first, and after 3, 7 and 3
    for written, row in (([], 0), ([3], 1), ([3, 7], 2), ([3, 7, 3], 3)):
        assert cache.next(written, (3, 5, 7, 9)).tolist() == pytest.approx(rows[row].tolist())
    some = cache.next([7, 3], (5, 7))
    assert some.exp().sum() == pytest.approx(1)
    assert (some[0] - some[1]).item() == pytest.approx((rows[3][1] - rows[3][2]).item())
