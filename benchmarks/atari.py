"""Long streams that come back to what they showed: Atari games, played at random. Part of `benchmarks.read`.

The package ale-py, of the extra `benchmarks`, brings the games and a machine that plays them. Random play gives what
short videos cannot: pictures for as long as one likes, many of them different, and the same starts, levels and rooms
again and again.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from encoder.picture import Pixels

GAMES = ("asteroids", "jamesbond", "robotank", "up_n_down")
"""Chosen of 53 games for different pictures that come back: of half of them, no more than 14 exemplars stand for 2,000
pictures at a threshold of 0.10. In turn: small things on black, ever in new arrangements; a landscape and a sky that
scroll; a view from within, by day, at night and in fog, with noise on the screen that never comes back; roads that go
by in long stays, half of whose pictures are the same to the last pixel as others."""

PICTURES_A_SECOND = 15
"""One picture of four that the machine shows; it shows 60 a second."""

_MACHINE_FRAMES = 4

_HELD_PICTURES = 8
"""Pictures for which an action is held, on average: half a second. Shorter, and the player trembles in its place."""

_START_PICTURES = 4
"""Pictures for which FIRE is pressed at a start, which many games wait for."""

_FIRE = 1
"""The number of that action in every game."""


def played(game: str, frames: int, seed: int) -> Iterator[Pixels]:
    """Play a game: so many pictures, RGB uint8 [210, 160, 3]; the same for the same seed.

    Args:
        game: its name in ale-py, such as "ms_pacman".
        frames: number of pictures.
        seed: of the player and of the machine.

    Raises:
        ModuleNotFoundError: ale-py is not installed; it comes with the extra `benchmarks`.
    """
    rng = np.random.default_rng(seed)
    machine = _machine(game, seed)
    actions = [int(action.value) for action in machine.getMinimalActionSet()]  # those that do something here
    action, held = _FIRE, _START_PICTURES
    for _ in range(frames):
        if machine.game_over():
            machine.reset_game()
            action, held = _FIRE, _START_PICTURES
        if not held:
            action, held = actions[rng.integers(len(actions))], int(rng.geometric(1 / _HELD_PICTURES))
        held -= 1
        machine.act(action)
        yield np.array(machine.getScreenRGB(), np.uint8)


def _machine(game: str, seed: int) -> Any:
    """Switch on the machine with a game in it."""
    # Imported here, as the peers of benchmarks.store are: videos can be measured without it.
    ale_py, roms = importlib.import_module("ale_py"), importlib.import_module("ale_py.roms")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    machine = ale_py.ALEInterface()
    machine.setInt("random_seed", seed)
    machine.setInt("frame_skip", _MACHINE_FRAMES)
    machine.setFloat("repeat_action_probability", 0.0)
    # As a screen glows on: what flickers is drawn in every other frame, and one of four would never show it.
    machine.setBool("color_averaging", True)  # noqa: FBT003  # takes no names
    machine.loadROM(roms.get_rom_path(game))
    return machine
