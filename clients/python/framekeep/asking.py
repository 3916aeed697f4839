"""The calls that ask a memory about its past, and those by which its attention learns what the answers are."""

from collections.abc import Sequence
from datetime import datetime

from numpy.typing import ArrayLike

from framekeep import answer_converters, names
from framekeep.answers import Answer
from framekeep.attention import FittedAttention
from framekeep.pictures import Image
from framekeep.questions import Moment, feedback_from, question_from
from framekeep.tuning import Tuning
from framekeep.v1 import video_memory_pb2 as pb


class Asking(Tuning):
    """The calls of a client, with those about the past. Safe for several threads."""

    def query(
        self,
        memory: str,
        *,
        image: Image | None = None,
        embedding: ArrayLike | None = None,
        exemplar: int | None = None,
        moment: Moment | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        streams: Sequence[str] = (),
        labels: Sequence[str] = (),
        as_of: datetime | None = None,
        inverse_temperature: float | None = None,
        top: int = 5,
        thumbnails: bool = False,
        exact: bool = False,
        max_reading_error: float | None = None,
        max_stays: int | None = None,
        max_frames: int | None = None,
        attention_version: str | None = None,
        explain: bool = False,
    ) -> Answer:
        """Ask a memory about its past, with exactly one subject.

        Attention reads what matters and estimates the rest; `Answer.context_error` says how far it may be off.

        Args:
            memory: the memory to ask.
            image: what this picture shows: a path, bytes of a JPEG, PNG or WebP file, or pixels.
            embedding: [D], for instance from `encode`; scaled to unit length.
            exemplar: what the exemplar of this id stands for.
            moment: what a stream showed at an instant: its last frame at or before it.
            since: only frames captured from then on count.
            until: only frames captured before then count.
            streams: only frames of these streams count; empty: of all.
            labels: only frames of sightings that carry one of these labels count; empty: all.
            as_of: only frames captured at or before then count, as if the memory had been asked then.
            inverse_temperature: how sharply attention prefers the similar, in [0, 10000]; None: 20.
            top: how many matches, exemplars by weight, and blocks a level to return; 1 to 1,000.
            thumbnails: return the thumbnails of the matches too.
            exact: open every stay and look at all frames that matter, however long it takes: reading adds no error
                then.
            max_reading_error: read on, however long it takes, until the error of reading is estimated to be at most
                this, as a share of the context vector's length, in (0, 1]; None: open about `max_stays`.
            max_stays: stays to open, about, at least 1,000; None: 4,000, or 13,500 within narrow
                scopes. Up to twice as many are all opened.
            max_frames: frames to look at, at most, where the means of their stays would be too coarse an answer; None:
                1,024, or with `exact` all that matter.
            attention_version: `latest`, or a version from `fit`; None: plain attention.
            explain: return the way from the top of the hierarchy down to the stays too.

        Returns:
            The answer; from an empty memory, or if nothing passes the filter, one with `seen` false.

        Raises:
            MomentNotFound: the stream showed nothing at or before that time.
            AttentionVersionNotFound: the memory has no such version, or it was fitted to what came after `as_of`.
            SourceError: the image is a file that cannot be used.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().frames
            30
            >>> answer = fk.query("lobby", image="person.jpg", top=1)
            >>> answer.seen, answer.matches[0].exemplar, answer.matches[0].frame_count
            (True, 2, 10)
            >>> fk.query("lobby", image=picture).seen
            False
        """
        question = question_from(
            memory,
            image=image,
            embedding=embedding,
            exemplar=exemplar,
            moment=moment,
            since=since,
            until=until,
            streams=streams,
            labels=labels,
            as_of=as_of,
            inverse_temperature=inverse_temperature,
            top=top,
            thumbnails=thumbnails,
            exact=exact,
            max_reading_error=max_reading_error,
            max_stays=max_stays,
            max_frames=max_frames,
            attention_version=attention_version,
            explain=explain,
        )
        lasting = exact or max_reading_error is not None
        return answer_converters.answer_from(self._connection.call(self._stub.Query, question, lasting=lasting))

    def send_feedback(
        self,
        memory: str,
        *,
        evidence: Sequence[int],
        image: Image | None = None,
        embedding: ArrayLike | None = None,
        exemplar: int | None = None,
        moment: Moment | None = None,
        as_of: datetime | None = None,
    ) -> None:
        """Say which exemplars answered a question, for `fit` to learn from; it is on disk when this returns.

        Args:
            memory: the memory that was asked.
            evidence: the ids of the exemplars that were the answer; 1 to 100.
            image: what was asked for, with exactly one subject as for `query`, like the three that follow.
            embedding: as there.
            exemplar: as there.
            moment: as there.
            as_of: when it was asked, in capture time; None: now. Exemplars first seen later are no evidence for it.

        Raises:
            ExemplarNotFound: the memory has no such exemplar; nothing was recorded.
            SourceError: the image is a file that cannot be used.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().frames
            30
            >>> fk.send_feedback("lobby", image="person.jpg", evidence=[2])
        """
        feedback = feedback_from(
            memory, evidence, image=image, embedding=embedding, exemplar=exemplar, moment=moment, as_of=as_of
        )
        self._connection.call(self._stub.SendFeedback, feedback)

    def fit(self, memory: str) -> FittedAttention:
        """Fit attention to a memory: attend to what will be seen again, and to what `send_feedback` named.

        Trains on the earlier part of what the memory holds, and keeps a new version only if on the later part it puts
        the evidence among the five heaviest exemplars more often than plain attention does. It may take minutes;
        streams and queries go on, and nothing that is stored changes. A version that is kept is on disk when this
        returns.

        Args:
            memory: the memory.

        Raises:
            ServerUnavailable: the disk refuses, or the server stops.

        Example:
            >>> fk.stream("lobby.mp4", memory="lobby").run().frames
            30
            >>> fitted = fk.fit("lobby")
            >>> fitted.version is None or fitted.fitted_top5_share > fitted.plain_top5_share
            True
            >>> fk.memory("lobby").attention_version == fitted.version
            True
        """
        request = pb.FitAttentionRequest(name=names.memory_resource(memory))
        return answer_converters.fitted_from(self._connection.call(self._stub.FitAttention, request, lasting=True))
