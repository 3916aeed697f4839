"""Fitting on planted streams, where it is known what can be learned, and examples against a plain recomputation."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from encoder import attention_training
from encoder.attention_examples import HORIZON, Examples
from encoder.attention_fitting import FitOutcome, fit, plain_attention, reading
from encoder.attention_training import exemplar_weights, train
from encoder.learned_attention import HierarchicalAttention
from encoder.past import Feedback, Past

D = 32
SECOND_US = 1_000_000

Vectors = NDArray[np.float32]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On matrices this small, more threads than cores cost more than the computation."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _scenes(number: int, seed: int = 0) -> Vectors:
    drawn = np.random.default_rng(seed).normal(size=(number, D))
    scenes: Vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return scenes


def _past(shown: Sequence[int], scenes: Vectors, seed: int = 0, feedback: Sequence[Feedback] = ()) -> Past:
    """One stream that shows scenes one after the other, a second each; stays last 100 sightings."""
    random = np.random.default_rng([seed, 1])
    exemplars = np.array(shown, np.int64)
    means = scenes[exemplars] + 0.02 * random.normal(size=(len(shown), D)).astype(np.float32)
    begins = np.arange(len(shown), dtype=np.int64) * SECOND_US
    return Past(
        means=means / np.linalg.norm(means, axis=1, keepdims=True),
        stay_ids=np.arange(len(shown)) // 100 * 1000 + exemplars,
        exemplar_ids=100 + exemplars,
        stream_ids=np.ones(len(shown), np.int64),
        starts_us=begins,
        ends_us=begins + SECOND_US - 1,
        frames=random.integers(1, 50, len(shown)),
        feedback=feedback,
    )


def _pairs(pairs: int, length: int, seed: int) -> list[int]:
    """Pairs in random order: scene 2i is always followed by scene 2i + 1."""
    chosen = np.random.default_rng([seed, 2]).integers(0, pairs, length // 2)
    return [scene for pair in chosen for scene in (2 * int(pair), 2 * int(pair) + 1)]


def _at_random(scenes: int, length: int, seed: int) -> list[int]:
    """Scenes at random, but for none twice in a row."""
    steps = np.random.default_rng([seed, 3]).integers(1, scenes, length)
    return [int(scene) for scene in np.cumsum(steps) % scenes]


def _found_first(module: HierarchicalAttention, query: Vectors, scenes: Vectors, without: int) -> int:
    """The scene that the module finds among all, seen equally often."""
    _, logs = module(torch.from_numpy(query[None]), torch.from_numpy(scenes), torch.ones(len(scenes)))
    logs[0, without] = -torch.inf
    return int(logs[0].argmax())


def test_fitted_heads_find_the_scene_that_always_follows() -> None:
    scenes = _scenes(40)
    past = _past(_pairs(20, 900, seed=0), scenes)

    outcome = fit(past, seed=0)

    # After the second of a pair nothing can be known but what was shown how often: 5 of 20 first scenes fit an answer.
    assert outcome.plain_top5 < 0.25
    assert outcome.fitted_top5 > 0.55
    assert outcome.queries > 200
    assert outcome.fitted_through_us == past.ends_us[-1]
    assert outcome.module is not None
    found = [_found_first(outcome.module, scenes[scene], scenes, without=scene) for scene in range(0, 40, 2)]
    assert found == list(range(1, 40, 2))


def _trained(examples: Examples, steps: int, seed: int) -> HierarchicalAttention:
    module = HierarchicalAttention(D, heads=1, rank=16, inverse_temperature=20.0)
    train(module, reading(module, examples), examples, torch.arange(len(examples)), steps, seed)
    return module


def test_the_same_examples_and_seed_give_the_same_heads() -> None:
    examples = Examples(_past(_pairs(10, 400, seed=1), _scenes(20)))

    first, second, other = (_trained(examples, 4, seed).version for seed in (3, 3, 4))

    assert first == second != other


@pytest.mark.parametrize("seed", range(2))
def test_heads_are_not_kept_where_nothing_can_be_learned(seed: int) -> None:
    outcome = fit(_past(_at_random(40, 520, seed), _scenes(40), seed), seed)

    assert outcome.module is None
    assert outcome.queries > 150
    assert outcome.fitted_top5 < outcome.plain_top5 + 0.1


def test_heads_are_not_kept_where_what_was_learned_holds_no_more() -> None:
    scenes = _scenes(40)

    outcome = fit(_past(_pairs(20, 490, seed=4) + _at_random(40, 210, seed=4), scenes), seed=0)

    assert outcome.queries > 150
    assert outcome.module is None


@pytest.mark.parametrize("length", [0, 1, 2, 100])
def test_little_past_gives_no_heads(length: int) -> None:
    past = _past(_pairs(5, 100, seed=0)[:length], _scenes(10))

    outcome = fit(past, seed=0)

    assert outcome == FitOutcome(
        None, 0.0, outcome.plain_inverse_temperature, 0.0, 0, SECOND_US * length - (length > 0)
    )


def test_heads_learn_from_feedback_what_the_stream_does_not_show() -> None:
    scenes, questions = _scenes(20), _scenes(20, seed=1)
    random = np.random.default_rng(6)
    times = np.sort(random.integers(100 * SECOND_US, 400 * SECOND_US, 300))
    said = [
        Feedback(questions[asked], [100 + (7 * int(asked)) % 20], int(time_us))
        for asked, time_us in zip(random.integers(0, 20, 300), times, strict=True)
    ]
    past = _past(_at_random(20, 400, seed=6), scenes, feedback=said)

    outcome = fit(past, seed=0)

    assert outcome.module is not None
    found = [_found_first(outcome.module, questions[asked], scenes, without=asked) for asked in range(1, 20)]
    assert sum(place == (7 * asked) % 20 for asked, place in enumerate(found, 1)) >= 18


def test_feedback_on_what_was_not_seen_by_then_teaches_nothing() -> None:
    past = _past([0, 1, 2, 0, 1, 2], _scenes(3))
    said = Feedback(_scenes(1)[0], [102, 999], 2 * SECOND_US - 1)
    later = replace(said, time_us=3 * SECOND_US - 1)

    examples, both = Examples(replace(past, feedback=[said])), Examples(replace(past, feedback=[later, said]))

    assert not examples.told.any()
    assert both.told.sum() == 1
    assert both.evidence[both.told, 0].tolist() == [2]
    assert both.moments[both.told].tolist() == [3]


def _two_streams(seed: int, length: int = 160) -> Past:
    """Two streams whose sightings overlap; stays are opened anew now and then."""
    random = np.random.default_rng([seed, 7])
    scenes = _scenes(12)
    starts = np.sort(random.integers(0, 300 * SECOND_US, length))
    streams = random.integers(1, 3, length)
    exemplars = random.integers(0, 12, length)
    return Past(
        means=scenes[exemplars] * random.uniform(0.9, 1, (length, 1)).astype(np.float32),
        stay_ids=np.arange(length) // 60 * 100 + streams * 1000 + exemplars,
        exemplar_ids=exemplars,
        stream_ids=streams,
        starts_us=starts,
        ends_us=starts + random.integers(0, 9 * SECOND_US, length),
        frames=random.integers(1, 9, length),
    )


@pytest.mark.parametrize("seed", range(3))
def test_examples_are_those_of_a_plain_recomputation(seed: int) -> None:
    past = _two_streams(seed)
    order = sorted(range(len(past.means)), key=lambda place: (past.ends_us[place], past.starts_us[place], place))
    examples = Examples(past)
    made = {int(moment): place for place, moment in enumerate(examples.moments.tolist())}

    for row, sighting in enumerate(order):
        before, stream = order[:row], past.stream_ids[sighting]
        later = [place for place in order[row + 1 :] if past.stream_ids[place] == stream][:HORIZON]
        seen = {past.exemplar_ids[place] for place in before} - {past.exemplar_ids[sighting]}
        back = [int(past.exemplar_ids[place]) for place in later if past.exemplar_ids[place] in seen]
        assert (row in made) == bool(back)
        if not back:
            continue
        chosen = torch.tensor([made[row]])
        assert examples.evidence[chosen].tolist() == [back[:1]]
        assert examples.on_screen[chosen].tolist() == [past.exemplar_ids[sighting]]
        mean = past.means[sighting]
        np.testing.assert_allclose(examples.queries[chosen][0], mean / np.linalg.norm(mean), atol=1e-6)

        rows, visible = examples.known(chosen)
        stays: dict[int, list[int]] = {}
        for place in before:
            stays.setdefault(int(past.stay_ids[place]), []).append(place)
        known = rows[visible[0]]
        assert sorted(examples.stay_ids[known].tolist()) == sorted(stays)
        for number in known.tolist():
            places = stays[int(examples.stay_ids[number])]
            frames = past.frames[places]
            assert examples.counts[number] == frames.sum()
            expected = (past.means[places] * frames[:, None]).sum(0) / frames.sum()
            np.testing.assert_allclose(examples.means[number], expected, atol=1e-6)


def test_what_comes_later_does_not_change_what_is_attended_to() -> None:
    past = _two_streams(5)
    until_us = int(np.sort(past.ends_us)[100])
    later = past.ends_us > until_us
    means = past.means.copy()
    means[later] = _scenes(int(later.sum()), seed=9)
    changed = replace(
        past,
        means=means,
        exemplar_ids=np.where(later, past.exemplar_ids[::-1], past.exemplar_ids),
        frames=np.where(later, 7, past.frames),
    )

    weights = []
    for examples in (Examples(past), Examples(changed)):
        read = reading(plain_attention(D, 20.0), examples)
        of_moment = {}
        # All at once, so that rows that came later are there, and must be left out.
        chosen = torch.arange(len(examples))
        rows, visible = examples.known(chosen)
        _, logs = read(examples.queries, rows, examples.counts[rows], visible)
        for place, of_example in zip(examples.moments.tolist(), logs.exp().tolist(), strict=True):
            of_moment[place] = {row: of_example[at] for at, row in enumerate(rows.tolist()) if of_example[at] > 0}
        weights.append(of_moment)
    before, after = weights
    both = [moment for moment in before if moment in after and moment <= 100]
    assert len(both) > 60
    for moment in both:
        assert before[moment].keys() == after[moment].keys()
        assert all(after[moment][row] == pytest.approx(weight, abs=1e-6) for row, weight in before[moment].items())


def test_nothing_earlier_is_learned_from_evidence_that_came_later() -> None:
    examples = Examples(_two_streams(6))

    earlier, later = examples.divided(torch.arange(len(examples)), 0.3)

    assert len(earlier) + len(later) < len(examples)
    assert int(examples.settled[earlier].max()) < int(examples.moments[later].min())


def test_shares_of_exemplars_are_summed_over_stays_without_the_one_on_screen() -> None:
    examples = Examples(_past(_pairs(5, 400, seed=0), _scenes(10)))
    chunk = torch.arange(250, 260)
    rows, visible = examples.known(chunk)
    assert len(rows) > 20
    read = reading(plain_attention(D, 20.0), examples)
    _, logs = read(examples.queries[chunk], rows, examples.counts[rows], visible)

    shares = exemplar_weights(logs.detach(), examples, rows, chunk)

    for place, example in enumerate(chunk.tolist()):
        masses = np.exp(logs[place].detach().double().numpy())
        sums = np.bincount(examples.exemplars[rows].numpy(), masses, minlength=10)
        sums[examples.on_screen[example]] = 0
        np.testing.assert_allclose(shares[place], sums / sums.sum(), rtol=1e-3, atol=1e-9)


def test_where_there_is_too_much_to_read_some_of_it_stands_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_training, "MOST_CANDIDATES", 4)
    scenes = _scenes(20)

    module = _trained(Examples(_past(_pairs(10, 400, seed=0), scenes)), 120, seed=0)

    found = [_found_first(module, scenes[scene], scenes, without=scene) for scene in range(0, 20, 2)]
    assert found == list(range(1, 20, 2))


def test_only_the_latest_sightings_are_left() -> None:
    past = _past(list(range(10)), _scenes(10))

    latest = past.latest(4)

    assert latest.exemplar_ids.tolist() == [106, 107, 108, 109]
    np.testing.assert_array_equal(latest.means, past.means[-4:])
    assert past.latest(10) is past


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("means", np.zeros((3, D)), "means: expected float32"),
        ("frames", np.ones(2, np.int64), r"frames: expected int64 \[3\], got int64 \[2\]"),
        ("stay_ids", np.ones(3, np.int32), "stay_ids: expected int64"),
        ("starts_us", np.array([2, 1, 0]), "order of their starts"),
        ("ends_us", np.array([-1, 0, 0]), "end before its start"),
        ("frames", np.zeros(3, np.int64), "at least 1 frame"),
        ("feedback", [Feedback(np.zeros(D + 1, np.float32), [1], 0)], f"width {D}"),
    ],
)
def test_a_past_that_does_not_belong_together_is_refused(name: str, values: object, message: str) -> None:
    past = _past([0, 1, 2], _scenes(3))

    with pytest.raises(ValueError, match=message):
        replace(past, **{name: values})  # type: ignore[arg-type]  # some are of the wrong type on purpose
