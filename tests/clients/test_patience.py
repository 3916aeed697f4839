import pytest

from framekeep.patience import Patience


def test_pauses_grow_until_there_was_no_progress_for_too_long() -> None:
    now = 100.0
    patience = Patience(60, lambda: now)
    pauses = []
    while (pause := patience.next_pause_s()) is not None:
        pauses.append(pause)
        now += pause

    assert sum(pauses) == pytest.approx(60)
    assert all(0.05 * 2**n <= pause <= 0.1 * 2**n for n, pause in enumerate(pauses[:6]))
    assert max(pauses) <= 5


def test_progress_renews_it() -> None:
    now = 0.0
    patience = Patience(10, lambda: now)
    patience.next_pause_s()
    now = 9.9
    patience.renew()
    now = 1_000.0

    pause = patience.next_pause_s()

    assert pause is not None
    assert 0.05 <= pause <= 0.1


def test_none_means_not_even_once() -> None:
    assert Patience(0).next_pause_s() is None
