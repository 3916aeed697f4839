"""What a memory holds beside its journal: index, forest, streams, open sessions.

All of it is a copy that opening the memory makes again. It follows the journal after each commit, never the other way.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memory_store import loading
from memory_store.change import Change
from memory_store.code_lists import CodeLists
from memory_store.embedding_table import EmbeddingTable
from memory_store.examples import bands_of
from memory_store.facts import Contents
from memory_store.forest import Forest, Snapshot
from memory_store.group import Group
from memory_store.index import CORES, ExemplarIndex
from memory_store.index_copy import IndexCopy, IndexCopyDamaged, copy_path, read_copy
from memory_store.index_upkeep import FIRST_TRAINING, IndexUpkeep, Workers, lists_from
from memory_store.journal import Journal, reading_errors
from memory_store.last_seen import LastSeen, last_times
from memory_store.policies import Policies
from memory_store.reading import earliest_start
from memory_store.rows import next_ids_of
from memory_store.session_state import SessionState, StreamState
from memory_store.stay_lists import ListStrata
from memory_store.stay_lists_upkeep import StayListsUpkeep

_LOG = logging.getLogger(__name__)


class MemoryState:
    """The copies of one journal. Not safe for several threads; the memory's lock sees to that."""

    def __init__(self, journal: Journal, path: Path, lock: threading.RLock, workers: Workers) -> None:
        """Make the copies.

        Args:
            journal: the journal.
            path: its file.
            lock: the memory's.
            workers: the threads that work for the index.

        Raises:
            ValueError, LookupError, sqlite3.Error, OSError: the journal cannot be read; see `reading_errors`.
        """
        self._journal = journal
        self._path = path
        self._workers = workers
        connection = journal.connection
        self.sessions: dict[int, SessionState] = {}
        self.streams = {stream.id: stream for stream in loading.streams_of(connection)}
        self.next_ids = next_ids_of(connection)
        self.policies = Policies(loading.policies_of(connection))
        self._thumbnail_bytes, self._thumbnails = loading.thumbnail_bytes_of(connection)
        self.bands = bands_of(connection)
        """Which of the frames that are dropped are taken as examples."""
        self._last_seen: dict[int | None, LastSeen] = {}
        self.forest = Forest(journal.identity.dimension)
        table = self._embeddings()
        interrupted = bool(loading.unfinished_of(connection))
        with ThreadPoolExecutor(1 + CORES, "opening") as beside:  # which takes about as long as reading the stays
            index = beside.submit(self._index, table, beside, interrupted=interrupted)
            self._load_stays()
            made, saved = index.result()
        self.upkeep = IndexUpkeep(made, lock, copy_path(path), journal.identity.uuid, saved)
        self.upkeep.submit(workers.aside)
        self._lists = StayListsUpkeep(journal.identity.dimension, self.forest, self.upkeep, lock)
        self._lists.follow(workers.aside)

    def _load_stays(self) -> None:
        for block in loading.stay_blocks_of(self._journal.connection):
            stream = self.streams[int(block.table[0, 1])]
            stream.sightings += block.sightings
            stream.longest_us = max(stream.longest_us, block.longest_us)
            self.forest.load(block.table, block.totals, loading.open_from(stream.next_position))

    def _embeddings(self) -> EmbeddingTable:
        dimension = self._journal.identity.dimension
        table = EmbeddingTable(dimension)
        for ids, embeddings in loading.exemplars_of(self._journal.connection):
            if embeddings.shape[1] != dimension:
                raise ValueError(f"expected embeddings of {dimension} numbers, got {embeddings.shape[1]}")
            table.add(ids, embeddings)
        return table

    def _index(
        self, table: EmbeddingTable, beside: ThreadPoolExecutor, *, interrupted: bool
    ) -> tuple[ExemplarIndex, int]:
        """Make the index over a table; the copy beside the journal tells which list each exemplar lies in.

        Args:
            table: what the journal holds.
            beside: threads that help; one of them is taken by this.
            interrupted: something was being removed.

        Returns:
            The index, and how many exemplars the copy knows; 0 if it has to be written anew.
        """
        searchers = self._workers.searchers
        copy = _copy_of(self._path, table.dimension, self._journal.identity.uuid)
        if copy is None and len(table) >= FIRST_TRAINING:
            name = self._path.name
            _LOG.warning("%s has no copy of its index: it is made again, and looks are slow until then", name)
        if copy is None or not len(table):
            return ExemplarIndex(table, searchers=searchers), 0
        lists = lists_from(copy, table, beside)
        if interrupted:
            # The copy is written anew at the end of a removal: what is moved already shows in its centroids.
            lists.recentre(np.arange(len(copy.centroids)), table)
        outdated = interrupted or not table.present(copy.ids).all()
        return ExemplarIndex(table, lists, copy.trained_on, searchers), 0 if outdated else len(copy.ids)

    @property
    def bytes_each(self) -> float:
        """Tell what an exemplar takes on disk, by the latest."""
        return self._thumbnail_bytes + loading.bytes_beside_thumbnail(self._journal.identity.dimension)

    def last_seen(self, stream_id: int | None) -> LastSeen:
        """Tell when exemplars were seen last, by a stream or by any; it grows with its stays when first asked."""
        if stream_id not in self._last_seen:
            self._last_seen[stream_id] = LastSeen(self.forest.facts(stream_id))
        return self._last_seen[stream_id]

    def kept_of(self, stream: StreamState, first_us: int, last_us: int) -> list[tuple[int, int]]:
        """Read when exemplars of a stream were captured between two times, with their priorities.

        Raises:
            MemoryUnreadable, StoreUnavailable: the journal cannot be read.
        """
        earliest_us = earliest_start(stream, first_us)
        with reading_errors(self._path):
            return loading.kept_of(self._journal.connection, stream.id, earliest_us, first_us, last_us)

    def take_in(self, group: Group) -> None:
        """Follow a group that was committed."""
        self.next_ids = group.next_ids
        self.policies = group.policies
        self.bands = group.bands
        self.sessions.update(group.sessions)
        self.streams.update(group.streams)
        self.forest.grow(
            group.stays, [(group.grown.get(sighting.id), sighting) for sighting in group.sightings.values()]
        )
        for sighting in group.sightings.values():
            for key in {None, sighting.stream_id} & self._last_seen.keys():
                self._last_seen[key].note(sighting.exemplar_id, sighting.end_us)
        for exemplar in group.exemplars.values():
            self._thumbnails = min(self._thumbnails + 1, loading.LATEST_THUMBNAILS)
            self._thumbnail_bytes += (len(exemplar.thumbnail) - self._thumbnail_bytes) / self._thumbnails
        if group.exemplars:
            self.upkeep.add(*group.new_exemplars())
            self.upkeep.submit(self._workers.aside)
        if group.stays:
            self._lists.follow(self._workers.aside)

    def follow(self, change: Change) -> None:
        """Follow a step of forgetting or merging that was committed."""
        connection = self._journal.connection
        self.next_ids = next_ids_of(connection)
        for of_stream in (None, *change.streams):
            self._last_seen.pop(of_stream, None)
        if change.stays:
            self.forest.change(change.stays)
        if change.removed or change.moved:
            self.upkeep.change(np.array(change.removed, np.int64), change.moved)
        for stream_id, more in change.streams.items():
            stream = self.streams[stream_id]
            stream.open_stays = loading.open_stays_of(connection, stream)
            stream.sightings += more
            stream.longest_us = max(stream.longest_us, change.longest_us.get(stream_id, 0))
            stream.kept = ()
        for session_id in change.sessions & self.sessions.keys():
            loading.refresh(connection, self.sessions[session_id])

    def lists_of(self, snapshot: Snapshot) -> tuple[ListStrata | None, CodeLists | None]:
        """Give the closed stays of a snapshot by what they show, and the lists of the index that these go by.

        None: that is not known at present; the index has none.
        """
        self._lists.follow(self._workers.aside)
        return self._lists.strata(snapshot), self._lists.codes

    def stop(self) -> None:
        """Stop what is being done aside; not under the lock."""
        self.upkeep.stop()
        self._lists.stop()

    def stream(self, name: str) -> StreamState | None:
        """Find a stream by its name."""
        return next((stream for stream in self.streams.values() if stream.name == name), None)

    def session(self, stream_id: int, uuid: str) -> SessionState | None:
        """Find a session in the journal, and hold where it stands; None if there is none."""
        state = loading.session_of(self._journal.connection, stream_id, uuid)
        if state is not None:
            self.sessions[state.id] = state
        return state

    def contents(self, stream_id: int | None) -> Contents:
        """Count what is held, for one stream or for all."""
        counts = loading.contents_of(self._journal.connection, stream_id)
        totals = self.forest.totals(stream_id)
        streams = self.streams.values() if stream_id is None else [self.streams[stream_id]]
        sightings = sum(stream.sightings for stream in streams)
        counts = replace(counts, stays=totals.stays, counted_frames=totals.frames, sightings=sightings)
        return replace(counts, first_us=totals.first_us, last_us=totals.last_us) if totals.stays else counts

    def extent(self) -> tuple[int, int] | None:
        """Give the earliest and the latest capture time of a frame, withheld ones included; None if there is none."""
        totals = self.forest.totals(None)
        first_us, last_us = loading.withheld_extent(self._journal.connection)
        firsts = [time_us for time_us in (first_us, totals.first_us if totals.stays else None) if time_us is not None]
        lasts = [time_us for time_us in (last_us, totals.last_us if totals.stays else None) if time_us is not None]
        return (min(firsts), max(lasts)) if firsts and lasts else None

    def captured_by(self, share: float) -> int:
        """Estimate by when a share of the frames was captured: those of a stay are taken to be spread evenly.

        Grows with the number of stays and of withheld frames; there must be one.
        """
        facts, withheld_us = self.forest.facts(None), loading.withheld_times(self._journal.connection)
        firsts, lasts = (np.concatenate([facts.column(name), withheld_us]) for name in ("first_us", "last_us"))
        frames = np.concatenate([facts.column("frames"), np.ones_like(withheld_us)]).astype(np.float64)
        first_us, last_us = firsts.astype(np.float64), lasts.astype(np.float64)
        low, high = int(firsts.min()), int(lasts.max())
        while low < high:
            middle = (low + high) // 2
            before = np.clip((middle - first_us + 1) / (last_us - first_us + 1), 0, 1) * frames
            low, high = (low, middle) if before.sum() >= share * frames.sum() else (middle + 1, high)
        return low

    def seen_last(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give all exemplars, and when each was seen last: int64 [K] twice. Grows with the number of stays."""
        return last_times(self.forest.facts(None))


def _copy_of(path: Path, dimension: int, uuid: str) -> IndexCopy | None:
    try:
        copy = read_copy(copy_path(path), dimension)
    except (IndexCopyDamaged, OSError) as error:
        _LOG.warning("%s", error)
        return None
    if copy is not None and copy.memory_uuid != uuid:
        _LOG.warning("%s belongs to another memory and is not used", copy_path(path).name)
        return None
    return copy
