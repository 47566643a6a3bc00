"""Who may import whom, what may be imported where, and what no file may do; read from the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = [  # each imports only from its left
    *("errors", "progress", "registry", "settings", "database", "sequences", "splits", "models", "store", "embedding"),
    *(
        "analysis",
        "explain",
        "explain_words",
        "results",
        "cost",
        "study",
        "pinning",
        "floors",
        "evidence",
        "examinations",
    ),
    *("values", "ladder"),
    *("paper", "tables", "model_pairs", "verdicts", "claims"),
    *("run", "jobs", "worker"),
    *("summary", "figures", "export", "cli", "__main__", "__init__"),
]
LATE = {  # imported inside functions only: the web process and a run from the store stay light
    *("torch", "transformers", "sentence_transformers", "peft", "tokenizers", "huggingface_hub", "safetensors"),
    *("umap", "pynndescent", "sklearn", "openTSNE", "numba", "sympy", "scipy", "pandas", "tqdm"),
}
LOADERS = tuple(
    f"numembed/models/{name}.py"
    for name in (
        *("adapted", "devices", "encoders", "loading", "lora", "random_weights", "training"),
        *("number_tokens", "scratch_encoder", "scratch_files", "scratch_lm"),
    )
)
ONLY_IN = {
    "streamlit": ("app.py", "pages/", "ui/"),
    "plotly": ("numembed/figures/", "numembed/export.py"),
    "torch": LOADERS,
    "transformers": LOADERS,
    "sentence_transformers": (*LOADERS, "numembed/worker.py"),
    "peft": LOADERS,
}
NEVER_IMPORTED = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__", "torch.load", "pandas.read_pickle", "os.system"}
LONGEST = 320

PRODUCT = ["app.py", *(f"{top}/**/*.py" for top in ("numembed", "ui", "pages"))]
FILES = sorted(file.relative_to(ROOT).as_posix() for pattern in PRODUCT for file in ROOT.glob(pattern))
EACH = pytest.mark.parametrize("file", FILES)


def _tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


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


def _may_import(file: str, module: str) -> bool:
    top, second, *_ = *module.split("."), ""
    place = file.removesuffix(".py").split("/")
    match place[0]:
        case "numembed" if top == "numembed":
            return second == place[1] or ORDER.index(second) < ORDER.index(place[1])
        case "app" if top == "numembed":
            return second == "errors"
        case "app" | "ui" | "pages" if top in ("ui", "numembed"):
            return True
    return top not in ("app", "pages", "ui", "numembed", "tests", "benchmarks")


@EACH
def test_each_imports_only_from_its_left(file: str) -> None:
    assert [module for module, _ in _imports(_tree(file)) if not _may_import(file, module)] == []


def test_every_module_has_its_place() -> None:
    modules = {file.removesuffix(".py").split("/")[1] for file in FILES if file.startswith("numembed/")}
    assert modules == set(ORDER)


@EACH
def test_what_is_heavy_is_imported_late_and_only_where_it_belongs(file: str) -> None:
    for module, late in _imports(_tree(file)):
        top = module.split(".")[0]
        assert late or top not in LATE, f"{top} belongs inside a function"
        assert file.startswith(ONLY_IN.get(top, ("",))), f"{top} belongs into {ONLY_IN[top]}"


@EACH
def test_no_file_unpickles_or_runs_text(file: str) -> None:
    assert NEVER_IMPORTED.isdisjoint(module.split(".")[0] for module, _ in _imports(_tree(file)))
    for call in (node for node in ast.walk(_tree(file)) if isinstance(node, ast.Call)):
        assert ast.unparse(call.func) not in NEVER_CALLED
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert given.get("allow_pickle", "False") == "False"
        trusts = "bool(recipe.remote_code)" if file == "numembed/models/loading.py" else "False"
        assert given.get("trust_remote_code", trusts) == trusts, "program code runs only where the recipe names it"
        assert given.get("unsafe_allow_html", "False") == "False" and given.get("shell", "False") == "False"


def _undocumented(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node.name
            if isinstance(node, ast.ClassDef):
                yield from _undocumented(node.body)


@EACH
def test_everything_public_says_what_it_is(file: str) -> None:
    tree = _tree(file)
    assert list(_undocumented(tree.body)) == []
    assert ast.get_docstring(tree) or not tree.body, "the file says what it holds"


@EACH
def test_no_file_is_long(file: str) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_the_rules_can_fail() -> None:
    tree = ast.parse("if TYPE_CHECKING:\n import torch\ndef f():\n import umap\nclass A:\n import sklearn.cluster\n")
    assert list(_imports(tree)) == [("torch", True), ("umap", True), ("sklearn.cluster", False)]
    assert not _may_import("numembed/store.py", "numembed.embedding.embed")
    assert _may_import("numembed/embedding.py", "numembed.store.VectorStore")
    assert not _may_import("pages/runs.py", "pages.compare") and not _may_import("app.py", "numembed.study.Study")
    assert not _may_import("numembed/study.py", "ui.frame.settings") and _may_import("ui/frame.py", "numembed.jobs.x")
    assert list(_undocumented(ast.parse("class A:\n 'x'\n def b(self): ...\n def _c(self): ...\n").body)) == ["b"]
