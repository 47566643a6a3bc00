"""The benchmark of graphics cards, at a tiny shape on the processor: what it measures is really a whole model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.card import SHAPES, Shape, agreeing, measured


def test_the_shapes_are_those_of_the_real_models() -> None:
    assert SHAPES["Qwen3-Embedding-0.6B"].billions == pytest.approx(0.44, abs=0.01)  # 0.6 with the token vectors
    assert SHAPES["Qwen3-Embedding-8B"].billions == pytest.approx(6.95, abs=0.05)  # 13.96 GFLOP a token


@pytest.mark.slow
def test_a_tiny_shape_is_measured_on_the_processor(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = Shape(32, 64, 2, 2, 1, 16, vocabulary=128)
    assert replace(tiny, layers=4).billions == 2 * tiny.billions
    share, ratio, halved, cosine, stays = measured("tiny", tiny, device="cpu", many=60)
    assert share.value > 0 and ratio.value > 0  # both are measured, on a processor that others use too
    assert (halved.value, stays.value) == (1, 0) and cosine.value > 0.999
    told = capsys.readouterr().out
    assert "tiny, 24 sequences:" in told and "tiny, 60 sequences:" in told and "of the roofline" in told


@pytest.mark.slow
def test_vectors_are_held_against_those_of_the_processor() -> None:
    for figure in agreeing("tiny", Shape(32, 64, 2, 2, 1, 16, vocabulary=128), device="cpu"):
        assert figure.value == pytest.approx(1, abs=1e-6)
