"""Who may import whom, what may be imported where, and what no file may do; read from the syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIERS = {  # of each package: its parts from low to high; each imports its own and lower tiers' parts only
    "numembed": (
        *("core", "storage sequences", "models analysis", "studies", "examinations merge_experiment paper"),
        *("__init__", "runs figures", "export", "cli", "prepared", "__main__"),  # __init__ registers the examinations
    ),
    "numembed.models": (
        *("files spec baselines losses", "hub adapters catalogue loading", "merging builtin"),
        *("packaged", "sources", "resolve"),
        *("encoders training save", "embedding", "__init__"),
    ),
    "ui": ("shared", "compare explain generalise maps merge models robustness sequences", "paper runs", "__init__"),
}
WHO = {  # who may import what is not a library
    "numembed": ("numembed", "ui", "pages", "app"),
    "ui": ("ui", "pages", "app"),
    **dict.fromkeys(("app", "pages", "tests", "benchmarks"), ()),
}
LATE = {  # imported inside functions only: the web process and a run from the store stay light
    *("torch", "transformers", "sentence_transformers", "peft", "tokenizers", "huggingface_hub", "safetensors"),
    *("umap", "pynndescent", "sklearn", "openTSNE", "numba", "sympy", "scipy", "pandas", "tqdm"),
}
LOADERS = tuple(
    f"numembed/models/{name}.py"
    for name in (
        *("loading/architectures", "loading/devices", "loading/loader", "loading/random_weights"),
        *("encoders/encoder", "encoders/language_loss", "encoders/weight_swap"),
        *("losses", "training/lora", "training/train"),
        *("builtin/encoder", "builtin/files", "builtin/language_model"),
        "packaged/convert",
    )
)
ONLY_IN = {
    "streamlit": ("app.py", "pages/", "ui/"),
    "plotly": ("numembed/figures/", "numembed/export.py"),
    "torch": LOADERS,
    "transformers": LOADERS,
    "sentence_transformers": (*LOADERS, "numembed/runs/worker.py"),
    "peft": LOADERS,
}
NEVER_IMPORTED = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__", "torch.load", "pandas.read_pickle", "os.system"}
LONGEST = 320

PRODUCT = ["app.py", *(f"{top}/**/*.py" for top in ("numembed", "ui", "pages"))]
FILES = sorted(file.relative_to(ROOT).as_posix() for pattern in PRODUCT for file in ROOT.glob(pattern))


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


@cache
def _imports_of(file: str) -> tuple[tuple[str, bool], ...]:
    return tuple(_imports(_tree(file)))


def _imports(node: ast.AST, late: bool = False) -> Iterator[tuple[str, bool]]:
    """Each imported module, and True where the import waits for a call or is for the type checker alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, late) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((f"{child.module}.{alias.name}", late) for alias in child.names)
        else:
            typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            yield from _imports(child, late or typing_only or isinstance(child, ast.FunctionDef))


def _part(package: str, module: str) -> str:
    """Return which part of ``package`` a module below it belongs to; "__init__" for the package itself."""
    return module.removeprefix(package).removeprefix(".").split(".")[0] or "__init__"


def _tier(package: str, part: str) -> int:
    return next(number for number, parts in enumerate(TIERS[package]) if part in parts.split())


def _may_import(file: str, module: str) -> bool:
    """Return True where ``module``, or a name in it, is of the file's own part or of a lower tier."""
    own, top = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__"), module.split(".")[0]
    if top in WHO and own.split(".")[0] not in WHO[top]:
        return False
    if own == "app" and top == "numembed":
        return module.startswith("numembed.core.")
    for package in TIERS:
        if f"{own}.".startswith(f"{package}.") and f"{module}.".startswith(f"{package}."):
            mine, theirs = _part(package, own), _part(package, module)
            if mine != theirs and _tier(package, theirs) >= _tier(package, mine):
                return False
    return True


def test_each_imports_its_own_part_and_lower_ones_only() -> None:
    assert [(file, module) for file in FILES for module, _ in _imports_of(file) if not _may_import(file, module)] == []


