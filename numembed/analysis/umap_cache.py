"""UMAP's compiled code kept on disk: the first map of a process costs a second instead of ten.

umap and pynndescent ask numba to compile without a cache. While they are imported, numba's ``njit``
gets ``cache=True`` as its default; a function that numba cannot cache is compiled as before.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def import_umap(cache_folder: Path | None) -> Any:
    """Return the umap module, its compiled code kept in ``cache_folder`` where it is not imported yet."""
    if "umap" in sys.modules or cache_folder is None:
        import umap
    else:
        with _caching_njit(cache_folder):
            import umap
    return umap


@contextlib.contextmanager
def _caching_njit(cache_folder: Path) -> Iterator[None]:
    import numba
    from numba.core import config

    cache_folder.mkdir(parents=True, exist_ok=True)
    plain = numba.njit

    def njit(*functions: Any, **options: Any) -> Any:
        if functions and callable(functions[0]):
            return _compile(plain, functions[0], options)
        return lambda function: _compile(plain, function, options, signature=functions)

    vars(config)["CACHE_DIR"] = str(cache_folder)  # stays: compilation happens at the first call, not at import
    numba.njit = njit
    try:
        yield
    finally:
        numba.njit = plain


def _compile(plain: Any, function: Any, options: dict[str, Any], signature: tuple[Any, ...] = ()) -> Any:
    try:
        return plain(*signature, **({"cache": True} | options))(function)
    except RuntimeError:  # "cannot cache function": made at run time, without a file
        return plain(*signature, **options)(function)
