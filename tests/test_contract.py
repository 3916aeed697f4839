"""The contract: the committed stubs are what the proto says, and every reason has its status."""

import subprocess
from pathlib import Path

from framekeep.v1.video_memory_pb2 import ErrorReason
from service.status import TABLE

ROOT = Path(__file__).parents[1]
STUBS = Path("framekeep/v1")


def test_the_committed_stubs_are_what_the_proto_makes(tmp_path: Path) -> None:
    subprocess.run(["make", "protos", f"STUBS_DIR={tmp_path}"], cwd=ROOT, check=True, capture_output=True)

    made = {path.name: path.read_text() for path in (tmp_path / STUBS).iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "clients/python" / STUBS).glob("*_pb2*")}
    assert made == committed


def test_every_reason_of_the_contract_has_an_error_and_the_status_that_the_contract_names() -> None:
    lines = (ROOT / "protos/framekeep/v1/video_memory.proto").read_text().splitlines()
    documented = {
        line.split("=")[0].strip(): lines[place - 1].strip(" /").split(":")[0]
        for place, line in enumerate(lines)
        if line.strip().startswith("ERROR_REASON_") and "UNSPECIFIED" not in line
    }

    chosen = {ErrorReason.Name(reason): code.name for code, reason in TABLE.values()}
    assert documented == chosen | {"ERROR_REASON_INTERNAL": "INTERNAL"}
