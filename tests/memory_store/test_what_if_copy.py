"""The copy of what is held for curves: it brings all back, holds nothing that was forgotten, and damage is noticed."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memory_store.scope import Scope
from memory_store.seen_frames import SeenFrame
from memory_store.what_if import BATCH, THRESHOLDS, Curve, WhatIf
from memory_store.what_if_copy import WhatIfCopy, WhatIfCopyDamaged, copy_path, read_copy, write_copy

DIMENSION = 16
UUID = "5" * 32
ALL = (*THRESHOLDS, 0.012, 0.08, 0.25, 0.9)
SCOPES = (Scope(), Scope(stream_ids=frozenset({1})), Scope(first_us=200_000_000))


def scenes(seed: int, number: int, from_us: int = 0) -> list[SeenFrame]:
    """A walk seen by three streams, the second compared with itself only, the third with the last ten seconds."""
    chance = np.random.default_rng(seed)
    place, frames = chance.normal(size=DIMENSION), []
    for n in range(number):
        place = place / np.linalg.norm(place) + chance.normal(size=DIMENSION) * 0.06
        stream_id = int(chance.integers(1, 4))
        horizon_us = 10_000_000 if stream_id == 3 else None
        embedding = (place / np.linalg.norm(place)).astype(np.float32)
        frames.append(SeenFrame(stream_id, from_us + n * 1_000_000, embedding, stream_id == 2, horizon_us))
    return frames


def shown(frames: list[SeenFrame], limit: int) -> WhatIf:
    what_if = WhatIf(DIMENSION, limit)
    what_if.add(frames)
    what_if.work()
    return what_if


def curves(what_if: WhatIf) -> list[Curve]:
    return [what_if.curve(ALL, scope) for scope in SCOPES]


def written(path: Path, what_if: WhatIf) -> WhatIf:
    """Write a copy, and go on from it."""
    write_copy(path, WhatIfCopy(UUID, what_if.copy()))
    copy = read_copy(path, DIMENSION)
    assert copy is not None
    assert copy.memory_uuid == UUID
    return WhatIf.restored(copy.state, what_if._limit)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return copy_path(tmp_path / "m.sqlite")


def test_it_lies_beside_the_journal(tmp_path: Path) -> None:
    assert copy_path(tmp_path / "m.sqlite") == tmp_path / "m.whatif"


@pytest.mark.parametrize("limit", [200, 5000])
def test_what_comes_back_goes_on_as_if_nothing_had_happened(path: Path, limit: int) -> None:
    before, after = scenes(1, 5 * BATCH + 50), scenes(2, 4 * BATCH, from_us=700_000_000)
    what_if = shown(before, limit)
    assert len(what_if.copy().waiting) == 50

    again = written(path, what_if)

    for one in (what_if, again):
        one.add(after)
        one.work()
    assert curves(again) == curves(what_if)
    assert again.curve((), Scope()).frames == 9 * BATCH + 50
    write_copy(path.with_suffix(".other"), WhatIfCopy(UUID, what_if.copy()))
    write_copy(path, WhatIfCopy(UUID, again.copy()))
    assert path.read_bytes() == path.with_suffix(".other").read_bytes()


def test_an_empty_copy_comes_back_empty(path: Path) -> None:
    again = written(path, WhatIf(DIMENSION, 100))

    assert again.curve((), Scope()).frames == 0
    again.add(scenes(1, 300))
    assert curves(again) == curves(shown(scenes(1, 300), 100))


def test_a_lower_limit_holds_at_once(path: Path) -> None:
    what_if = shown(scenes(1, 5 * BATCH), 500)
    write_copy(path, WhatIfCopy(UUID, what_if.copy()))
    copy = read_copy(path, DIMENSION)
    assert copy is not None

    again = WhatIf.restored(copy.state, 60)

    assert len(again.copy().gates.entries) <= 60
    assert again.curve((0.02,), Scope()).outcomes[0].error > 0
    assert again.curve((0.02,), Scope()).frames == 5 * BATCH


def test_what_was_forgotten_is_not_in_the_file(path: Path) -> None:
    frames = scenes(1, 3 * BATCH + 50)
    what_if = shown(frames, 5000)
    forgotten = Scope(first_us=BATCH * 1_000_000, stream_ids=frozenset({1, 3}))

    def in_file(frame: SeenFrame) -> bool:
        return frame.embedding.astype("<f2").tobytes() in path.read_bytes()

    write_copy(path, WhatIfCopy(UUID, what_if.copy()))
    assert all(map(in_file, frames))
    what_if.forget(forgotten)
    write_copy(path, WhatIfCopy(UUID, what_if.copy()))

    left = [frame for frame in frames if frame.stream_id == 2 or frame.capture_us < BATCH * 1_000_000]
    assert [in_file(frame) for frame in frames] == [frame in left for frame in frames]


def test_there_may_be_none(path: Path) -> None:
    assert read_copy(path, DIMENSION) is None


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _with_header(**changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        line, _, body = path.read_bytes()[:-4].partition(b"\n")
        content = json.dumps({**json.loads(line), **changes}).encode() + b"\n" + body
        path.write_bytes(content + zlib.crc32(content).to_bytes(4, "little"))

    return change


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut": (_cut, "expected a copy for curves in .*m.whatif: got other bytes"),
    "empty": (_empty, "expected a copy for curves in .*m.whatif: got other bytes"),
    "flipped": (_flipped, "expected a copy for curves in .*m.whatif: got other bytes"),
    "of another format": (_with_header(format="framekeep what-if 99"), "expected 'framekeep what-if 1' of width 16"),
    "of another width": (_with_header(dimension=17), "expected 'framekeep what-if 1' of width 16"),
    "of other thresholds": (_with_header(thresholds=[0.1, 0.2]), "expected 'framekeep what-if 1' of width 16 at"),
    "of more entries": (_with_header(entries=10**6), "expected a copy for curves in .*m.whatif: "),
    "of no number of rows": (_with_header(rows="many"), "expected a copy for curves in .*m.whatif: "),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_file_that_is_not_what_was_written_is_refused(
    path: Path, damage: Callable[[Path], None], message: str
) -> None:
    write_copy(path, WhatIfCopy(UUID, shown(scenes(1, 2 * BATCH), 100).copy()))
    damage(path)

    with pytest.raises(WhatIfCopyDamaged, match=message):
        read_copy(path, DIMENSION)


def test_a_copy_that_cannot_be_written_leaves_no_draft_behind(path: Path) -> None:
    path.mkdir()
    (path / "something").touch()

    with pytest.raises(OSError, match="directory"):
        write_copy(path, WhatIfCopy(UUID, shown(scenes(1, BATCH), 100).copy()))

    assert list(path.parent.iterdir()) == [path]


def test_writing_again_takes_the_place_of_the_copy_before(path: Path) -> None:
    first, second = shown(scenes(1, BATCH), 100), shown(scenes(2, 2 * BATCH), 100)
    write_copy(path, WhatIfCopy(UUID, first.copy()))

    write_copy(path, WhatIfCopy("6" * 32, second.copy(), 3))

    copy = read_copy(path, DIMENSION)
    assert copy is not None
    assert (copy.memory_uuid, copy.next_exemplar, copy.state.gates.frames) == ("6" * 32, 3, 2 * BATCH)
    assert list(path.parent.iterdir()) == [path]
