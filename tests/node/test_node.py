"""The contract from another language: a client in JavaScript, made from the proto by the stock tools of Node."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from serving import RunningServer

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"
GOOGLE_PROTOS = Path(str(files("google.rpc").joinpath("status.proto"))).parents[2]
MISSING = [program for program in ("node", "npm") if shutil.which(program) is None]


@pytest.fixture
def told(server: RunningServer) -> dict[str, Any]:
    """What the client was told by `server`."""
    if MISSING:
        pytest.skip(f"{' and '.join(MISSING)} not installed")
    assert (HERE / "node_modules").is_dir(), "`make test` installs the packages of tests/node, by `npm ci`"
    command = ["node", str(HERE / "client.cjs"), server.address, str(PROTOS), str(GOOGLE_PROTOS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_client_made_from_the_contract_alone_works(told: dict[str, Any], server: RunningServer) -> None:
    dimension = server.encoder.version.dimension
    one, two = "memories/node/exemplars/1", "memories/node/exemplars/2"

    assert told["dimensions"] == [dimension, dimension]
    assert (told["threshold"], told["next_seq"]) == (0.2, 0)
    assert told["verdicts"] == [
        [0, "KIND_NOVEL", one],
        [1, "KIND_REPEAT", one],
        [2, "KIND_NOVEL", two],
        [3, "KIND_REPEAT", one],
    ]
    assert (told["seen"], told["matches"], told["context_floats"]) == (True, [[two, 1]], dimension)
    jpeg = "ffd8ff"
    assert told["exemplars"] == [[two, 2, jpeg], [one, 0, jpeg]]


def test_errors_carry_their_reason_in_the_trailing_metadata(told: dict[str, Any]) -> None:
    errors = [told[name] for name in ("missing", "refused", "taken")]

    assert [(error["code"], error["reason"]) for error in errors] == [
        ("NOT_FOUND", "MEMORY_NOT_FOUND"),
        ("INVALID_ARGUMENT", "INVALID_FIELD"),
        ("ALREADY_EXISTS", "MEMORY_EXISTS"),
    ]
    assert {error["domain"] for error in errors} == {"framekeep"}
    assert told["refused"]["metadata"] == {"field": "novelty_threshold"}
    assert all(error["message"] for error in errors)
