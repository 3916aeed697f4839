import threading

import pytest

from framekeep.errors import ServerError
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.window import LEAST_WINDOW_FRAMES, MESSAGE_FRAMES, Window


def frame(seq: int, size_bytes: int = 10) -> pb.Frame:
    return pb.Frame(seq=seq, picture=pb.Picture(compressed=bytes(size_bytes)))


def filled(count: int, size_bytes: int = 10) -> Window:
    window = Window()
    for seq in range(count):
        window.add(frame(seq, size_bytes))
    return window


def seqs(frames: list[pb.Frame]) -> list[int]:
    return [frame.seq for frame in frames]


def test_a_message_holds_what_is_ready_and_no_more_than_fits() -> None:
    small, large = filled(20), filled(3, size_bytes=600_000)
    call, other_call = small.begin_call(), large.begin_call()

    assert seqs(small.take(call)) == list(range(MESSAGE_FRAMES))
    assert seqs(small.take(call)) == list(range(MESSAGE_FRAMES, 20))
    assert [seqs(large.take(other_call)) for _ in range(3)] == [[0], [1], [2]]


def test_a_frame_larger_than_a_message_travels_alone() -> None:
    window = filled(2, size_bytes=3_000_000)
    call = window.begin_call()

    assert seqs(window.take(call)) == [0]


def test_a_new_call_sends_all_that_is_unanswered_again() -> None:
    window = filled(5)
    first = window.begin_call()
    window.take(first)
    window.answer(0)
    window.answer(1)

    second = window.begin_call()

    assert seqs(window.take(second)) == [2, 3, 4]
    assert window.take(first) == []
    assert window.sent_bytes == 80


def test_answers_come_in_order() -> None:
    window = filled(3)
    with pytest.raises(ServerError, match="expected the verdict on frame none from the server, got one on frame 0"):
        window.answer(0)
    window.take(window.begin_call())

    with pytest.raises(ServerError, match="expected the verdict on frame 0 from the server, got one on frame 1"):
        window.answer(1)


def test_a_full_window_waits_for_an_answer() -> None:
    window = filled(LEAST_WINDOW_FRAMES)
    window.take(window.begin_call())
    adding = threading.Thread(target=window.add, args=[frame(LEAST_WINDOW_FRAMES)])
    adding.start()
    adding.join(0.05)
    assert adding.is_alive()

    window.answer(0)

    adding.join()
    assert seqs(window.take(window.begin_call())) == list(range(1, MESSAGE_FRAMES + 1))


def test_a_frame_of_any_size_is_let_into_an_empty_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framekeep.window.WINDOW_BYTES", 100)
    window = Window()

    assert window.add(frame(0, size_bytes=300))


def test_closing_lets_all_go_who_wait() -> None:
    window = filled(LEAST_WINDOW_FRAMES)
    added: list[bool] = []
    adding = threading.Thread(target=lambda: added.append(window.add(frame(99))))
    adding.start()

    window.close()

    adding.join()
    assert added == [False]
    assert window.take(window.begin_call()) == []


def test_the_end_comes_after_the_last_answer_with_the_error_of_the_source() -> None:
    window = filled(1)
    call = window.begin_call()
    with window:
        raise ValueError("broken off")
    assert seqs(window.take(call)) == [0]
    assert window.take(call) == []
    assert not window.is_done

    window.answer(0)

    assert window.is_done
    with pytest.raises(ValueError, match="broken off"):
        window.raise_source_error()