def test_every_part_has_its_tier() -> None:
    for package, tiers in TIERS.items():
        folder = ROOT / package.replace(".", "/")
        parts = {child.stem for child in folder.iterdir() if child.suffix == ".py" or (child / "__init__.py").exists()}
        assert parts | {"__init__"} == {part for tier in tiers for part in tier.split()}, package
    assert len([file for file in FILES if re.fullmatch(r"numembed/[a-z]+\.py", file)]) <= 2


def _circle(arrows: Mapping[str, Collection[str]]) -> list[str]:
    """Return the modules that import one another in a circle, and those that need these, or []."""
    left = dict(arrows)
    while leaves := [module for module, targets in left.items() if not any(target in left for target in targets)]:
        left = {module: targets for module, targets in left.items() if module not in leaves}
    return sorted(left)


def test_no_files_import_each_other_in_a_circle() -> None:
    modules = {file.removesuffix(".py").replace("/", "."): file for file in FILES if not file.endswith("__init__.py")}
    arrows = {
        own: {found for module, _ in _imports_of(file) for found in (module, module.rpartition(".")[0])} - {own}
        for own, file in modules.items()
    }
    assert _circle(arrows) == []


def test_every_package_says_what_belongs_there() -> None:
    packages = [file for file in FILES if file.endswith("/__init__.py")]
    assert [file for file in packages if len(ast.get_docstring(_tree(file)) or "") <= 20] == []


def test_what_is_heavy_is_imported_late_and_only_where_it_belongs() -> None:
    for file in FILES:
        for module, late in _imports_of(file):
            top = module.split(".")[0]
            assert late or top not in LATE, f"{file}: {top} belongs inside a function"
            assert file.startswith(ONLY_IN.get(top, ("",))), f"{file}: {top} belongs into {ONLY_IN[top]}"


def test_no_file_unpickles_or_runs_text() -> None:
    for file in FILES:
        assert NEVER_IMPORTED.isdisjoint(module.split(".")[0] for module, _ in _imports_of(file)), file
        for call in (node for node in ast.walk(_tree(file)) if isinstance(node, ast.Call)):
            assert ast.unparse(call.func) not in NEVER_CALLED, file
            given = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert given.get("allow_pickle", "False") == "False", file
            trusts = "bool(recipe.remote_code)" if file == "numembed/models/loading/loader.py" else "False"
            assert given.get("trust_remote_code", trusts) == trusts, f"{file}: code runs only where the recipe names it"
            assert given.get("unsafe_allow_html", "False") == "False" and given.get("shell", "False") == "False", file


def _undocumented(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node.name
            if isinstance(node, ast.ClassDef):
                yield from _undocumented(node.body)


def test_everything_public_says_what_it_is() -> None:
    trees = {file: _tree(file) for file in FILES}
    assert [(file, name) for file, tree in trees.items() for name in _undocumented(tree.body)] == []
    assert [file for file, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_no_file_is_long() -> None:
    lengths = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {file: length for file, length in lengths.items() if length > LONGEST} == {}


def test_the_rules_can_fail() -> None:
    tree = ast.parse("if TYPE_CHECKING:\n import torch\ndef f():\n import umap\nclass A:\n import sklearn.cluster\n")
    assert list(_imports(tree)) == [("torch", True), ("umap", True), ("sklearn.cluster", False)]
    assert not _may_import("numembed/storage/vectors.py", "numembed.models.embedding.embed")
    assert _may_import("numembed/models/embedding.py", "numembed.storage.vectors.VectorStore")
    assert not _may_import("numembed/storage/vectors.py", "numembed.sequences.sets.SequenceSet")
    assert not _may_import("pages/runs.py", "pages.compare") and not _may_import(
        "app.py", "numembed.studies.study.Study"
    )
    assert not _may_import("numembed/models/hub/card.py", "numembed.models.resolve.resolve")
    assert not _may_import("ui/explain/clusters.py", "ui.maps.faithfulness.kept")
    assert not _may_import("numembed/studies/study.py", "ui.shared.frame.settings")
    assert _may_import("ui/shared/frame.py", "numembed.runs.jobs.x") and _may_import("numembed/cli/studies.py", "json")
    assert _circle({"a": ["b"], "b": ["c", "d"], "c": ["b"], "d": []}) == ["a", "b", "c"]
    assert list(_undocumented(ast.parse("class A:\n 'x'\n def b(self): ...\n def _c(self): ...\n").body)) == ["b"]
