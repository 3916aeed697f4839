import threading

import numpy as np
import pytest

from framekeep.backlog import Backlog
from framekeep.sources import SourceFrame


def frame(number: int) -> SourceFrame:
    return SourceFrame(number, None, np.zeros((10, 10), np.uint8))


def test_frames_come_out_as_they_went_in_and_then_the_error_that_ended_them() -> None:
    backlog = Backlog()
    for number in range(3):
        backlog.put(frame(number))
    backlog.end(ValueError("broken off"))

    frames = backlog.frames()
    assert [next(frames).pts_us for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="broken off"):
        next(frames)


@pytest.mark.parametrize(("name", "limit"), [("BACKLOG_FRAMES", 4), ("BACKLOG_BYTES", 450)])
def test_without_room_the_oldest_goes_and_is_counted(monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    monkeypatch.setattr(f"framekeep.backlog.{name}", limit)
    backlog = Backlog()
    for number in range(10):
        backlog.put(frame(number))
    backlog.end()

    assert [taken.pts_us for taken in backlog.frames()] == [6, 7, 8, 9]
    assert backlog.dropped_frames == 6


def test_a_frame_of_any_size_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framekeep.backlog.BACKLOG_BYTES", 50)
    backlog = Backlog()
    backlog.put(frame(0))
    backlog.end()

    assert [taken.pts_us for taken in backlog.frames()] == [0]


def test_an_interruption_ends_the_wait_and_counts_what_it_leaves() -> None:
    backlog = Backlog()
    taken: list[int] = []
    first = threading.Event()

    def take() -> None:
        for given in backlog.frames():
            taken.append(given.pts_us)
            first.set()

    taking = threading.Thread(target=take)
    taking.start()
    backlog.put(frame(0))
    assert first.wait(10)
    backlog.interrupt()
    taking.join(10)

    assert not taking.is_alive()
    assert taken == [0]
    assert not backlog.put(frame(1))


def test_frames_that_nobody_took_before_an_interruption_were_dropped() -> None:
    backlog = Backlog()
    for number in range(3):
        backlog.put(frame(number))

    backlog.interrupt()

    assert (list(backlog.frames()), backlog.dropped_frames) == ([], 3)
