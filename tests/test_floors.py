"""What may import what: the packages are floors, and no one reaches past the floor below."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "search_space": (),
    "results": ("search_space",),
    "searchers": ("search_space", "results.trial", "results.pareto"),
    "trainers": ("search_space", "results.trial"),
    "latency_models": ("search_space", "results.trial"),
    "search": ("search_space", "results", "searchers", "trainers", "latency_models"),
}
"""Packages and modules of ours that a package may import besides itself."""

MAY_IMPORT_OPTUNA = {
    "results/changes.py",
    "results/dashboard.py",
    "results/importance.py",
    "results/making.py",
    "results/patience.py",
    "results/records.py",
    "results/storage.py",
    "results/study.py",
    "searchers/optuna.py",
    "search/cli.py",
    "search/dashboard.py",
}
WITHOUT_TORCH = (
    *("__init__", "errors", "rules", "fetch", "ops", "plan", "parts"),
    *("dense_block", "residual_block", "shuffle_block", "blocks", "spec", "meter", "cost"),
    *("space", "searchable", "admission", "budget", "build", "models", "variations"),
    *("zoo", "found"),
    *("graph", "folding", "layout", "padding", "lowering", "gathering", "optional", "reading"),
    *("topology", "neighbours", "digests", "proportion", "pretrained"),
)
"""Modules of search_space that price a million networks without torch."""

WITH_TORCH = tuple(
    f"search_space.{name}"
    for name in (
        *("pieces", "statistics", "modules", "pointwise", "fused", "network", "recompute"),
        *("backbones", "flatten", "deployed", "connections", "strengths"),
    )
)


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    }


def nodes(tree: ast.AST, *, at_import: bool) -> Iterator[ast.AST]:
    """All nodes; with ``at_import`` only what runs when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import and is_type_checking(node):
            assert isinstance(node, ast.If)
            for other in node.orelse:
                yield other
                yield from nodes(other, at_import=at_import)
            continue
        yield node
        yield from nodes(node, at_import=at_import)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported(source: str, package: str, *, at_import: bool = False) -> set[str]:
    """The modules that a module of ``package`` imports, by their full names."""
    found = set()
    for node in nodes(ast.parse(source), at_import=at_import):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{module}.{alias.name}"
                found.add(full if is_module(full) else module)
    return found


def imported_by(path: Path, *, at_import: bool = False) -> set[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return imported(path.read_text(encoding="utf-8"), package, at_import=at_import)


def under(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def test_imports_are_found_where_they_hide() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import torch.nn
else:
    import numpy
from results import trial
from results import Absent
from . import base
from .base import Searcher
try:
    import optuna as o
except ImportError:
    pass
class A:
    import yaml
def f():
    from search_space.spec import DenseStage
"""
    at_import = {"typing", "numpy", "results.trial", "results", "searchers.base", "optuna", "yaml"}
    assert imported(source, "searchers", at_import=True) == at_import
    assert imported(source, "searchers") == at_import | {"torch.nn", "search_space.spec"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_from_the_floors_below(package: str) -> None:
    ours = tuple(MAY_IMPORT)
    assert files(package)
    wrong = {
        (str(path.relative_to(ROOT)), name)
        for path in files(package)
        for name in imported_by(path)
        if under(name, ours) and not under(name, (package, *MAY_IMPORT[package]))
    }
    assert wrong == set()


def test_every_package_has_its_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests"}
    assert packages - {"scripts", "benchmarks"} == set(MAY_IMPORT)


def test_optuna_stays_where_it_is() -> None:
    importers = {
        str(path.relative_to(ROOT))
        for package in MAY_IMPORT
        for path in files(package)
        if any(under(name, ("optuna", "optuna_dashboard")) for name in imported_by(path))
    }
    assert importers <= MAY_IMPORT_OPTUNA
    assert {"results/study.py", "searchers/optuna.py"} <= importers


def test_nni_stays_in_one_file() -> None:
    # It is imported by its name when a searcher is made, never by a statement.
    mentioned = {
        str(path.relative_to(ROOT))
        for package in MAY_IMPORT
        for path in files(package)
        if 'import_optional("nni' in path.read_text(encoding="utf-8")
        or any(under(name, ("nni",)) for name in imported_by(path))
    }
    assert mentioned == {"searchers/nni.py"}


def test_ray_stays_in_one_file() -> None:
    # It is imported by its name, and that file where a search asks for it.
    mentioned = {
        str(path.relative_to(ROOT))
        for package in MAY_IMPORT
        for path in files(package)
        if 'import_optional("ray' in path.read_text(encoding="utf-8")
        or any(under(name, ("ray",)) for name in imported_by(path))
    }
    assert mentioned == {"search/ray.py"}
    importers = {
        str(path.relative_to(ROOT))
        for package in MAY_IMPORT
        for path in files(package)
        if "search.ray" in imported_by(path, at_import=True)
    }
    assert importers == set(), "it is imported inside functions"


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_pricing_modules_do_not_import_torch(name: str) -> None:
    found = imported_by(ROOT / "search_space" / f"{name}.py", at_import=True)
    heavy = {n for n in found if under(n, ("torch", "torchvision", "fvcore", *WITH_TORCH))}
    assert heavy == set()


def test_every_module_of_search_space_is_with_or_without_torch() -> None:
    known = {f"search_space.{name}" for name in WITHOUT_TORCH} | set(WITH_TORCH)
    assert known == {f"search_space.{path.stem}" for path in files("search_space")}
