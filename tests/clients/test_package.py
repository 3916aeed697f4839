"""The package itself: what it exports, and what importing it costs."""

import ast
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import framekeep

HEAVY = ("av", "rich", "click", "numpy")


def loaded_by(statement: str) -> set[str]:
    """Which of the heavy modules a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import framekeep",
        "import framekeep.v1.video_memory_pb2",
        "from framekeep.v1 import video_memory_pb2_grpc",
        "from framekeep import MemoryNotFound",
    ],
)
def test_the_stubs_and_the_names_of_errors_load_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) == set()


def test_the_client_loads_no_terminal() -> None:
    assert loaded_by("from framekeep import Client, aio, local") == {"av", "numpy"}


def test_every_name_is_there_for_programs_and_type_checkers_alike() -> None:
    tree = ast.parse(Path(framekeep.__file__).read_text())
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.name: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }

    assert imported.keys() == set(framekeep.__all__)
    assert framekeep.__all__ == sorted(framekeep.__all__)
    for name, home in imported.items():
        value = getattr(framekeep, name)
        assert value is getattr(sys.modules[str(home)], name)
        assert name in dir(framekeep)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'framekeep' has no attribute 'nonsense'"):
        framekeep.nonsense  # type: ignore[attr-defined]  # noqa: B018 - looking is the point


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert files("framekeep").joinpath("py.typed").is_file()
