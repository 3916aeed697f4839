"""The end of the frame's way: frames of all sessions are decided on and committed, group by group.

What waits when the last commit is through becomes the next group: one commit, one fdatasync for all of it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from memory_store.memory import Memory
from memory_store.records import Arrival, Verdict
from service.batching import Batcher

GROUP_FRAMES = 64
"""Frames in one commit, at most: a commit of so many takes a few milliseconds."""


@dataclass(slots=True, eq=False)
class Writer:
    """One session's hold on a memory."""

    memory: Memory
    """Where its frames go."""

    failure: Exception | None = None
    """Why a frame of the session could not be stored; no later one may be stored after that."""


class Committer:
    """Commits the frames of all sessions."""

    def __init__(self) -> None:
        """Start; needs a running event loop."""
        self._batcher: Batcher[tuple[Writer, Arrival], Verdict | Exception] = Batcher("commit", committed, GROUP_FRAMES)

    async def put(self, writer: Writer, arrival: Arrival) -> asyncio.Future[Verdict | Exception]:
        """Put a frame in line; a session's frames are committed in the order in which this is called.

        Returns:
            The verdict to be, once it is on disk, or why there is none.
        """
        return await self._batcher.put((writer, arrival))

    async def close(self) -> None:
        """Commit what waits, then stop."""
        await self._batcher.close()


def committed(items: Sequence[tuple[Writer, Arrival]]) -> list[Verdict | Exception]:
    """Decide on and commit frames, those of each memory as one group.

    Returns:
        For each frame its verdict, or why its session has none.
    """
    results: list[Verdict | Exception] = [RuntimeError("expected a result for every frame")] * len(items)
    for memory in {writer.memory for writer, _ in items}:
        places = [place for place, (writer, _) in enumerate(items) if writer.memory is memory]
        _commit_to(memory, places, items, results)
    return results


def _commit_to(
    memory: Memory,
    places: Sequence[int],
    items: Sequence[tuple[Writer, Arrival]],
    results: list[Verdict | Exception],
) -> None:
    """Commit frames to one memory; what is wrong with one session's frames fails that session alone."""
    live = [place for place in places if items[place][0].failure is None]
    try:
        verdicts = memory.remember([items[place][1] for place in live])
    except Exception as error:  # noqa: BLE001  # whatever it is, nothing was written, and it must not spread
        writers = {items[place][0] for place in live}
        if len(writers) > 1:
            for writer in writers:
                _commit_to(memory, [place for place in live if items[place][0] is writer], items, results)
        else:
            for writer in writers:
                writer.failure = error
    else:
        for place, verdict in zip(live, verdicts, strict=True):
            results[place] = verdict
    for place in places:
        failure = items[place][0].failure
        if failure is not None:
            results[place] = failure
