"""A learner restored between two rounds goes on as one that nothing disturbed, bit for bit."""

import numpy as np
import pytest
import torch

from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.agents.imt.actors import TaskActors
from metarl_core.errors import CheckpointMismatchError
from metarl_core.runs.checkpoint import read_checkpoint, write_checkpoint
from metarl_core.tasks import task_family

GOALS = {"goal_x": np.array([0.3, -0.3, 0.2, -0.4]), "goal_y": np.array([0.1, 0.4, -0.3, -0.2])}
NEW = {"goal_x": np.array([0.1, -0.2]), "goal_y": np.array([0.2, 0.2])}
SMALL = {
    "hidden": (16,),
    "predictor_hidden": (16,),
    "reference_steps": 400,
    "embedding_features": 8,
    "pretrain_updates": 20,
    "rounds": 4,
    "steps_per_round": 150,
    "submodel_updates": 15,
    "head_updates": 10,
    "batch_size": 16,
    "replay_capacity": 2000,
}


def learner(preset="corrected", seed=3, **options):
    config = ImtConfig.from_preset(preset, **{**SMALL, **options})
    return ImtLearner("PointRobot-v0", GOALS, config, seed=seed, val_tasks=NEW, test_tasks=NEW)


def assert_equal(a, b, path="state"):
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            assert_equal(a[key], b[key], f"{path}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{path}[{i}]")
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, path
        assert a.tobytes() == b.tobytes(), path
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, path
        assert a.numpy().tobytes() == b.numpy().tobytes(), path
    else:
        assert a == b or (a != a and b != b), path


@pytest.mark.parametrize("stop_after", [0, 2])
@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("corrected", {}),
        ("as_written", {}),  # has a second batch of environments and a second replay
        ("corrected", {"weighting": "shuffled", "accuracy": "return", "patience": 3}),
    ],
)
def test_a_restored_learner_goes_on_bit_for_bit(preset, options, stop_after, tmp_path):
    whole = learner(preset, **options)
    whole.train()
    part = learner(preset, **options)
    part.pretrain()
    for _ in range(stop_after):
        part.round()
    write_checkpoint(tmp_path / "state.ckpt", part.state_dict())
    part.close()
    resumed = learner(preset, **options)
    resumed.load_state_dict(read_checkpoint(tmp_path / "state.ckpt"))
    assert_equal(resumed.state_dict(), read_checkpoint(tmp_path / "state.ckpt"))
    resumed.train()
    assert len(whole.rounds) == len(resumed.rounds) > stop_after
    assert_equal(resumed.state_dict(), whole.state_dict())
    adapted = [one.adapt(NEW) for one in (whole, resumed)]
    np.testing.assert_array_equal(adapted[0].weights, adapted[1].weights)
    returns = [one.evaluate(a, episodes=2) for one, a in zip((whole, resumed), adapted, strict=True)]
    np.testing.assert_array_equal(*returns)


def test_all_that_later_rounds_depend_on_is_in_the_state():
    """Restoring into a learner that went astray, in everything that training changes, undoes it."""
    one = learner()
    one.pretrain()
    one.round()
    state = one.state_dict()
    one.round()
    expected = one.state_dict()
    one.round()
    one.load_state_dict(state)
    one.round()
    assert_equal(one.state_dict(), expected)


@pytest.mark.parametrize("change", [{"seed": 4}, {"reference_steps": 500}])
def test_a_state_of_other_reference_transitions_is_refused_and_changes_nothing(change):
    one, other = learner(), learner(**change)
    one.pretrain()
    before = other.state_dict()
    with pytest.raises(CheckpointMismatchError, match="the state was made with other reference transitions"):
        other.load_state_dict(one.state_dict())
    assert_equal(other.state_dict(), before)


def test_actors_count_episodes_and_their_lengths():
    actors = TaskActors("CartPole-v1", task_family("CartPole-v1").sample_tasks(3), 2, seed=0)
    rng = np.random.default_rng(0)
    lengths = np.zeros(6, dtype=np.int64)
    ended = []
    for _ in range(120):
        columns = actors.step(lambda obs: rng.integers(2, size=len(obs)))
        lengths += 1
        for row, total, length in actors.ended:
            assert length == lengths[row]
            assert total == length  # a reward of 1 in every step
            assert columns["terminated"][row]
            lengths[row] = 0
            ended.append((row // 2, total))
    for task in range(3):
        assert [total for t, total in ended if t == task] == actors.returns[task]
        assert actors.returns[task]
    actors.close()


def test_first_episodes_have_the_lengths_of_their_returns():
    actors = TaskActors("CartPole-v1", task_family("CartPole-v1").sample_tasks(3), 4, seed=0)
    calls = []
    returns, lengths = actors.first_episodes(
        lambda obs: torch.zeros(len(obs), dtype=torch.int64), lambda: calls.append(1)
    )
    assert returns.shape == lengths.shape == (3, 4)
    np.testing.assert_array_equal(returns, lengths)
    assert len(calls) == lengths.max()
