import threading

import pytest

from framekeep.errors import ServerError
from framekeep.v1 import video_memory_pb2 as pb
from framekeep.window import LEAST_WINDOW_FRAMES, MESSAGE_FRAMES, Window


def frame(size_bytes: int = 10) -> pb.Frame:
    return pb.Frame(picture=pb.Picture(compressed=bytes(size_bytes)))


def filled(count: int, size_bytes: int = 10) -> Window:
    window = Window()
    for _ in range(count):
        window.add(frame(size_bytes))
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
    window.answer()
    window.answer()

    second = window.begin_call()

    assert seqs(window.take(second)) == [2, 3, 4]
    assert window.take(first) == []
    assert window.sent_bytes == 80


def test_answers_come_in_order() -> None:
    window = filled(3)
    with pytest.raises(ServerError, match="expected the verdict on frame none from the server, got one on frame 0"):
        window.expect(0)
    window.take(window.begin_call())

    with pytest.raises(ServerError, match="expected the verdict on frame 0 from the server, got one on frame 1"):
        window.expect(1)


def test_a_full_window_waits_for_an_answer() -> None:
    window = filled(LEAST_WINDOW_FRAMES)
    window.take(window.begin_call())
    adding = threading.Thread(target=window.add, args=[frame()])
    adding.start()
    adding.join(0.05)
    assert adding.is_alive()

    window.answer()

    adding.join()
    assert seqs(window.take(window.begin_call())) == list(range(1, MESSAGE_FRAMES + 1))


def test_a_frame_is_offered_without_waiting() -> None:
    window = filled(LEAST_WINDOW_FRAMES - 1)

    assert [window.offer(frame()) for _ in range(2)] == [True, False]


def test_frames_are_numbered_as_they_are_added() -> None:
    window = Window()
    window.number_from(7)

    assert window.add(frame())
    assert window.offer(frame())

    assert seqs(window.take(window.begin_call())) == [7, 8]
    assert window.next_seq == 9


def test_a_frame_counts_as_answered_when_all_before_it_are() -> None:
    window = filled(2)
    window.take(window.begin_call())
    window.answer()

    assert [window.is_answered(seq) for seq in (0, 1, 2)] == [True, True, False]
    waiting: list[bool] = []
    thread = threading.Thread(target=lambda: waiting.append(window.wait_for_answers(2)))
    thread.start()
    window.close()
    thread.join()
    assert waiting == [False]
    window.answer()
    assert window.wait_for_answers(2)


def test_a_frame_of_any_size_is_let_into_an_empty_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framekeep.window.WINDOW_BYTES", 100)
    window = Window()

    assert window.add(frame(size_bytes=300))


def test_closing_lets_all_go_who_wait() -> None:
    window = filled(LEAST_WINDOW_FRAMES)
    added: list[bool] = []
    adding = threading.Thread(target=lambda: added.append(window.add(frame())))
    adding.start()

    window.close()

    adding.join()
    assert added == [False]
    assert not window.offer(frame())
    assert window.take(window.begin_call()) == []


def test_the_end_comes_after_the_last_answer_with_the_error_of_the_source() -> None:
    window = filled(1)
    call = window.begin_call()
    with window:
        raise ValueError("broken off")
    assert seqs(window.take(call)) == [0]
    assert window.take(call) == []
    assert not window.is_done

    window.answer()

    assert window.is_done
    with pytest.raises(ValueError, match="broken off"):
        window.raise_source_error()
