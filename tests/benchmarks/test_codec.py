"""benchmarks/codec.py on the codec that ships."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from tests.scripts import script


@pytest.fixture
def benchmark():
    threads = torch.get_num_threads()
    yield from script("codec")
    torch.set_num_threads(threads)


def test_the_shipped_codec_is_timed_on_one_core_and_on_all(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["codec", "--shipped", "--seconds", "0.5", "1", "--repeats", "2", "--json"])
    torch.set_num_threads(2)
    benchmark.main()
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["threads"], row["clip_s"]) for row in rows] == [(1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0)]
    for row in rows:
        assert row["times_real_time"] == pytest.approx(row["clip_s"] / (row["encode_s"] + row["decode_s"]))
