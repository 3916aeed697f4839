"""The projection: what it keeps exactly, what it keeps on average, and that its numbers never change."""

import hashlib

import numpy as np
import pytest

from encoder.backbone import DIMENSION
from encoder.projection import CHANNELS, PROJECTION, hadamard, projection


def test_the_rows_of_the_hadamard_matrix_are_orthogonal_and_the_first_adds_up_the_channels() -> None:
    matrix = hadamard().astype(np.int64)

    np.testing.assert_array_equal(matrix @ matrix.T, CHANNELS * np.eye(CHANNELS, dtype=np.int64))
    assert np.all(matrix[0] == 1)
    assert set(np.unique(matrix)) == {-1, 1}


# Embeddings of all memories depend on these bits: other ones need another name of the projection.
@pytest.mark.parametrize(
    ("dimension", "digest"),
    [
        (DIMENSION, "1faf01f02d52b40a96345a7148918b7044f6a49725f014d72e99ffd33dfe5f20"),
        (384, "0cfa9a26ad0f8ad745e5ba976b3daedba608e09e0fc6f6a122934051d62ce96d"),
    ],
)
def test_the_projection_is_the_same_to_the_bit_for_ever(dimension: int, digest: str) -> None:
    matrix = projection(dimension)

    assert matrix.shape == (dimension, CHANNELS)
    assert matrix.dtype == np.float32
    assert hashlib.sha256(matrix.astype("<f4").tobytes()).hexdigest() == digest


@pytest.mark.parametrize("dimension", [2, 100, DIMENSION, CHANNELS])
def test_the_projection_is_the_mean_and_chosen_rows_reflected(dimension: int) -> None:
    draws = hashlib.shake_256(PROJECTION.encode()).digest(8 * 1279)
    numbers = [int.from_bytes(draws[8 * row : 8 * row + 8], "little") for row in range(1279)]
    chosen = sorted(range(1279), key=lambda row: numbers[row])[: dimension - 1]
    rows = np.sqrt(1279 / (dimension - 1)) * hadamard()[[1 + row for row in chosen]]
    upright = np.vstack([np.ones(1280), rows]) / np.sqrt(1280)
    axis = np.eye(dimension)[0] - 1 / np.sqrt(dimension)
    reflection = np.eye(dimension) - 2 * np.outer(axis, axis) / (axis @ axis)

    np.testing.assert_allclose(projection(dimension), reflection @ upright, atol=1e-6)


def test_all_dimensions_only_turn_the_channels() -> None:
    matrix = projection(CHANNELS).astype(np.float64)

    np.testing.assert_allclose(matrix @ matrix.T, np.eye(CHANNELS), atol=1e-6)


def test_the_mean_of_the_channels_is_kept_exactly_and_spread_over_all_components() -> None:
    channels = np.random.default_rng(1).exponential(size=(20, CHANNELS))

    projected = channels @ projection(DIMENSION).T.astype(np.float64)  # [20, D]

    np.testing.assert_allclose(projected.sum(1) / np.sqrt(DIMENSION), channels.sum(1) / np.sqrt(CHANNELS), rtol=1e-6)
    alike = projection(DIMENSION) @ np.ones(CHANNELS)
    np.testing.assert_allclose(alike, np.sqrt(CHANNELS / DIMENSION), rtol=1e-5)


def test_distances_are_kept_on_average_over_labels_and_nearly_by_each() -> None:
    random = np.random.default_rng(2)
    differences = random.exponential(size=(50, CHANNELS)) - random.exponential(size=(50, CHANNELS))
    lengths = np.square(differences).sum(1)

    ratios = np.array(
        [np.square(differences @ projection(DIMENSION, f"label {n}").T).sum(1) / lengths for n in range(40)]
    )

    assert ratios.mean() == pytest.approx(1, abs=0.01)
    # Of orthogonal rows: sqrt(2 / D) times the share of the channels that is left out, sqrt(1 - 255 / 1279).
    assert ratios.std() == pytest.approx(np.sqrt(2 / DIMENSION * (1 - 255 / 1279)), rel=0.1)


def test_another_label_chooses_other_rows() -> None:
    assert not np.array_equal(projection(DIMENSION), projection(DIMENSION, "another"))
