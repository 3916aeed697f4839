"""`framekeep-server verify`: passes a memory that was well used, and names each thing that was tampered with."""

import json
import shutil
import sqlite3
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from click.testing import CliRunner, Result

from encoder.config import EncoderConfig
from encoder.frame_encoder import FrameEncoder
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.v1.video_memory_pb2_grpc import VideoMemoryServiceStub
from memory_store.config import MemoryStoreConfig
from memory_store.index_copy import IndexCopy, copy_path, write_copy
from service.cli import main
from service.config import ServerConfig, ServiceConfig
from serving import RunningServer
from talking import frames, ingest, raw, scene

START_S = 10**6


@pytest.fixture(scope="module")
def used(encoder: FrameEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that a server has left: `m` with revisits, labels, frames rejected and withheld,
    a range forgotten, and compacted."""
    data = tmp_path_factory.mktemp("used") / "data"
    server = RunningServer(
        encoder, ServiceConfig(ServerConfig(data=data, listen="127.0.0.1:0"), EncoderConfig(), MemoryStoreConfig())
    )
    server.start()
    with grpc.insecure_channel(server.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        for name in ("memories/m", "memories/empty"):
            stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name=name, novelty_threshold=0.01)))
        shown = [scene(number, 4 * step) for number in (1, 2, 1, 3, 2) for step in range(10)]
        pictures = [*map(raw, shown), pb.Picture(compressed=b"none")]
        verdicts = ingest(stub, "memories/m/streams/door", frames(pictures), str(uuid.uuid4()), START_S)
        labelled = frames(map(raw, shown[5:25]))
        for frame in labelled:
            frame.labels.extend(["cat", "dog"])
        ingest(stub, "memories/m/streams/yard", labelled, str(uuid.uuid4()), START_S + 60)
        kept_out = frames(raw(scene(number)) for number in (11, 12))
        for frame in kept_out:
            frame.keep = pb.KEEP_NEVER
        ingest(stub, "memories/m/streams/gate", kept_out, str(uuid.uuid4()), START_S + 120)
        assert [verdict.seq for verdict in verdicts if verdict.kind == pb.Verdict.KIND_REJECTED] == [50]
        forgotten = pb.ForgetRangeRequest(name="memories/m", streams=["memories/m/streams/door"])
        forgotten.time_range.start_time.FromMilliseconds(START_S * 1000 + 700)
        forgotten.time_range.end_time.FromMilliseconds(START_S * 1000 + 1300)
        assert stub.ForgetRange(forgotten).frames == 6
        compacted = stub.CompactMemory(pb.CompactMemoryRequest(name="memories/m", novelty_threshold=0.015))
        assert compacted.merged_exemplars > 0
        assert compacted.exemplars > 3
    server.stop()
    return data


@pytest.fixture
def data(used: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(used, tmp_path / "data"))


def verify(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--data", str(data), "verify", *arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failed(data: Path) -> list[str]:
    """Names of the checks that fail, after nothing was changed by finding that out."""
    before = contents(data)
    result = verify(data, "m", "--json")
    assert contents(data) == before
    [verified] = json.loads(result.stdout)
    assert result.exit_code == 1, result.output
    assert not verified["passed"]
    shown = verify(data, "m")
    names = [check["name"] for check in verified["checks"] if check["failures"]]
    assert shown.stdout.startswith("m: FAILED\n")
    assert [line.split("FAILED ")[1] for line in shown.stdout.splitlines() if line.startswith("  FAILED")] == names
    return names


@pytest.fixture
def journal(data: Path) -> Iterator[sqlite3.Connection]:
    """The journal of `m`, for tampering; what is done is written at once."""
    with closing(sqlite3.connect(data / "memories/m.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        yield connection


def test_a_memory_that_was_used_passes_and_nothing_is_changed(data: Path) -> None:
    before = contents(data)

    result = verify(data)

    assert result.exit_code == 0, result.output
    assert contents(data) == before
    assert result.stdout.splitlines()[0] == "empty: passed"
    assert "m: passed" in result.stdout.splitlines()
    assert "  64 frames counted" in result.stdout  # 50 + 20 without the 6 that were forgotten
    assert "FAILED" not in result.stdout


def test_machines_get_one_document(data: Path) -> None:
    result = verify(data, "--json")

    verified: list[dict[str, Any]] = json.loads(result.stdout)
    assert [(one["memory"], one["passed"]) for one in verified] == [("empty", True), ("m", True)]
    assert verified[1]["frames"] == 64
    assert 0 < verified[1]["percentile_99_novelty"] <= verified[1]["largest_novelty"]
    names = {check["name"] for check in verified[1]["checks"]}
    assert {"every frame is accounted for", "every frame is covered", "the index equals the journal"} <= names
    assert all(check == {"name": check["name"], "failures": 0, "told": []} for check in verified[1]["checks"])


def test_what_a_killed_server_left_is_read_with_its_log(
    start_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    server = start_server(tmp_path / "live")
    with grpc.insecure_channel(server.address) as channel:
        stub = VideoMemoryServiceStub(channel)
        stub.CreateMemory(pb.CreateMemoryRequest(memory=pb.Memory(name="memories/m")))
        ingest(stub, "memories/m/streams/s", frames(raw(scene(number)) for number in range(3)))
        killed = Path(shutil.copytree(tmp_path / "live", tmp_path / "killed"))
    (killed / "memories/m.sqlite-shm").unlink()  # it does not survive the machine
    before = contents(killed)
    assert before["memories/m.sqlite-wal"]

    result = verify(killed)

    assert result.exit_code == 0, result.output
    assert "  3 frames counted, 3 exemplars" in result.stdout
    assert contents(killed) == before


def a_frame_less(journal: sqlite3.Connection) -> None:
    journal.execute("DELETE FROM frames WHERE (session_id, seq) = (1, 33)")


def a_sighting_of_one_frame_more(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE sightings SET frames = frames + 1 WHERE id = (SELECT max(id) FROM sightings)")


def a_frame_beyond_the_threshold(journal: sqlite3.Connection) -> None:
    journal.execute(
        "UPDATE sightings SET largest_novelty = threshold + 0.001"
        " WHERE id = (SELECT id FROM sightings WHERE moved_angle = 0 LIMIT 1)"
    )


def _flip(journal: sqlite3.Connection, *, checksum_too: bool) -> None:
    """Turn the sign of the largest component of an embedding, which leaves its length as it was."""
    exemplar, blob = journal.execute(
        "SELECT id, embedding FROM exemplars WHERE id IN (SELECT exemplar_id FROM sightings WHERE NOT cut) LIMIT 1"
    ).fetchone()
    embedding = np.frombuffer(blob, "<f2").copy()
    embedding[np.argmax(np.abs(embedding))] *= -1
    changed = embedding.tobytes()
    assert sum((one ^ other).bit_count() for one, other in zip(blob, changed, strict=True)) == 1
    journal.execute("UPDATE exemplars SET embedding = ? WHERE id = ?", (changed, exemplar))
    if checksum_too:
        journal.execute("UPDATE exemplars SET checksum = ? WHERE id = ?", (zlib.crc32(changed), exemplar))


def a_flipped_bit(journal: sqlite3.Connection) -> None:
    _flip(journal, checksum_too=False)


def a_flipped_bit_with_its_checksum(journal: sqlite3.Connection) -> None:
    _flip(journal, checksum_too=True)


def a_stay_less(journal: sqlite3.Connection) -> None:
    journal.execute("DELETE FROM stays WHERE id = (SELECT max(id) FROM stays)")


def another_policy(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE policies SET threshold = 0.2")


def a_thumbnail_less(journal: sqlite3.Connection) -> None:
    journal.execute("DELETE FROM thumbnails WHERE exemplar_id = (SELECT min(exemplar_id) FROM thumbnails)")


def a_reason_less(journal: sqlite3.Connection) -> None:
    journal.execute("DELETE FROM withheld WHERE seq = 1")


def a_withheld_frame_less(journal: sqlite3.Connection) -> None:
    journal.execute("DELETE FROM frames WHERE (session_id, seq) = (SELECT session_id, seq FROM withheld LIMIT 1)")


def a_withheld_frame_of_another_stream(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE withheld SET stream_id = 1 WHERE seq = 1")


def a_label_less(journal: sqlite3.Connection) -> None:
    journal.execute("DELETE FROM sighting_labels WHERE label = 'cat'")


def a_label_more(journal: sqlite3.Connection) -> None:
    journal.execute("INSERT INTO sighting_labels SELECT 'bird', min(id) FROM sightings")


def an_example_of_other_bytes(journal: sqlite3.Connection) -> None:
    assert journal.execute("UPDATE examples SET jpeg = x'00' WHERE id = (SELECT max(id) FROM examples)").rowcount == 1


def a_frame_on_record_that_looks_like_another(journal: sqlite3.Connection) -> None:
    number, blob = journal.execute("SELECT id, embedding FROM frame_embeddings LIMIT 1").fetchone()
    changed = (-np.frombuffer(blob[:-4], np.int8)).tobytes() + blob[-4:]
    journal.execute(
        "UPDATE frame_embeddings SET embedding = ?, checksum = ? WHERE id = ?", (changed, zlib.crc32(changed), number)
    )


def a_frame_on_record_that_was_not_counted(journal: sqlite3.Connection) -> None:
    journal.execute(
        "INSERT INTO frame_embeddings SELECT id + 1000000, embedding, checksum FROM frame_embeddings LIMIT 1"
    )


def a_frame_on_record_of_other_bytes(journal: sqlite3.Connection) -> None:
    journal.execute(
        "UPDATE frame_embeddings SET checksum = checksum - 1 WHERE id = (SELECT max(id) FROM frame_embeddings)"
    )


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (a_frame_on_record_that_looks_like_another, {"frames on record are like their exemplars"}),
        (a_frame_on_record_that_was_not_counted, {"frames on record are like their exemplars"}),
        (a_frame_on_record_of_other_bytes, {"vectors and thumbnails are what was written"}),
        (
            a_frame_less,
            {
                "every frame is accounted for",
                "sightings say what their frames say",
                "frames on record are like their exemplars",
            },
        ),
        (a_sighting_of_one_frame_more, {"every frame is accounted for", "sightings say what their frames say"}),
        (a_frame_beyond_the_threshold, {"sightings say what their frames say", "every frame is covered"}),
        (
            a_flipped_bit,
            {
                "vectors and thumbnails are what was written",
                "every frame is covered",
                "frames on record are like their exemplars",
            },
        ),
        (
            a_flipped_bit_with_its_checksum,
            {"every frame is covered", "frames on record are like their exemplars"},
        ),
        (a_stay_less, {"the file is whole"}),
        (another_policy, {"every frame is covered"}),
        (a_thumbnail_less, {"exemplars stand for frames"}),
        (a_reason_less, {"every frame is accounted for"}),
        (a_withheld_frame_less, {"every frame is accounted for"}),
        (a_withheld_frame_of_another_stream, {"every frame is accounted for"}),
        (a_label_less, {"labels find their sightings"}),
        (a_label_more, {"labels find their sightings"}),
        (an_example_of_other_bytes, {"vectors and thumbnails are what was written"}),
    ],
)
def test_what_was_tampered_with_fails_by_name(
    data: Path, journal: sqlite3.Connection, tamper: Callable[[sqlite3.Connection], None], expected: set[str]
) -> None:
    tamper(journal)

    assert set(failed(data)) == expected


def test_a_copy_of_the_index_that_names_a_list_that_is_not_there_fails(data: Path, journal: sqlite3.Connection) -> None:
    [(memory_uuid, dimension)] = journal.execute("SELECT uuid, dimension FROM memory")
    ids = np.array([row[0] for row in journal.execute("SELECT id FROM exemplars ORDER BY id")], np.int64)
    centroids = np.eye(2, dimension, dtype=np.float32)
    copy = copy_path(data / "memories/m.sqlite")
    write_copy(copy, IndexCopy(memory_uuid, len(ids), centroids, ids, np.zeros(len(ids), np.int64)))
    assert verify(data, "m").exit_code == 0

    senseless = IndexCopy(memory_uuid, len(ids), centroids, ids, np.zeros(len(ids), np.int64))
    senseless.lists[:] = 7
    write_copy(copy, senseless)

    assert failed(data) == ["the index equals the journal"]


def test_a_copy_of_the_index_of_another_memory_or_with_other_bytes_fails(
    data: Path, journal: sqlite3.Connection
) -> None:
    [(dimension,)] = journal.execute("SELECT dimension FROM memory")
    copy = copy_path(data / "memories/m.sqlite")
    nothing = np.zeros(0, np.int64)
    write_copy(copy, IndexCopy("another", 0, np.eye(2, dimension, dtype=np.float32), nothing, nothing))
    assert failed(data) == ["the index equals the journal"]

    copy.write_bytes(b"\xff" + copy.read_bytes()[1:])

    assert failed(data) == ["the index equals the journal"]


def test_a_file_that_is_no_memory_fails_and_the_others_are_checked(data: Path) -> None:
    (data / "memories/m.sqlite").write_bytes(b"\xff" * 4096)

    result = verify(data, "--json")

    assert result.exit_code == 1
    empty, damaged = json.loads(result.stdout, parse_constant=pytest.fail)
    assert (empty["passed"], damaged["passed"]) == (True, False)
    assert [check["name"] for check in damaged["checks"]] == ["the file can be read"]
    assert damaged["largest_novelty"] is None


def test_a_folder_that_a_server_has_cannot_be_verified(start_server: Callable[..., RunningServer], data: Path) -> None:
    start_server(data)

    result = verify(data)

    assert result.exit_code == 1
    assert result.output.strip() == f"Error: the data folder {data} is used by another process"


def test_a_memory_or_a_folder_that_is_not_there_is_named_and_not_made(data: Path, tmp_path: Path) -> None:
    before = contents(data)

    unknown, missing = verify(data, "nobody"), verify(tmp_path / "nowhere")

    assert (unknown.exit_code, unknown.output.strip()) == (1, "Error: there is no memory nobody")
    assert missing.exit_code == 1
    assert f"expected a data folder in {tmp_path / 'nowhere'}, found none" in missing.output
    assert not (tmp_path / "nowhere").exists()
    assert contents(data) == before
