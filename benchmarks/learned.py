"""What learned attention brings on streams that come back to what they showed: `python -m benchmarks.learned`.

Footage goes into a real memory, and heads are fitted to it as `framekeep fit` does. A query is what is on screen; its
evidence is the exemplar that comes back next, another one, seen before. Held out is the last 30 % of the time. The same
queries are answered, the exemplar on screen left out in every way, by

- plain: plain attention at the inverse temperature that is best for these very queries, and at the default of 20;
- fitted: heads that were trained on the earlier time;
- summaries: learned block summaries (`learned_summaries`), trained on the same examples in the same way;
- successor: the exemplars that came next when this one was on screen before, the latest first, then what plain
  attention finds; nothing is learned.

Figures are shares of queries with the evidence in the top 5. The last row has all footage in one memory, a stream each.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from benchmarks.atari import GAMES
from benchmarks.figures import Figures
from benchmarks.footage import Footage, game_footage
from benchmarks.learned_summaries import BlockSummaries, reading_by_summaries
from encoder.attention_examples import Examples
from encoder.attention_fitting import best_plain, divided, fit, plain_attention, reading
from encoder.attention_training import CHUNK, TOP, Read, exemplar_weights, find, steps_worth_taking, train
from encoder.config import EncoderConfig
from encoder.frame_encoder import OpenVinoEncoder
from encoder.past import Past
from memory_store.config import MemoryStoreConfig
from memory_store.records import Clock, Encoded
from memory_store.store import MemoryStore
from service.learning import past_of

THRESHOLD = 0.10

TOGETHER = "together"
"""Name of the row with all footage in one memory."""

_BLOCK_SIZE = 100
"""Stays in a block, as in a memory's hierarchy."""

_DEFAULT_INVERSE_TEMPERATURE = 20.0

_SEED = 0

_GAME_SEED = 1

_HEADS = (2, 64, 80.0)
"""Heads, rank and first inverse temperature inside blocks: those of `fit`."""

_GROUP = 64
"""Frames that are remembered at a time."""


def learned_figures(footages: Sequence[Footage]) -> list[Figures]:
    """Measure on each of some footages, and on all of them in one memory."""
    rows = [_figures(footage.name, _remembered([footage])) for footage in footages]
    return [*rows, _figures(TOGETHER, _remembered(footages))] if len(footages) > 1 else rows


def _remembered(footages: Sequence[Footage]) -> Past:
    """Show footages to a new memory, a stream each, side by side in time, and read what there is to learn from."""
    with tempfile.TemporaryDirectory() as folder:
        store = MemoryStore(Path(folder), MemoryStoreConfig())
        memory = store.create("shown", "benchmark", footages[0].frames.shape[1], THRESHOLD)
        shown = []
        for place, footage in enumerate(footages):
            uuid = f"77e7b1a0-9d0c-4b5e-8b0e-{place:012}"
            session = memory.open_session(footage.name, uuid, Clock.SOURCE, start_us=None).id
            begins = footage.times_us.tolist()
            shown += [(time_us, session, seq, footage.frames[seq]) for seq, time_us in enumerate(begins)]
        shown.sort(key=lambda frame: frame[:3])
        for begin in range(0, len(shown), _GROUP):
            group = shown[begin : begin + _GROUP]
            memory.remember(
                [
                    Encoded(session, seq, time_us, time_us, 0, frame, lambda: b"-")
                    for time_us, session, seq, frame in group
                ]
            )
        past = past_of(memory)
        store.close()
        return past


def _figures(name: str, past: Past) -> Figures:
    begun = time.monotonic()
    outcome = fit(past, _SEED)
    seconds = time.monotonic() - begun
    row: Figures = {
        "stream": name,
        "sightings": len(past.means),
        "exemplars": len(np.unique(past.exemplar_ids)),
        "queries": outcome.queries,
        "plain": None,
        "at": None,
        "plain_at_20": None,
        "fitted": None,
        "kept": "no" if outcome.module is None else "yes",
        "summaries": None,
        "blocks": len(np.unique(_blocks_of(past))),
        "successor": None,
        "fit_seconds": round(seconds, 1),
    }
    if not outcome.queries:
        return row
    examples = Examples(past)
    earlier, held_out = divided(examples)
    inverse_temperature, plain = best_plain(examples, held_out)
    assert plain.top5 == outcome.plain_top5
    width = past.means.shape[1]
    by_default = reading(plain_attention(width, _DEFAULT_INVERSE_TEMPERATURE), examples)
    best = reading(plain_attention(width, inverse_temperature), examples)
    return row | {
        "plain": round(plain.top5, 4),
        "at": inverse_temperature,
        "plain_at_20": round(find(by_default, examples, held_out).top5, 4),
        "fitted": round(outcome.fitted_top5, 4),
        "summaries": round(_by_summaries(past, examples, earlier, held_out), 4),
        "successor": round(_by_succession(examples, best, held_out), 4),
    }


