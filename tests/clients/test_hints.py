"""What is sent with a frame beside its picture, and what comes of it: kept, withheld, and found again by label."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import grpc
import numpy as np
import pytest
from click.testing import CliRunner

from breaking import BreakingServer, plain_pictures
from framekeep import (
    Client,
    Evidence,
    InvalidRequest,
    Keep,
    KeepingPolicy,
    ServerError,
    SourceFrame,
    VerdictKind,
    WithheldFrames,
    WithheldReason,
    aio,
)
from framekeep.cli import main
from framekeep.converters import exemplar_from, sighting_from, verdict_from
from framekeep.hints import checked_labels
from framekeep.picture_files import png_from
from framekeep.printing import print_exemplars
from framekeep.v1 import video_memory_pb2 as pb
from serving import RunningServer
from talking import scene

START = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)
PICTURE = np.zeros((24, 32, 3), np.uint8)
LONGEST = "x" * 63


@dataclass
class HintedServer(BreakingServer):
    """Notes the frames, and withholds those that are sent with NEVER."""

    frames: list[pb.Frame] = field(default_factory=list)

    def ingest(
        self, requests: Iterator[pb.IngestRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.IngestResponse]:
        first = next(requests)
        for response in super().ingest(chain([first], self._noted(requests)), context):
            for verdict in response.verdicts.verdicts:
                if self.frames[verdict.seq].keep == pb.KEEP_NEVER:
                    withheld = pb.Verdict(seq=verdict.seq, kind=pb.Verdict.KIND_WITHHELD, novelty=0.5, by_hint=True)
                    withheld.withheld = pb.WITHHELD_REASON_HINT
                    verdict.CopyFrom(withheld)
            yield response

    def _noted(self, requests: Iterator[pb.IngestRequest]) -> Iterator[pb.IngestRequest]:
        for request in requests:
            known = len(self.frames)
            self.frames += [frame for frame in request.frames.frames if frame.seq >= known]
            yield request


@pytest.fixture
def hinted() -> Iterator[HintedServer]:
    breaking = HintedServer([], grpc.StatusCode.UNAVAILABLE)
    serving = breaking.serve()
    yield breaking
    serving.stop(None).wait()


def labels_of(frames: Sequence[pb.Frame]) -> list[list[str]]:
    return [list(frame.labels) for frame in frames]


def test_a_frame_is_sent_with_what_is_known_of_it(hinted: HintedServer) -> None:
    frames = [
        SourceFrame(0, None, PICTURE),
        SourceFrame(1000, None, PICTURE, Keep.ALWAYS, 7, ("door", "night")),
        SourceFrame(2000, None, PICTURE, keep=Keep.NEVER, priority=100),
    ]
    with Client(hinted.address) as fk:
        run = fk.stream(frames, memory="m", stream="s", create_memory=False)
        verdicts = list(run)

    keeps = [frame.keep for frame in hinted.frames]
    assert keeps == [pb.KEEP_UNSPECIFIED, pb.KEEP_ALWAYS, pb.KEEP_NEVER]
    assert [frame.priority for frame in hinted.frames] == [0, 7, 100]
    assert labels_of(hinted.frames) == [[], ["door", "night"], []]
    withheld = verdicts[-1]
    assert (withheld.kind, withheld.withheld, withheld.by_hint) == (VerdictKind.WITHHELD, WithheldReason.HINT, True)
    assert (withheld.novelty, withheld.exemplar) == (0.5, None)
    assert (run.summary.frames, run.summary.withheld_frames) == (3, 1)
    assert run.summary.withheld == WithheldFrames(hint=1)


def test_the_labels_of_a_run_come_before_those_of_its_frames(hinted: HintedServer) -> None:
    frames = [SourceFrame(0, None, PICTURE), SourceFrame(1000, None, PICTURE, labels=("night", "door"))]
    with Client(hinted.address) as fk:
        fk.stream(frames, memory="m", stream="s", labels=["door"], create_memory=False).run()

    assert labels_of(hinted.frames) == [["door"], ["door", "night"]]


def test_files_and_arrays_carry_the_labels_of_their_run(hinted: HintedServer, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png_from(PICTURE))
    with Client(hinted.address) as fk:
        fk.stream(tmp_path, memory="m", stream="s", labels=["a"], create_memory=False).run()
        hinted.journal.clear()
        fk.stream_forever(tmp_path, memory="m", stream="s", labels=["b"], create_memory=False).run()
    files = labels_of(hinted.frames)
    hinted.frames.clear()
    hinted.journal.clear()
    with Client(hinted.address) as fk:
        arrays = fk.stream(
            plain_pictures(2), memory="m", stream="s", frames_per_second=5, labels=["c"], create_memory=False
        )
        arrays.run()

    assert files[0] == ["a"]
    assert labels_of(hinted.frames) == [["c"]] * 2


def test_the_command_labels_every_frame(hinted: HintedServer, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png_from(PICTURE))
    arguments = ["stream", str(tmp_path), "--memory", "m", "--label", "door", "--label", "night"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("framekeep.client.Streams.create_memory", lambda *_, **__: None)
        result = CliRunner().invoke(main, ["--server", hinted.address, *arguments])

    assert result.exit_code == 0, result.output
    assert labels_of(hinted.frames) == [["door", "night"]]


def test_frames_that_are_sent_one_by_one_carry_hints_too(hinted: HintedServer) -> None:
    with Client(hinted.address) as fk, fk.open_stream("arm", memory="m", create_memory=False) as session:
        session.send(PICTURE, keep=Keep.NEVER, priority=3, labels=["grip"])
        session.send(PICTURE)
        session.flush()
        with pytest.raises(InvalidRequest, match="expected a priority from 0 to 100, got 101"):
            session.send(PICTURE, priority=101)
        with pytest.raises(InvalidRequest, match="expected a sequence of labels, got the string 'grip'"):
            session.send(PICTURE, labels="grip")

    assert [(frame.keep, frame.priority) for frame in hinted.frames] == [(pb.KEEP_NEVER, 3), (pb.KEEP_UNSPECIFIED, 0)]
    assert labels_of(hinted.frames) == [["grip"], []]
    assert session.summary.withheld_frames == 1


def test_tasks_send_hints_too(hinted: HintedServer) -> None:
    async def send() -> None:
        async with (
            aio.Client(hinted.address) as fk,
            fk.open_stream("arm", memory="m", create_memory=False) as session,
        ):
            await session.send(PICTURE, keep=Keep.ALWAYS, priority=5, labels=("grip",))
            await session.flush()
            run = fk.stream([PICTURE], memory="m", stream="s", frames_per_second=1, labels=["x"], create_memory=False)
            hinted.journal.clear()
            await run.run()

    asyncio.run(send())

    [frame, *_] = hinted.frames
    assert (frame.keep, frame.priority, list(frame.labels)) == (pb.KEEP_ALWAYS, 5, ["grip"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([""], "expected a label of 1 to 63 characters"),
        ([LONGEST + "x"], "expected a label of 1 to 63 characters"),
        (["a\nb"], "without control characters, got 'a\\\\nb'"),
        (["\udcff"], "in UTF-8 without control characters, got '.udcff'"),
        ([str(number) for number in range(17)], "expected at most 16 labels, got 17"),
    ],
)
def test_labels_of_another_form_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        checked_labels(labels)
    with pytest.raises(InvalidRequest, match=message):
        SourceFrame(0, None, PICTURE, labels=tuple(labels))
    with Client("localhost:1") as fk, pytest.raises(InvalidRequest, match=message):
        fk.stream([PICTURE], memory="m", stream="s", frames_per_second=1, labels=labels)


@pytest.mark.parametrize("command", [["stream", ".", "--memory", "m"], ["query", "m", "--exemplar", "1"]])
def test_a_label_that_is_not_utf8_is_one_line(command: list[str]) -> None:
    result = CliRunner().invoke(main, ["--server", "localhost:1", *command, "--label", "\udcff"])

    told = "error: expected a label of 1 to 63 characters in UTF-8 without control characters, got '\\udcff'\n"
    assert (result.exit_code, result.stderr) == (1, told)


def test_labels_may_be_long_in_any_script_and_are_told_once() -> None:
    assert checked_labels([LONGEST, "門", LONGEST]) == (LONGEST, "門")
    assert len(checked_labels([str(number % 16) for number in range(40)])) == 16


def test_labels_of_run_and_frame_may_be_too_many_together(hinted: HintedServer) -> None:
    frame = SourceFrame(0, None, PICTURE, labels=tuple(str(number) for number in range(16)))
    with Client(hinted.address) as fk:
        run = fk.stream([frame], memory="m", stream="s", labels=["x"], create_memory=False)
        with pytest.raises(InvalidRequest, match="expected at most 16 labels, got 17"):
            run.run()


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (pb.WITHHELD_REASON_MINUTE, WithheldReason.MINUTE),
        (pb.WITHHELD_REASON_INTERVAL, WithheldReason.INTERVAL),
        (pb.WITHHELD_REASON_HINT, WithheldReason.HINT),
    ],
)
def test_a_verdict_says_why_a_frame_was_withheld(told: "pb.WithheldReason.ValueType", reason: WithheldReason) -> None:
    verdict = verdict_from(pb.Verdict(seq=3, kind=pb.Verdict.KIND_WITHHELD, withheld=told))

    assert (verdict.withheld, verdict.by_hint, verdict.novelty) == (reason, False, None)


def test_a_reason_that_this_client_does_not_know_breaks_the_contract() -> None:
    with pytest.raises(ServerError, match="expected frame 3 to be withheld for MINUTE, INTERVAL, HINT, got 0"):
        verdict_from(pb.Verdict(seq=3, kind=pb.Verdict.KIND_WITHHELD))


def test_labels_and_evidence_of_what_was_kept_are_told() -> None:
    labelled = pb.Exemplar(
        name="memories/m/exemplars/7",
        stream="memories/m/streams/s",
        labels=["a", "b"],
        evidence=pb.Evidence(answer_count=3, total_weight=1.25),
    )
    plain = exemplar_from(pb.Exemplar(name="memories/m/exemplars/7", stream="memories/m/streams/s"))
    sighting = pb.Sighting(stream="memories/m/streams/s", exemplar="memories/m/exemplars/7", clock=1, labels=["a"])  # type: ignore[arg-type]

    exemplar = exemplar_from(labelled)

    assert exemplar.labels == ("a", "b")
    assert exemplar.evidence is not None
    assert (exemplar.evidence.answer_count, exemplar.evidence.total_weight) == (3, 1.25)
    assert (plain.labels, plain.evidence) == ((), None)
    assert sighting_from(sighting).labels == ("a",)


def test_exemplars_that_had_a_part_in_answers_say_so_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    plain = exemplar_from(pb.Exemplar(name="memories/m/exemplars/8", stream="memories/m/streams/s"))
    evidence = replace(plain, id=7, evidence=Evidence(1234, 2.5, START))

    print_exemplars([evidence, plain], total=2)
    told = capsys.readouterr().out.splitlines()
    print_exemplars([plain], total=1)

    assert told[0].split()[-3:] == ["frames", "in", "answers"]
    assert [line.split()[-1] for line in told[1:]] == ["1,234", "0"]
    assert "answers" not in capsys.readouterr().out


def test_withheld_frames_of_several_sessions_add_up() -> None:
    both = WithheldFrames(minute=1, interval=2, hint=3) + WithheldFrames(minute=10, hint=30)

    assert (both, both.total) == (WithheldFrames(11, 2, 33), 46)


def test_a_query_is_about_some_labels_only(client: Client, server: RunningServer) -> None:
    client.stream([scene(1), scene(2)], memory="lab", stream="a", frames_per_second=1, labels=["day"]).run()
    client.stream([scene(3)], memory="lab", stream="b", frames_per_second=1, labels=["night", "door"]).run()

    day = client.query("lab", image=scene(3), labels=["day"])
    night = client.query("lab", image=scene(3), labels=["night", "nothing"])
    command = ["--server", server.address, "query", "lab", "--exemplar", "3", "--label", "day", "--json"]
    told = json.loads(CliRunner().invoke(main, command).stdout)

    assert (day.seen, {match.exemplar for match in day.matches}) == (False, {1, 2})
    assert (night.seen, [match.exemplar for match in night.matches]) == (True, [3])
    assert {match["exemplar"] for match in told["matches"]} == {1, 2}
    assert [set(sighting.labels) for sighting in client.timeline("lab", "b")] == [{"night", "door"}]
    assert [set(exemplar.labels) for exemplar in client.exemplars("lab")] == [{"night", "door"}, {"day"}, {"day"}]


def test_labels_are_in_the_tables_where_there_are_any(client: Client, server: RunningServer) -> None:
    def header(*arguments: str) -> list[str]:
        return CliRunner().invoke(main, ["--server", server.address, *arguments]).stdout.splitlines()[0].split()

    client.stream([scene(1)], memory="lab", stream="a", frames_per_second=1).run()
    before = header("exemplars", "lab"), header("timeline", "lab", "a")
    client.stream([scene(2)], memory="lab", stream="b", frames_per_second=1, labels=["night"]).run()
    after = header("exemplars", "lab"), header("timeline", "lab", "b")

    assert all("labels" not in each for each in before)
    assert all(each[-1] == "labels" for each in after)


def test_what_the_application_wants_outranks_the_gate(client: Client) -> None:
    frames = [
        SourceFrame(0, None, scene(1)),
        SourceFrame(1_000_000, None, scene(1, 1), Keep.ALWAYS),
        SourceFrame(2_000_000, None, scene(2), Keep.NEVER),
        SourceFrame(3_000_000, None, scene(1, 2), Keep.NEVER),
    ]

    with client.stream(frames, memory="lab", stream="a") as run:
        verdicts = list(run)

    kinds = [verdict.kind for verdict in verdicts]
    assert kinds == [VerdictKind.NOVEL, VerdictKind.NOVEL, VerdictKind.WITHHELD, VerdictKind.REPEAT]
    assert [verdict.by_hint for verdict in verdicts] == [False, True, True, False]
    contents = client.memory("lab").contents
    assert (contents.frames, contents.novel_frames, contents.withheld_frames, contents.counted_frames) == (4, 2, 1, 3)


def test_the_summary_tells_what_was_withheld_and_why(
    client: Client, server: RunningServer, make_video: Callable[..., Path]
) -> None:
    limits = KeepingPolicy(max_exemplars_per_minute=2, min_interval=timedelta(milliseconds=250))
    client.create_memory("lab", keeping=limits)
    client.create_memory("free")
    pictures = [np.kron(scene(number), np.ones((2, 2, 1), np.uint8)) for number in range(1, 11)]
    path = str(make_video("a.mp4", pictures=pictures, pts_ms=range(0, 1000, 100)))

    def streamed(*arguments: str) -> str:
        return CliRunner().invoke(main, ["--server", server.address, "stream", path, *arguments]).stdout

    limited, free, document = (
        streamed("--memory", "lab"),
        streamed("--memory", "free"),
        streamed("--memory", "lab", "--json"),
    )

    [row] = [line.split(maxsplit=1)[1].strip() for line in limited.splitlines() if line.startswith("  withheld")]
    assert row == "8 (novel, but kept out: 4 beyond the limit a minute, 4 too soon after another)"
    assert "withheld" not in free
    assert set(json.loads(document.splitlines()[-1])["summary"]["withheld"]) == {"minute", "interval", "hint"}
