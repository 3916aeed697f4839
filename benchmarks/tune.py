"""Choosing what is kept, against what is then kept: `python -m benchmarks.tune`.

- what_if: exemplars that EvaluateThresholds tells for nine thresholds, from a memory that ran at another one, against a
  memory that did run at each of them (`tune_what_if`);
- budget: whether streams whose content changes keep what their budget says, beside a threshold that was right for the
  content before (`tune_budget`);
- latency: how long a curve over 10,000 frames takes, and what it costs streams that are being encoded meanwhile, on a
  real server (`tune_latency`).

Footage is the sample videos and games recorded with ale-py, encoded as the server does it (`footage`, `atari`); no
frame passes unencoded. A full run takes some ten minutes on 2 cores once the footage is there.
"""

import json
import os
import time
from pathlib import Path

import click

from benchmarks.atari import GAMES
from benchmarks.footage import footage_folder, game_footage, video_footage
from benchmarks.samples import sample_videos
from benchmarks.tune_budget import budget_figures
from benchmarks.tune_latency import latency_figures
from benchmarks.tune_tables import print_budget, print_latency, print_what_if
from benchmarks.tune_what_if import what_if_figures
from encoder.config import EncoderConfig
from encoder.frame_encoder import OpenVinoEncoder

PARTS = ("what_if", "budget", "latency")

_GAME_SEED = 1


@click.command()
@click.option("--videos", multiple=True, type=click.Path(path_type=Path, exists=True), help="Instead of the samples.")
@click.option("--games", default=",".join(GAMES), show_default=True, help="Games to play, three at least.")
@click.option("--frames", default=20_000, show_default=True, help="Frames that each game is played.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the footage in this folder, or take it from there.")
@click.option("--only", type=click.Choice(PARTS), help="Measure only this part.")
def main(videos: tuple[Path, ...], games: str, frames: int, keep: Path | None, only: str | None) -> None:
    """Measure curves over thresholds, budgets, and what they cost."""
    parts = PARTS if only is None else (only,)
    begun = time.monotonic()
    told: dict[str, object] = {}
    with footage_folder(keep) as folder:
        encoder = OpenVinoEncoder(EncoderConfig(), folder / "encoder")
        of_games = [game_footage(game, frames, _GAME_SEED, encoder, folder) for game in games.split(",")]
        if "what_if" in parts:
            of_videos = [video_footage(video, encoder, folder) for video in list(videos) or sample_videos()]
            rows = list(what_if_figures(of_videos, of_games))
            told["what_if"] = print_what_if(rows)
        del encoder
        if "budget" in parts:
            told["budget"] = print_budget(list(budget_figures(of_games)))
    if "latency" in parts:
        told["latency"] = print_latency(latency_figures(games.split(",", maxsplit=1)[0], _GAME_SEED))
    about = {"seconds": round(time.monotonic() - begun), "load_average": os.getloadavg()}
    click.echo(json.dumps({"about": about, **told}))


if __name__ == "__main__":
    main()
