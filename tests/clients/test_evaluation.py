import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from framekeep import Client, InvalidRequest, ServerUnavailable, VerdictKind
from framekeep.cli import main
from framekeep.evaluation import Evaluation, evaluate, remaining_frames
from framekeep.held_out import survey
from framekeep.novelty_spread import NoveltySpread
from framekeep.picture_files import Pixels
from framekeep.video_source import VideoSource
from serving import RunningServer
from talking import scene

MakeVideo = Callable[..., Path]

HALF_SECOND_APART = range(0, 20 * 500, 500)
SCENES = [1, 1, 1, 2, 1, 1, 1, 1, 1, 3, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]
"""With every fourth held out, frame 3 (scene 2) is seen again only from 5.5 s on. With every tenth, frame 9 (scene 3)
is seen nowhere else."""


def silent(doing: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""


@pytest.fixture
def video(make_video: MakeVideo) -> Path:
    pictures = [np.kron(scene(number), np.ones((2, 2, 1), np.uint8)) for number in SCENES]
    return make_video("a.mp4", pictures=pictures, pts_ms=HALF_SECOND_APART)


@pytest.fixture
def run(server: RunningServer) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(main, ["--server", server.address, *map(str, arguments)])


def no_embeddings(pictures: list[Pixels]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.zeros((len(pictures), 2), np.float32)


def evaluated(client: Client, video: Path, thresholds: list[float], hold_out: int) -> Evaluation:
    return evaluate(client, video, thresholds=thresholds, hold_out=hold_out, progress=silent)


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 1000])
def test_novelties_are_summed_up_as_if_all_were_at_hand(count: int) -> None:
    novelties = np.random.default_rng(count).uniform(0, 2, count)
    spread = NoveltySpread()

    for novelty in novelties:
        spread.add(float(novelty))

    summary = spread.summary()
    assert summary is not None
    assert summary.mean == pytest.approx(novelties.mean())
    assert summary.largest == novelties.max()
    exact = np.percentile(novelties, 99, method="inverted_cdf")
    assert 0 <= summary.percentile_99 - exact <= 1e-4


def test_a_novelty_on_the_edge_is_not_rounded_up() -> None:
    spread = NoveltySpread()
    for novelty in (0.0003, 0.5):
        spread.add(novelty)
    for _ in range(200):
        spread.add(0.0003)

    summary = spread.summary()

    assert NoveltySpread().summary() is None
    assert summary is not None
    assert summary.percentile_99 == pytest.approx(0.0003)


def test_frames_are_held_out_evenly_and_never_too_many(monkeypatch: pytest.MonkeyPatch, make_video: MakeVideo) -> None:
    monkeypatch.setattr("framekeep.held_out.MOST_HELD_OUT", 4)
    irregular = [40 * number + number % 7 for number in range(60)]
    path = make_video("a.mp4", pts_ms=irregular)

    few = survey(path, 15, no_embeddings, silent)
    many = survey(path, 3, no_embeddings, silent)

    assert (few.frames, few.stride, few.fault) == (60, 15, None)
    assert [frame.pts_us for frame in few.held_out] == [1000 * irregular[number] for number in (14, 29, 44, 59)]
    assert many.stride == 24
    assert [frame.pts_us for frame in many.held_out] == [1000 * irregular[number] for number in (23, 47)]


def test_the_times_of_the_other_frames_stay_exact(make_video: MakeVideo) -> None:
    irregular = [40 * number + number % 7 for number in range(60)]
    path = make_video("a.mp4", pts_ms=irregular)
    surveyed = survey(path, 10, no_embeddings, silent)

    with closing(VideoSource(path)) as source:
        times = [frame.pts_us for frame in remaining_frames(source, surveyed)]

    assert times == [1000 * pts for number, pts in enumerate(irregular) if number % 10 != 9]


def test_what_is_kept_and_found_again_is_counted(client: Client, video: Path) -> None:
    evaluation = evaluated(client, video, [0.2], 4)

    [trial] = evaluation.trials
    assert (evaluation.frames, evaluation.hold_out, evaluation.held_out_frames) == (20, 4, 5)
    assert (trial.frames, trial.kept_frames, trial.kept_share, trial.rejected_frames) == (15, 3, 0.2, 0)
    assert trial.stored_bytes > 0
    assert trial.frames_per_second > 0
    assert trial.repeats is not None
    assert 0 < trial.repeats.mean <= trial.repeats.percentile_99 <= trial.repeats.largest <= 0.2
    found = trial.found_again
    assert found is not None
    assert (found.frames, found.seen_share, found.nearby_share) == (5, 1.0, 0.8)
    assert 0.9 < found.mean_similarity <= 1.0


def test_a_frame_that_is_like_no_other_is_not_found_again(client: Client, video: Path) -> None:
    evaluation = evaluated(client, video, [0.2], 10)

    [trial] = evaluation.trials
    assert trial.kept_frames == 2
    assert trial.found_again is not None
    assert (trial.found_again.frames, trial.found_again.seen_share) == (2, 0.5)


def test_figures_agree_with_those_of_a_memory_that_is_kept(client: Client, make_video: MakeVideo) -> None:
    path = make_video("a.mp4")  # noise: frames are close to each other, but no two are the same
    with closing(VideoSource(path)) as source:
        frames = list(source.frames())
    streamed = [frame for number, frame in enumerate(frames) if number % 10 != 9]
    held_out = client.encode([frame.picture for number, frame in enumerate(frames) if number % 10 == 9])
    verdicts = list(client.stream(streamed, memory="kept", stream="s", novelty_threshold=0.05))
    novelties = [verdict.novelty for verdict in verdicts if verdict.kind is VerdictKind.REPEAT]
    embeddings = [exemplar.embedding for exemplar in client.exemplars("kept", embeddings=True)]

    evaluation = evaluated(client, path, [0.05], 10)

    [trial] = evaluation.trials
    best = (held_out @ np.stack([row for row in embeddings if row is not None]).T).max(1)
    assert trial.kept_frames == len(embeddings)
    assert trial.repeats is not None
    assert trial.found_again is not None
    assert trial.repeats.mean == pytest.approx(
        np.mean([novelty for novelty in novelties if novelty is not None]), abs=1e-5
    )
    assert trial.found_again.mean_similarity == pytest.approx(best.mean(), abs=1e-5)
    assert trial.found_again.seen_share == pytest.approx(np.mean(1 - best <= 0.05))
    assert [memory.name for memory in client.memories()] == ["kept"]


def test_thresholds_are_tried_one_after_the_other_and_leave_nothing(client: Client, video: Path) -> None:
    told: list[tuple[str, int, int | None]] = []

    evaluation = evaluate(client, video, thresholds=[0.2, 1.9], hold_out=30, progress=lambda *step: told.append(step))

    assert [(trial.novelty_threshold, trial.kept_frames) for trial in evaluation.trials] == [(0.2, 3), (1.9, 1)]
    assert [trial.found_again for trial in evaluation.trials] == [None, None]
    assert "efficientnet" in evaluation.encoder_version
    assert client.memories() == []
    assert told == [
        (doing, done, 20) for doing in ("reading", "threshold 0.2", "threshold 1.9") for done in range(1, 21)
    ]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError("no more")])
@pytest.mark.parametrize("moment", ["reading", "threshold", "asking"])
def test_nothing_is_left_after_an_error(
    client: Client, video: Path, moment: str, failure: type[BaseException] | BaseException
) -> None:
    def fail(doing: str, done: int, total: int | None) -> None:
        if doing.startswith(moment) and done == 2:
            raise failure

    with pytest.raises((KeyboardInterrupt, ValueError)):
        evaluate(client, video, thresholds=[0.2], hold_out=4, progress=fail)

    assert client.memories() == []


def test_a_memory_that_is_left_because_the_server_went_away_is_named(
    server: RunningServer, client: Client, video: Path
) -> None:
    def stop(doing: str, done: int, total: int | None) -> None:
        if doing.startswith("asking") and done == 1:
            server.stop()

    with pytest.raises(ServerUnavailable, match=r"the memory evaluate-[0-9a-f-]{36} was created, it is left"):
        evaluate(client, video, thresholds=[0.2], hold_out=4, progress=stop)


@pytest.mark.parametrize(("thresholds", "hold_out"), [([], 10), ([0.0], 10), ([2.5], 10), ([0.1], 1)])
def test_what_makes_no_sense_is_refused(client: Client, video: Path, thresholds: list[float], hold_out: int) -> None:
    with pytest.raises(InvalidRequest, match="expected"):
        evaluated(client, video, thresholds, hold_out)


def test_the_command_prints_tables_and_names_the_encoder(run: Callable[..., Result], video: Path) -> None:
    result = run("evaluate", video, "--thresholds", "0.2,1.9", "--hold-out", 4)

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    rows = [line.split() for line in lines if re.match(r"(0\.2|1\.9) ", line)]
    assert lines[0].split()[-2:] == ["20", "frames"]
    assert lines[2].split()[0] == "encoder"
    assert "efficientnet" in lines[2]
    assert [row[:5] for row in rows[:2]] == [["0.2", "15", "3", "20.0", "%"], ["1.9", "15", "1", "6.7", "%"]]
    assert [row[4:8] for row in rows[2:]] == [["100.0", "%", "80.0", "%"], ["100.0", "%", "100.0", "%"]]


def test_the_command_prints_json_for_machines(run: Callable[..., Result], video: Path) -> None:
    document = json.loads(run("evaluate", video, "--thresholds", 0.2, "--hold-out", 4, "--json").stdout)

    assert (document["frames"], document["trials"][0]["kept_frames"]) == (20, 3)
    assert document["trials"][0]["found_again"]["nearby_share"] == 0.8


def test_a_video_that_is_cut_off_is_evaluated_as_far_as_it_goes(
    run: Callable[..., Result], make_video: MakeVideo
) -> None:
    path = make_video("a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])

    result = run("evaluate", path, "--thresholds", 0.3, "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert 10 < document["frames"] < 60
    assert document["trials"][0]["frames"] == document["frames"] - document["held_out_frames"]
    assert result.stderr == f"error: {document['fault']}\n"


@pytest.mark.parametrize("thresholds", ["", "a", "0.1,", "0", "0.1,3"])
def test_wrong_thresholds_are_wrong_usage(run: Callable[..., Result], video: Path, thresholds: str) -> None:
    assert run("evaluate", video, "--thresholds", thresholds).exit_code == 2


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ending_it_leaves_no_memory(
    server: RunningServer, client: Client, make_video: MakeVideo, sign: signal.Signals, code: int
) -> None:
    path = make_video("long.mp4", pts_ms=range(0, 40 * 3_000, 40), pictures=[scene(1)] * 3_000)
    script = "from framekeep.cli import main; main()"
    command = [sys.executable, "-c", script, "--server", server.address, "evaluate", str(path), "--hold-out", "3000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not any(memory.contents.frames for memory in client.memories()):
            pass
        process.send_signal(sign)
        output, errors = process.communicate()

    assert (process.returncode, output) == (code, ""), errors
    assert "Traceback" not in errors
    assert client.memories() == []
