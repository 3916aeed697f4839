"""The shape of the code base: which package may import what, and that the documents name what exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "service": ROOT / "service",
    "encoder": ROOT / "encoder",
    "memory_store": ROOT / "memory_store",
    "framekeep": ROOT / "clients/python/framekeep",
}
# A package and what it may import of these.
ALLOWED = {
    "service": {"service", "encoder", "memory_store", "framekeep"},
    "encoder": {"encoder"},
    "memory_store": {"memory_store"},
    "framekeep": {"framekeep"},
}
# A library and the packages that may import it.
HOMES = {
    "torch": {"encoder"},
    "openvino": {"encoder"},
    "cv2": {"encoder"},
    "PIL": {"encoder"},
    "faiss": {"memory_store"},
    "sqlite3": {"memory_store"},
    "grpc": {"service", "framekeep"},
}


def modules(package: str) -> list[Path]:
    return [path for path in PACKAGES[package].rglob("*.py") if "_pb2" not in path.name]


def imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    for path in modules(package):
        tops = {name.split(".")[0] for name in imports(ast.parse(path.read_text()))}
        assert tops & PACKAGES.keys() <= ALLOWED[package], path
        assert all(package in HOMES[library] for library in tops & HOMES.keys()), path


@pytest.mark.parametrize("package", ["encoder", "memory_store"])
def test_only_the_stubs_of_the_client_are_used_by_the_server(package: str) -> None:
    for path in modules("service"):
        names = [name for name in imports(ast.parse(path.read_text())) if name.split(".")[0] == "framekeep"]
        assert all(name.startswith("framekeep.v1") for name in names), (package, path)


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_imported_inside_functions(package: str) -> None:
    for path in modules(package):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                assert imports(function) == [], f"{path}: {function.name}"


def test_openvino_is_imported_only_where_its_usage_reports_are_off() -> None:
    importing = {
        path.name
        for package in PACKAGES
        for path in modules(package)
        if any(name.split(".")[0] == "openvino" for name in imports(ast.parse(path.read_text())))
    }

    assert importing == {"openvino_runtime.py"}


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"])
def test_every_path_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|toml|lock|proto|yaml|yml))`", text)

    assert len(named) >= 3
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []
