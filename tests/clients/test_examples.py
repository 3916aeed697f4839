"""The examples of the documents and docstrings: each runs against a real server, on a video of three scenes."""

import asyncio
import doctest
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import framekeep
from framekeep import Client, VerdictKind, WindowFull, aio, asking, calls, client, local_server, push, tuning, upkeep
from framekeep.aio import client as aio_client
from framekeep.aio import push as aio_push
from framekeep.picture_files import JpegEncoder
from serving import RunningServer
from talking import scene

ROOT = Path(__file__).parents[2]
SDK_README = ROOT / "clients/python/README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
DOCSTRINGS = [
    found
    for module in (client, calls, tuning, asking, upkeep, push, local_server, aio_client, aio_push)
    for found in doctest.DocTestFinder(exclude_empty=True).find(module)
    if found.examples
]


CAMERA = "rtsp://user:password@camera/live"


def blocks() -> list[str]:
    from_python = (ROOT / "README.md").read_text().split("## From Python")[1].split("\n## ")[0]
    return BLOCK.findall(SDK_README.read_text()) + BLOCK.findall(from_python)


@pytest.fixture
def place(tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files that the examples name: a video, and pictures of its second scene."""
    shown = [np.kron(scene(number), np.ones((2, 2, 1), np.uint8)) for number in (1, 2, 3)]
    make_video("lobby.mp4", pictures=[picture for picture in shown for _ in range(10)], pts_ms=range(0, 1200, 40))
    (tmp_path / "holiday").mkdir()
    for name in ("person.jpg", "face.jpg", "holiday/beach.jpg"):
        (tmp_path / name).write_bytes(JpegEncoder().encode(shown[1]))
    monkeypatch.chdir(tmp_path)


def addressed(source: str, server: RunningServer) -> str:
    """An example, to the server of the test instead of the usual one, and of a file instead of a camera."""
    return source.replace("localhost:50051", server.address).replace(CAMERA, "lobby.mp4")


@pytest.mark.parametrize("block", blocks(), ids=range(len(blocks())))
def test_the_examples_of_the_documents_run(
    block: str, server: RunningServer, place: None, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(addressed(block, server), "README.md", "exec"), {"__name__": "example"})  # noqa: S102 - the documents of this project

    assert capsys.readouterr().out


@pytest.mark.parametrize("example", DOCSTRINGS, ids=[found.name for found in DOCSTRINGS])
def test_the_examples_of_docstrings_print_what_they_say(
    example: doctest.DocTest, server: RunningServer, place: None
) -> None:
    for line in example.examples:
        line.source = addressed(line.source, server)
    told: list[str] = []
    with Client(server.address) as fk:
        known = {"fk": fk, "picture": np.zeros((48, 64, 3), np.uint8), "framekeep": framekeep, "aio": aio}
        known |= {"asyncio": asyncio, "datetime": datetime, "UTC": UTC}
        example.globs |= known | {"VerdictKind": VerdictKind, "WindowFull": WindowFull}
        result = doctest.DocTestRunner().run(example, out=told.append)

    assert result.failed == 0, "".join(told)
    assert result.attempted > 0


def test_there_are_examples() -> None:
    assert len(blocks()) >= 5
    assert len(DOCSTRINGS) >= 12
