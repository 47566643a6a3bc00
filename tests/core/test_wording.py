from __future__ import annotations

import pytest

from numembed.core.errors import BadChoice
from numembed.core.wording import parse_size


def test_a_size_is_read_as_people_write_it() -> None:
    sizes = {"5GB": 5e9, "1.5 mb": 1.5e6, "300": 300, "2 T": 2e12, "10kB": 10_000}
    assert {text: parse_size(text) for text in sizes} == sizes
    for text in ("", "GB", "-5GB", "5PB", "5 GB x", "٣GB", "1e9", "nan"):
        with pytest.raises(BadChoice, match="is no size"):
            parse_size(text)
