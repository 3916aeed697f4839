"""Real video through the client into a real server: what is kept of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from framekeep import Client, VerdictKind
from serving import RunningServer

START = datetime(2026, 1, 1, tzinfo=UTC)


# How much is kept was measured beforehand, independently of this code.
@pytest.mark.parametrize(
    ("video", "threshold", "least", "most"),
    [("bikes", 0.10, 50, 58), ("bigbuckbunny", 0.10, 11, 15), ("bikes", 0.20, 21, 25), ("bigbuckbunny", 0.20, 2, 4)],
)
def test_a_few_exemplars_stand_for_a_video_and_every_frame_is_accounted_for(
    server: RunningServer, videos: dict[str, Path], video: str, threshold: float, least: int, most: int
) -> None:
    with Client(server.address) as client:
        verdicts = list(client.stream(videos[video], memory="m", novelty_threshold=threshold))
        held = client.memory("m").contents
        stream = client.stream_facts("m", video).contents
        sightings = list(client.timeline("m", video))

    assert [verdict.seq for verdict in verdicts] == list(range(len(verdicts)))
    kept = sum(verdict.kind is VerdictKind.NOVEL for verdict in verdicts)
    assert least <= kept <= most
    assert len(verdicts) == held.frames == held.novel_frames + held.repeat_frames + held.rejected_frames
    assert held.counted_frames == held.frames - held.rejected_frames
    assert (held.exemplars, held.novel_frames) == (kept, kept)
    assert sum(sighting.frame_count for sighting in sightings) == held.counted_frames
    assert (stream.frames, stream.counted_frames) == (held.frames, held.counted_frames)
    assert all(v.novelty is not None and v.novelty <= threshold for v in verdicts if v.kind is VerdictKind.REPEAT)


def test_what_is_seen_again_is_not_kept_again(server: RunningServer, videos: dict[str, Path]) -> None:
    kept = []
    with Client(server.address) as client:
        for place, video in enumerate(("bikes", "bigbuckbunny", "bikes")):
            start = START + timedelta(hours=place)
            run = client.stream(videos[video], memory="m", stream="cam", start_time=start)
            kept.append(run.run().novel_frames)
        [picture] = [e for e in client.exemplars("m", newest_first=False, embeddings=True) if e.id == 1]
        answer = client.query("m", embedding=picture.embedding)

    assert kept[2] <= 0.05 * kept[0]
    assert answer.seen
    first, *_ = answer.matches
    assert first.exemplar == 1
    assert first.sighting_count == 2
    assert first.last_time - first.first_time >= timedelta(hours=2)
