"""Values beyond the range of the type in which they would be saved: refused, and nothing is published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numembed.core.errors import ModelUnavailable
from numembed.models.files.tensors import TensorFolder
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
from tests.models.merging.weight_files import write_weights

LARGEST = {"F16": 65_504.0, "BF16": (2 - 2.0**-7) * 2.0**127, "F32": float(np.finfo(np.float32).max)}
BEYOND = {"F16": 65_520.0, "BF16": float(np.finfo(np.float32).max), "F32": 1e39}  # the first two round to infinity


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", LARGEST)
def test_a_value_beyond_the_range_of_its_type_is_refused_and_the_largest_is_kept(
    dtype: str, sign: int, tmp_path: Path
) -> None:
    values = np.array([[1.0, sign * LARGEST[dtype]], [0.5, -2.0]])
    write_weights(tmp_path, {"layer.weight": (dtype, values)})
    values[1, 0] = sign * BEYOND[dtype]
    with pytest.raises(ModelUnavailable, match=rf"'layer.weight'.*range of {dtype}.*float32"):
        write_weights(tmp_path, {"layer.weight": (dtype, values)})


@pytest.mark.parametrize("dtype", LARGEST)
def test_infinity_that_a_model_holds_itself_is_stored_as_it_is(dtype: str, tmp_path: Path) -> None:
    """Masks of attention hold it."""
    values = np.array([np.inf, -np.inf, 1.0], dtype=np.float32)
    assert TensorFolder(write_weights(tmp_path, {"mask": (dtype, values)}))["mask"].tolist() == values.tolist()


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_a_merge_beyond_the_range_of_its_half_precision_publishes_nothing(dtype: str, tmp_path: Path) -> None:
    large, none = np.full((4, 4), 0.75 * LARGEST[dtype], dtype=np.float32), np.zeros((4, 4), dtype=np.float32)
    base, part = (
        write_weights(tmp_path / name, {"w": (dtype, one)}) for name, one in (("base", none), ("part", large))
    )
    merge = Merge("task_arithmetic", options=(("scale", 255.8 / 191),))  # within float32
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ModelUnavailable, match=rf"The tensor 'w' .* range of {dtype}"):
        merge_folders(merge, [part], tmp_path / "out", base=base, saved_type="same")
    assert sorted(tmp_path.iterdir()) == before
    saved = merge_folders(merge, [part], tmp_path / "out", base=base, saved_type="float32")  # as the sentence advises
    assert saved.lost == 0 and saved.folder.is_dir()
