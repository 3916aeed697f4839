"""Cameras that are played by feeds of this machine: what comes, when it was taken, and how it ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import numpy as np
import pytest

from feeds import Feed, MjpegFeed, RtspFeed, TransportStreamFeed
from framekeep import Clock
from framekeep.errors import SourceError
from framekeep.live_source import LiveSource
from framekeep.locations import source_from
from framekeep.sources import CompressedFrame, SourceFrame
from talking import Pixels, scene

FEEDS = [MjpegFeed, TransportStreamFeed, RtspFeed]


def shown(number: int) -> Pixels:
    return scene(number // 25 % 4)


@pytest.fixture
def start_feed() -> Iterator[Callable[..., Feed]]:
    feeds: list[Feed] = []

    def start(kind: type[Feed]) -> Feed:
        feeds.append(kind(shown).start())
        return feeds[-1]

    yield start
    for feed in feeds:
        if feed.is_running:
            feed.cut()


@pytest.mark.parametrize("kind", FEEDS)
def test_frames_come_with_the_time_at_which_they_were_taken(start_feed: Callable[..., Feed], kind: type[Feed]) -> None:
    began = datetime.now(UTC)
    with closing(source_from(start_feed(kind).url)) as source:
        assert isinstance(source, LiveSource)
        frames = list(islice(source.frames(), 60))

    assert source.clock is Clock.SOURCE
    assert {frame.picture.shape for frame in frames} == {(72, 96, 3)}
    times = [frame.capture_time for frame in frames if frame.capture_time is not None]
    assert len(times) == 60
    assert began <= times[0] <= times[-1] <= datetime.now(UTC)
    assert all(before < after for before, after in pairwise(times))
    offsets = [time - timedelta(microseconds=frame.pts_us) for time, frame in zip(times, frames, strict=True)]
    assert set(offsets) == {times[0]}
    assert np.abs(frames[30].picture.astype(int) - shown(30)).mean() < 25


@pytest.mark.parametrize("kind", FEEDS)
def test_a_feed_that_is_cut_off_says_so_after_its_frames(start_feed: Callable[..., Feed], kind: type[Feed]) -> None:
    feed = start_feed(kind)
    with closing(source_from(feed.url)) as source:
        frames = source.frames()
        taken = len(list(islice(frames, 30)))
        feed.cut()
        with pytest.raises(SourceError, match="expected a live source to go on, but after ") as caught:
            taken += sum(1 for _ in frames)

    assert taken >= 30
    assert "stream it forever to connect again" in caught.value.message


@pytest.mark.parametrize("kind", FEEDS)
def test_a_feed_that_falls_silent_counts_as_lost(start_feed: Callable[..., Feed], kind: type[Feed]) -> None:
    feed = start_feed(kind)
    with closing(source_from(feed.url, stall_s=0.5)) as source:
        frames = source.frames()
        next(frames)
        feed.silent.set()
        with pytest.raises(SourceError, match=r"expected a frame every 0\.5 s at least, but the source fell silent"):
            for _ in frames:
                pass


def test_a_feed_that_is_not_there_is_told(start_feed: Callable[..., Feed]) -> None:
    feed = start_feed(RtspFeed)
    feed.cut()

    with pytest.raises(SourceError, match=r"^rtsp://127\.0\.0\.1:\d+/lobby: .*: Connection refused$"):
        source_from(feed.url)


def test_a_wrong_password_is_told_without_it(start_feed: Callable[..., Feed]) -> None:
    url = start_feed(RtspFeed).url.replace(RtspFeed.password, "wr0ng")

    with pytest.raises(SourceError, match="401 Unauthorized") as caught:
        source_from(url)

    assert "wr0ng" not in caught.value.message


def test_interrupting_ends_the_wait_for_a_silent_feed(start_feed: Callable[..., Feed]) -> None:
    feed = start_feed(MjpegFeed)
    source = source_from(feed.url)
    feed.silent.set()
    waiting = threading.Thread(target=lambda: list(source.frames()))
    waiting.start()

    source.interrupt()

    waiting.join(10)
    assert not waiting.is_alive()
    feed.cut()
    source.close()


def test_what_nobody_takes_is_dropped_and_counted(
    start_feed: Callable[..., Feed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framekeep.backlog.BACKLOG_FRAMES", 5)
    feed = start_feed(TransportStreamFeed)
    with closing(source_from(feed.url)) as source:
        frames = source.frames()
        next(frames)
        while source.dropped_frames < 40:
            assert not feed.stopped.wait(0.01)
        feed.cut()
        rest: list[SourceFrame | CompressedFrame] = []
        with pytest.raises(SourceError, match="after ") as caught:
            rest.extend(frames)

    captured = int(caught.value.message.split("after ")[1].split()[0])
    assert 1 + len(rest) + source.dropped_frames == captured