def _by_summaries(past: Past, examples: Examples, earlier: Tensor, held_out: Tensor) -> float:
    """Train block summaries as heads are trained; the share of evidence that they find."""
    module = BlockSummaries(past.means.shape[1], *_HEADS, seed=_SEED)
    stays, places = np.unique(past.stay_ids, return_index=True)
    blocks = _blocks_of(past)[places][np.searchsorted(stays, examples.stay_ids.numpy())]
    read = reading_by_summaries(module, examples, torch.from_numpy(blocks))
    steps = steps_worth_taking(module, read, examples, earlier, _SEED)
    train(module, read, examples, earlier, steps, _SEED)
    return find(read, examples, held_out).top5


def _blocks_of(past: Past) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Number the block of each sighting's stay, in which stays stand in the order in which they were opened: [S]."""
    blocks = np.zeros(len(past.means), np.int64)
    first = 0
    for stream in np.unique(past.stream_ids):
        of_stream = past.stream_ids == stream
        positions = np.unique(past.stay_ids[of_stream], return_inverse=True)[1]
        blocks[of_stream] = first + positions // _BLOCK_SIZE
        first = int(blocks.max()) + 1
    return blocks


def _by_succession(examples: Examples, plain: Read, chosen: Tensor) -> float:
    """Answer with what came next before, then with what plain attention finds; the share of evidence found."""
    followers = _followers(examples)
    found = 0
    with torch.no_grad():
        for chunk in torch.split(chosen, CHUNK):
            rows, visible = examples.known(chunk)
            _, weights = plain(examples.queries[chunk], rows, examples.counts[rows], visible)
            similar = exemplar_weights(weights, examples, rows, chunk)
            ranked = similar.topk(min(2 * TOP, similar.shape[1]), 1).indices.tolist()
            for example, fill in zip(chunk.tolist(), ranked, strict=True):
                top = list(dict.fromkeys([*followers[example], *fill]))[:TOP]
                found += examples.evidence[example, 0].item() in top
    return found / len(chosen)


def _followers(examples: Examples) -> list[list[int]]:
    """For each example, the exemplars that came after the one on screen in its stream before, the latest first."""
    exemplars, streams = examples.exemplars.tolist(), examples.stream_ids.tolist()
    after: dict[tuple[int, int], dict[int, None]] = {}  # by stream and exemplar, the latest last
    shown: dict[int, int] = {}  # by stream, what it showed last
    followers, row = [], 0
    for moment, on_screen in zip(examples.moments.tolist(), examples.on_screen.tolist(), strict=True):
        for stream, exemplar in zip(streams[row : moment + 1], exemplars[row : moment + 1], strict=True):
            if shown.get(stream, exemplar) != exemplar:
                came_next = after.setdefault((stream, shown[stream]), {})
                came_next.pop(exemplar, None)
                came_next[exemplar] = None
            shown[stream] = exemplar
        row = moment + 1
        followers.append(list(reversed(after.get((streams[moment], on_screen), {}))))
    return followers


def _print(rows: Sequence[Figures]) -> None:
    shares = ("plain", "plain_at_20", "fitted", "summaries", "successor")
    click.echo(f"{'stream':12}" + "".join(f"{name:>13}" for name in list(rows[0])[1:]))
    for row in rows:
        told = [
            "-" if figure is None else f"{100 * float(figure):.1f} %" if name in shares else str(figure)
            for name, figure in row.items()
        ]
        click.echo(f"{told[0]:12}" + "".join(f"{figure:>13}" for figure in told[1:]))


@click.command()
@click.option("--games", default=",".join(GAMES), show_default=True, help="Games to play.")
@click.option("--frames", default=20_000, show_default=True, help="Frames that each game is played.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the footage in this folder, or take it from there.")
def main(games: str, frames: int, keep: Path | None) -> None:
    """Measure what learned attention finds on games, on one core."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        encoder = OpenVinoEncoder(EncoderConfig(), folder / "encoder")
        rows = learned_figures([game_footage(game, frames, _GAME_SEED, encoder, folder) for game in games.split(",")])
    _print(rows)
    click.echo(json.dumps({"threshold": THRESHOLD, "seed": _SEED, "rows": rows}))


if __name__ == "__main__":
    main()
