"""The values before a round that hold IMT's submodels, and the sequences that came with them."""

import dataclasses

import numpy as np
import pytest
import torch

from metarl_core.agents.continual import ContinualConfig, make_sequence, run_method
from metarl_core.agents.continual.environments import SequenceSpaces
from metarl_core.agents.continual.methods.imt import Imt, _Values
from metarl_core.agents.continual.run import _Run, _Silent
from metarl_core.errors import ConfigError

TINY = ContinualConfig(
    hidden=(8,),
    num_envs=4,
    batch_size=16,
    learning_starts=16,
    evaluations=1,
    evaluation_episodes=2,
    reference_steps=128,
    memory=160,
    rounds=1,
    local_updates=3,
    head_updates=3,
    embedding_features=8,
    predictor_hidden=(8,),
)


def learner_after_two_tasks(config):
    run = _Run(make_sequence("PointRobot-tasks", 3, 200, held_out=0, seed=1), "imt", config, 0, _Silent())
    phases = list(run.sequence.flat)
    for phase in phases[:2]:
        run.phase(phase)
    assert isinstance(run.learner, Imt)
    return run.learner


def q_by_hand(trunks, heads, obs):
    """Every member's values in float64, a layer at a time; trunks end in a ReLU, last layers do not."""
    x = obs.astype(np.float64)
    for net, relu in ((trunks, True), (heads, False)):
        for weight, bias in zip(net.weights, net.biases, strict=True):
            x = np.einsum("kbi,kio->kbo", x, weight.detach().double().numpy()) + bias.detach().double().numpy()
            x = np.maximum(x, 0) if relu else x
    return x


def test_the_difference_to_the_values_before_against_numpy():
    learner = learner_after_two_tasks(dataclasses.replace(TINY, imt_clone=0.5))
    models = learner.submodels
    before = _Values(models)
    old = [p.detach().clone() for p in models.target_trunks.parameters()]
    with torch.no_grad():
        for p in models.trunks.parameters():
            p += 0.3
    models.update_targets()  # which must not reach the values before
    batch = learner.memory.sample(16)
    obs = batch.obs.numpy()
    now = q_by_hand(models.trunks, models.heads, obs)
    with torch.no_grad():
        for p, value in zip(models.trunks.parameters(), old, strict=True):
            p.copy_(value)
    then = q_by_hand(models.trunks, models.heads, obs)
    with torch.no_grad():
        for p in models.trunks.parameters():
            p += 0.3
    found = learner._difference(before, batch).detach().numpy()
    np.testing.assert_allclose(found, ((now - then) ** 2).mean(axis=(1, 2)), rtol=1e-4)
    assert (found > 1e-6).all()


def test_a_heavy_weight_keeps_the_values_and_none_does_not():
    """Rounds from new trunks lose values that the weight brings back."""
    lost = {}
    for weight in (0.0, 100.0):
        config = dataclasses.replace(
            TINY, imt_clone=weight, reference_steps=256, memory=600, local_updates=300, head_updates=50, lambda_rl=0.0
        )
        sequence = make_sequence("PointRobot-tasks", 3, 500, held_out=0, seed=1)
        run = _Run(sequence, "imt", config, 0, _Silent())
        for phase in list(sequence.flat)[:2]:
            run.phase(phase)
        end, kept = run.learner.end_task, []

        def ended(task, end=end, kept=kept, learner=run.learner):
            models = learner.submodels
            obs = learner.memory.sample(64).obs
            kept.append((obs, q_by_hand(models.trunks, models.heads, obs.numpy())))
            end(task)

        run.learner.end_task = ended
        run.phase(list(sequence.flat)[2])
        models, (obs, values) = run.learner.submodels, kept[0]
        rows = np.concatenate([obs.numpy(), obs.numpy()[:1]])  # of the two earlier tasks, and anything for the third
        lost[weight] = np.square(q_by_hand(models.trunks, models.heads, rows)[:2] - values[:2]).mean() / values.var()
    assert lost[100.0] < 0.25 * lost[0.0]


def test_the_weight_is_no_change_where_it_is_zero():
    sequence = make_sequence("PointRobot-tasks", 3, 200, held_out=1, seed=1)
    without, given = (run_method(sequence, "imt", c) for c in (TINY, dataclasses.replace(TINY, imt_clone=0.0)))
    with_it = run_method(sequence, "imt", dataclasses.replace(TINY, imt_clone=10.0))
    np.testing.assert_array_equal(without.returns, given.returns)
    assert not np.array_equal(without.returns[-1], with_it.returns[-1])
    np.testing.assert_array_equal(without.learned[:2], with_it.learned[:2])  # before the first round all is the same
    assert (without.parameters, without.stored_bytes) == (with_it.parameters, with_it.stored_bytes)
    with pytest.raises(ConfigError, match="imt_clone"):
        ContinualConfig(imt_clone=-1.0)


def test_levels_of_minigrid_have_equal_spaces_and_unseen_ones():
    sequence = make_sequence("MiniGrid-levels", 5, 128, held_out=5)
    assert [task.name for task in sequence.tasks][:2] == ["Empty-Random-5x5", "DoorKey-5x5"]
    assert not {task.name for task in sequence.tasks} & {task.name for task in sequence.held_out}
    spaces = SequenceSpaces((*sequence.tasks, *sequence.held_out), 3, False)
    assert (spaces.in_features, spaces.num_actions) == (7 * 7 * 3, 7)
    result = run_method(sequence, "finetune", dataclasses.replace(TINY, normalize_obs=False))
    assert result.returns.min() >= 0
    assert result.returns.max() <= sequence.reference_return == 1.0
    with pytest.raises(ConfigError, match="tasks=6: MiniGrid-levels has 5, Empty-Random-5x5, "):
        make_sequence("MiniGrid-levels", 6, 128)
    with pytest.raises(ConfigError, match="held_out=6: MiniGrid-levels has 5, Empty-Random-6x6, "):
        make_sequence("MiniGrid-levels", 3, 128, held_out=6)


def test_parameters_of_a_familys_environment_reach_every_task():
    sequence = make_sequence("FrozenLake-tasks", 3, 100, held_out=2, env_params={"is_slippery": False})
    for task in (*sequence.tasks, *sequence.held_out):
        assert dict(task.env_params) == {"is_slippery": False}
        assert set(task.params) == {"map_seed"}
    other = make_sequence("FrozenLake-tasks", 3, 100, held_out=2)
    assert [t.params for t in other.tasks] == [t.params for t in sequence.tasks]
    with pytest.raises(ConfigError, match=r"nonsense"):
        make_sequence("FrozenLake-tasks", 3, 100, env_params={"nonsense": 1})
    with pytest.raises(ConfigError, match=r"'map_seed' is in params and in env_params"):
        make_sequence("FrozenLake-tasks", 3, 100, env_params={"map_seed": 1})
