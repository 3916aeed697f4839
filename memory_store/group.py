"""A group of frames on its way into the journal: everything it would change, decided but not yet committed.

The state of the memory is only read here. If the commit fails, the group is dropped and nothing has happened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from memory_store.budget import Control
from memory_store.errors import SequenceGap
from memory_store.examples import Bands, Example
from memory_store.forest import BLOCK_SIZE, Stay
from memory_store.frame_embeddings import is_copy
from memory_store.group_rows import FrameRow, NewExemplar, SessionTotals, WithheldRow
from memory_store.hints import Keep
from memory_store.keeping import Keeping
from memory_store.kept_times import KeptTimes
from memory_store.novelty import Decision, Neighbour, decide, distance
from memory_store.policies import Policies, PolicyRecord
from memory_store.records import (
    Clock,
    Embedding,
    Encoded,
    FrameKind,
    Novel,
    Policy,
    Rejected,
    Repeat,
    Sighting,
    Unusable,
    Verdict,
    Withheld,
    WithheldReason,
)
from memory_store.session_state import NextIds, SessionState, StreamState
from memory_store.vectors import as_stored

LONGEST_GAP_US = 60_000_000
"""A sighting does not span more time without a frame: what was on screen then is not known."""


_STRETCHES = 4
"""Stretches of time, the latest read, in which it is known when exemplars of a stream were captured: now, and in what
comes late."""

LONGEST_SIGHTING_FRAMES = 32_768
"""A sighting that goes on longer is followed by another, so that what cuts one has so many frames to look at."""


@dataclass(slots=True)
class Group:
    """The changes that a group of frames makes, in the order in which they are decided."""

    next_ids: NextIds
    policies: Policies
    decided_us: int
    """When, by this machine's clock."""
    bytes_each: float = 0.0
    """What an exemplar takes on disk."""
    bands: Bands = field(default_factory=Bands)
    """Which of the frames that are dropped are taken as examples."""
    records_frames: bool = True
    """What frames look like goes on record."""
    examples: list[Example] = field(default_factory=list)
    sessions: dict[int, SessionState] = field(default_factory=dict)
    streams: dict[int, StreamState] = field(default_factory=dict)
    totals: dict[int, SessionTotals] = field(default_factory=dict)
    exemplars: dict[int, NewExemplar] = field(default_factory=dict)
    stays: list[Stay] = field(default_factory=list)
    sightings: dict[int, Sighting] = field(default_factory=dict)
    """As they are after the group."""
    grown: dict[int, Sighting] = field(default_factory=dict)
    """As they were before it, where they were there."""
    frames: list[FrameRow] = field(default_factory=list)
    withheld: list[WithheldRow] = field(default_factory=list)
    records: list[PolicyRecord] = field(default_factory=list)
    """Thresholds that budgets have moved."""
    rejections: list[tuple[int, int, Rejected]] = field(default_factory=list)

    def new_exemplars(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Exemplars that this group has decided on, which the index does not know yet: int64 [K], float32 [K, D]."""
        embeddings = [exemplar.embedding for exemplar in self.exemplars.values()]
        return np.array(list(self.exemplars), np.int64), np.array(embeddings, np.float32)

    def _step(self, session: SessionState, seq: int, size_bytes: int) -> SessionTotals:
        if seq != session.next_seq:
            raise SequenceGap(session.next_seq, seq)
        session.next_seq += 1
        totals = self.totals.setdefault(session.id, SessionTotals())
        totals.received_bytes += size_bytes
        return totals

    def reject(self, frame: Unusable) -> Verdict:
        """Put a frame that could not be encoded on record.

        Raises:
            SequenceGap: it is not the next one of its session.
        """
        totals = self._step(self.sessions[frame.session_id], frame.seq, frame.size_bytes)
        totals.rejected_frames += 1
        self.frames.append(FrameRow(frame.session_id, frame.seq, FrameKind.REJECTED))
        self.rejections.append((frame.session_id, frame.seq, frame.rejection))
        return Verdict(frame.seq, frame.rejection, policy_revision=0, capture_us=None, pts_repaired=False)

    def count(
        self,
        frame: Encoded,
        stored: Callable[[int], Embedding],
        look: Callable[[Embedding, int], Neighbour | None],
        kept: Callable[[StreamState, int, int], Sequence[tuple[int, int]]],
        rounded: bytes | None,
    ) -> Verdict:
        """Decide on an encoded frame, and count it.

        Args:
            frame: the frame.
            stored: gives the embedding of an exemplar, this group's included.
            look: finds the nearest exemplar of those that a frame of a capture time is compared with, this group's
                included.
            kept: reads capture time and priority of a stream's exemplars between two times, this group's left out.
            rounded: what may go on record of what it looks like; None if frames do not go on record.

        Raises:
            SequenceGap: it is not the next one of its session.
        """
        session = self.sessions[frame.session_id]
        totals = self._step(session, frame.seq, frame.size_bytes)
        pts_us, repaired = _increasing(frame.pts_us, session.last_pts_us)
        session.last_pts_us = pts_us
        capture_us = session.start_us + pts_us if frame.capture_us is None else frame.capture_us

        stream = self.streams[session.stream_id]
        policy, keeping = self.policies.in_force(stream.id), self.policies.keeping(stream.id)
        current = None
        if session.sighting is not None and _seen_lately(session.sighting, keeping, capture_us):
            current_id = session.sighting.exemplar_id
            current = Neighbour(current_id, distance(frame.embedding, stored(current_id)))
        decision = decide(current, lambda: look(frame.embedding, capture_us), policy.threshold)

        def limit() -> WithheldReason | None:
            if not keeping.is_limited:
                return None
            return self._kept_around(stream, keeping, capture_us, kept).limit(keeping, capture_us, frame.hint.priority)

        outcome = self._outcome(frame, decision, limit, capture_us)
        by_hint = False
        match outcome:
            case Novel(exemplar_id, _, by_hint):
                own_novelty = distance(frame.embedding, self.exemplars[exemplar_id].embedding)
                self._sight(session, exemplar_id, policy, frame, capture_us, own_novelty)
                totals.novel_frames += 1
                kind = FrameKind.NOVEL
            case Repeat(exemplar_id, own_novelty):
                self._sight(session, exemplar_id, policy, frame, capture_us, own_novelty)
                totals.repeat_frames += 1
                kind = FrameKind.REPEAT
                if self.bands.takes(own_novelty):
                    jpeg = frame.thumbnail()
                    self.examples.append(Example(own_novelty, exemplar_id, stream.id, capture_us, jpeg, kept=False))
            case Withheld(reason, _, by_hint):
                session.sighting = None  # the next one begins anew, so that `on_record` is of no use
                self.withheld.append(WithheldRow(session.id, frame.seq, stream.id, capture_us, policy.revision, reason))
                totals.withheld_frames += 1
                kind = FrameKind.WITHHELD
        on_record = None if rounded is None or kind is FrameKind.WITHHELD else _to_record(session, rounded)
        row = FrameRow(session.id, frame.seq, kind, repaired, pts_us, capture_us, outcome.novelty, by_hint, on_record)
        self.frames.append(row)
        self._keep_to_budget(stream, keeping, policy, capture_us, kept=kind is FrameKind.NOVEL)
        return Verdict(frame.seq, outcome, policy.revision, capture_us, repaired)

    def _kept_around(
        self,
        stream: StreamState,
        keeping: Keeping,
        capture_us: int,
        read: Callable[[StreamState, int, int], Sequence[tuple[int, int]]],
    ) -> KeptTimes:
        """Know when exemplars of a stream were captured, around a frame."""
        for known in stream.kept:
            if known.covers(keeping, capture_us):
                return known
        stretch = KeptTimes.stretch_around(keeping, capture_us)
        found = KeptTimes(*stretch, tuple(sorted(read(stream, *stretch))))
        for exemplar in self.exemplars.values():
            if self.sessions[exemplar.session_id].stream_id == stream.id:
                found = found.with_one(exemplar.capture_us, exemplar.priority)
        stream.kept = (*stream.kept[1 - _STRETCHES :], found)
        return found

    def _outcome(
        self, frame: Encoded, decision: Decision, limit_of: Callable[[], WithheldReason | None], capture_us: int
    ) -> Novel | Repeat | Withheld:
        """Let limits and hints have their say."""
        keep, match = frame.hint.keep, decision.stands_for_it
        if match is not None and keep is not Keep.ALWAYS:
            return Repeat(match.exemplar_id, match.novelty)
        novelty = None if decision.nearest is None else decision.nearest.novelty
        limit = None if match is not None else limit_of()
        if keep is Keep.NEVER:
            return Withheld(WithheldReason.HINT, novelty, by_hint=limit is None)
        if limit is not None and keep is not Keep.ALWAYS:
            return Withheld(limit, novelty)
        exemplar_id = self._keep(frame, capture_us)
        stream = self.streams[self.sessions[frame.session_id].stream_id]
        stream.kept = tuple(known.with_one(capture_us, frame.hint.priority) for known in stream.kept)
        return Novel(exemplar_id, novelty, by_hint=match is not None or limit is not None)

    def _keep(self, frame: Encoded, capture_us: int) -> int:
        exemplar_id = self.next_ids.exemplar
        self.next_ids.exemplar += 1
        self.exemplars[exemplar_id] = NewExemplar(
            exemplar_id,
            frame.session_id,
            frame.seq,
            capture_us,
            as_stored(frame.embedding),
            frame.thumbnail(),
            frame.hint.priority,
        )
        return exemplar_id

    def _keep_to_budget(
        self, stream: StreamState, keeping: Keeping, policy: Policy, capture_us: int, *, kept: bool
    ) -> None:
        """Move the threshold of a stream if its budget asks for that; the next frame obeys it."""
        if keeping.budget is None:
            stream.control = None
            return
        control = stream.control
        if control is None or control.budget != keeping.budget:
            control = Control(keeping.budget)
        stream.control, threshold = control.after(
            kept=kept, capture_us=capture_us, bytes_each=self.bytes_each, threshold=policy.threshold
        )
        if threshold != policy.threshold:
            self.policies = self.policies.copy()
            record = PolicyRecord(
                self.policies.next_revision, stream.id, threshold, self.policies.own(stream.id).keeping
            )
            self.policies.put(record)
            self.records.append(record)

    def _sight(
        self, session: SessionState, exemplar_id: int, policy: Policy, frame: Encoded, capture_us: int, novelty: float
    ) -> None:
        """Let the session's sighting grow by a frame, or open a new one."""
        stay_id = self._stay(self.streams[session.stream_id], exemplar_id)
        last = session.sighting
        if (
            last is not None
            and last.stay_id == stay_id
            and last.policy == policy
            and last.labels == frame.hint.labels
            and last.frames < LONGEST_SIGHTING_FRAMES
            and not last.cut
            and not last.moved_angle
            and (self.records_frames or session.on_record is None)  # else what follows would count as copies
            and not _gap(session, last, capture_us)
        ):
            if last.id not in self.sightings:
                self.grown[last.id] = last
            sighting = _grown(last, frame, capture_us, novelty)
        else:
            sighting = Sighting(
                id=self.next_ids.sighting,
                stay_id=stay_id,
                stream_id=session.stream_id,
                session_id=session.id,
                exemplar_id=exemplar_id,
                policy=policy,
                first_seq=frame.seq,
                last_seq=frame.seq,
                start_us=capture_us,
                end_us=capture_us,
                frames=1,
                largest_novelty=novelty,
                mean=frame.embedding,
                labels=frame.hint.labels,
            )
            self.next_ids.sighting += 1
            session.on_record = None
            self.streams[session.stream_id].sightings += 1
        stream = self.streams[session.stream_id]
        stream.longest_us = max(stream.longest_us, sighting.end_us - sighting.start_us)
        self.sightings[sighting.id] = sighting
        session.sighting = sighting

    def _stay(self, stream: StreamState, exemplar_id: int) -> int:
        """Find the exemplar's stay in the stream's open block, or open one; a full block is closed first."""
        if exemplar_id in stream.open_stays:
            return stream.open_stays[exemplar_id]
        if stream.next_position % BLOCK_SIZE == 0:
            stream.open_stays = {}
        stay = Stay(self.next_ids.stay, stream.id, stream.next_position, exemplar_id)
        self.next_ids.stay += 1
        self.stays.append(stay)
        stream.next_position += 1
        stream.open_stays[exemplar_id] = stay.id
        return stay.id


def _seen_lately(sighting: Sighting, keeping: Keeping, capture_us: int) -> bool:
    """Tell whether a session's own sighting is among what a frame is compared with."""
    return keeping.horizon_us is None or sighting.end_us >= capture_us - keeping.horizon_us


def _to_record(session: SessionState, rounded: bytes) -> bytes | None:
    """Give what goes on record of a counted frame; None if it is a copy of what is on record of its sighting."""
    if is_copy(rounded, session.on_record):
        return None
    session.on_record = rounded
    return rounded


def _gap(session: SessionState, last: Sighting, capture_us: int) -> bool:
    """Tell whether too much time without a frame lies between a sighting and a frame.

    Only where each frame carries the time of its capture: a frame of a file is on screen until the next one.
    """
    away_us = max(capture_us - last.end_us, last.start_us - capture_us)
    return session.clock is Clock.SOURCE and away_us > LONGEST_GAP_US


def _increasing(pts_us: int, last_us: int | None) -> tuple[int, bool]:
    """Repair a presentation time that does not increase."""
    if last_us is None or pts_us > last_us:
        return pts_us, False
    return last_us + 1, True


def _grown(sighting: Sighting, frame: Encoded, capture_us: int, novelty: float) -> Sighting:
    """Add a frame to a sighting.

    The running mean is kept in float32, as it is stored, so that a sighting that goes on after a restart ends with
    the same bits. Its rounding error after n frames is about sqrt(n / 3) 2^-25 of a component.
    """
    frames = sighting.frames + 1
    mean = sighting.mean + (frame.embedding - sighting.mean) / np.float32(frames)
    return replace(
        sighting,
        last_seq=frame.seq,
        start_us=min(sighting.start_us, capture_us),
        end_us=max(sighting.end_us, capture_us),
        frames=frames,
        largest_novelty=max(sighting.largest_novelty, novelty),
        mean=mean,
    )
