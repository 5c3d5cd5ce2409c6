"""IMT's learner on point robots: what each submodel sees, what the steps change, and that nothing else does."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from metarl_core import ConfigError
from metarl_core.agents.common.learner import TrainingDivergedError
from metarl_core.agents.imt.actors import TaskActors
from metarl_core.agents.imt.averaging import WEIGHTINGS, averaging_weights
from metarl_core.agents.imt.config import PRESETS, ImtConfig
from metarl_core.agents.imt.learner import ImtLearner
from metarl_core.agents.imt.recorded import reward_factor
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.imt.spaces import action_table
from metarl_core.agents.imt.updates import HeadUpdates
from metarl_core.tasks import TaskDataset, task_family

SMALL = {
    "hidden": (16,),
    "predictor_hidden": (16,),
    "reference_steps": 400,
    "embedding_features": 8,
    "pretrain_updates": 20,
    "rounds": 2,
    "steps_per_round": 60,
    "submodel_updates": 15,
    "head_updates": 10,
    "batch_size": 16,
    "replay_capacity": 2000,
}
GOALS = {"goal_x": np.array([0.3, -0.3, 0.2, -0.4]), "goal_y": np.array([0.1, 0.4, -0.3, -0.2])}


def learner(seed=0, tasks=GOALS, test_tasks=None, val_tasks=None, **options):
    config = ImtConfig.from_preset(options.pop("preset", "corrected"), **{**SMALL, **options})
    return ImtLearner("PointRobot-v0", tasks, config, seed=seed, val_tasks=val_tasks, test_tasks=test_tasks)


def bits(models):
    return {name: value.clone() for name, value in models.state_dict().items()}


# Actors


def test_rows_of_a_task_stand_together_and_follow_its_dynamics():
    actors = TaskActors("PointRobot-v0", GOALS, 3, seed=0)
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(250):
        row = actors.step(lambda obs: rng.integers(9, size=len(obs)))
        np.testing.assert_array_equal(row["task_id"], np.repeat(np.arange(4), 3))
        moved = row["obs"].astype(np.float64) + actors.table[row["action"]]
        np.testing.assert_allclose(row["next_obs"], moved, atol=1e-6)
        goal = np.stack((GOALS["goal_x"], GOALS["goal_y"]), axis=1)[row["task_id"]]
        np.testing.assert_allclose(row["reward"], -np.linalg.norm(moved - goal, axis=1), atol=1e-5)
        near = (np.abs(moved - goal) < 0.01).all(axis=1)
        np.testing.assert_array_equal(row["terminated"], near)
        ended += int((row["next_obs"] != actors.obs).any(axis=1).sum())
    assert ended >= 24  # every row was truncated twice, and its last observation is not the next one's first
    assert actors.steps == 750
    assert min(len(r) for r in actors.returns) >= 6
    actors.close()


def test_first_episodes_are_the_first():
    """A robot that stays at the start has 100 rewards of minus its goal's distance."""
    actors = TaskActors("PointRobot-v0", GOALS, 2, seed=0)
    still = int(np.flatnonzero((actors.table == 0).all(axis=1))[0])
    returns = actors.first_episodes(lambda obs: torch.full((len(obs),), still))[0].mean(axis=1)
    np.testing.assert_allclose(returns, -100 * np.hypot(GOALS["goal_x"], GOALS["goal_y"]), rtol=1e-5)


def test_discrete_observations_become_one_hot_vectors():
    actors = TaskActors("FrozenLake-v1", task_family("FrozenLake-v1").sample_tasks(3), 2, seed=0)
    assert actors.obs.shape == (6, 16)
    np.testing.assert_array_equal(actors.obs.sum(axis=1), 1)
    assert actors.obs[:, 0].all()
    actors.step(lambda obs: np.zeros(len(obs), dtype=np.int64))
    np.testing.assert_array_equal(actors.obs.sum(axis=1), 1)
    actors.close()


def test_the_action_table_is_every_combination():
    actors = TaskActors("PointRobot-v0", GOALS, 1, seed=0, levels=3)
    table = action_table(actors.envs.single_action_space, 3, "PointRobot-v0")
    expected = [(x, y) for x in (-0.1, 0, 0.1) for y in (-0.1, 0, 0.1)]
    np.testing.assert_allclose(table, expected, atol=1e-8)
    assert actors.num_actions == 9
    actors.close()


# What the learner does


def test_the_same_seed_gives_the_same_submodels_and_another_others():
    first, second, other = learner(), learner(), learner(seed=1)
    for each in (first, second, other):
        each.train()
    for name, value in bits(first.models).items():
        assert torch.equal(value, second.models.state_dict()[name])
    assert not torch.equal(first.models.trunks.weights[0], other.models.trunks.weights[0])
    returns = [e.evaluate(e.adapt(GOALS), episodes=2) for e in (first, second)]
    np.testing.assert_array_equal(*returns)


@pytest.mark.parametrize("task", [0, 2])
def test_submodel_i_never_sees_task_i_in_step_two(task):
    """Whatever the transitions of task i are, step 2 makes the same trunk i of the same start, and other trunks j."""
    trained = []
    for change in (0.0, 5.0):
        one = learner(td_tasks="others")
        one.collect(one.actors, one.replay, 1.0)
        one.reference.reward[task] += change
        replayed = one._sample

        def sample(replay, tasks, replayed=replayed, change=change):
            batch = replayed(replay, tasks)
            batch.reward[task] += change
            return batch

        one._sample = sample
        one.train_submodels()
        trained.append(one.models)
    for a, b in zip(trained[0].trunks.parameters(), trained[1].trunks.parameters(), strict=True):
        assert torch.equal(a[task], b[task])
        assert not torch.equal(a[1], b[1])
    assert torch.equal(trained[0].heads.weights[0][task], trained[1].heads.weights[0][task])


def test_submodel_i_learns_embeddings_of_the_others_and_values_of_its_own_task():
    """The default: of task i, step 2 draws transitions for Q_i alone, and none of another task for it."""
    trained = {}
    for changed in ("nothing", "reference", "played"):
        one = learner()
        one.collect(one.actors, one.replay, 1.0)
        if changed == "reference":
            one.reference.reward[2] += 5.0
        sample = one._sample

        def other(replay, tasks, sample=sample, changed=changed):
            batch = sample(replay, tasks)
            batch.reward[2] += 5.0 * (changed == "played")
            return batch

        one._sample = other
        one.train_submodels()
        trained[changed] = one.models.trunk_vector(one.models.trunks)
    same = {name: [torch.equal(trained["nothing"][i], t[i]) for i in range(4)] for name, t in trained.items()}
    assert same["reference"] == [False, False, True, False]
    assert same["played"] == [True, True, False, True]


def test_held_out_transitions_are_for_step_three_alone(monkeypatch):
    """Neither embeddings nor anything that is trained depends on them, and no episode is in both parts."""
    split, models, measured = TaskDataset.split, [], []
    for change in (1.0, 3.0):

        def changed(dataset, fractions, seed=0, change=change):
            train, held = split(dataset, fractions, seed)
            assert not set(train.episodes) & set(held.episodes)
            arrays = (held.obs, held.actions, change * held.rewards, held.next_obs, held.terminated, held.truncated)
            return train, TaskDataset(*arrays, held.episode, action_space=held.action_space)

        monkeypatch.setattr(TaskDataset, "split", changed)
        one = learner()
        one.pretrain()
        one.collect(one.actors, one.replay, 1.0)
        one.train_submodels()
        one.tune_last_layers()
        models.append(bits(one.models) | {"embeddings": torch.from_numpy(one.task_embeddings)})
        measured.append(one.measure_accuracy()[0])
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert (measured[0] != measured[1]).all()
    for task, dataset in enumerate(one.datasets):
        rows = one.reference.obs.shape[1]
        np.testing.assert_array_equal(one.reference.obs[task], dataset.obs[:rows])
        played = one.reference_policy.table[one.reference.action[task]]
        np.testing.assert_allclose(played, dataset.actions[:rows], atol=1e-8)


@pytest.mark.parametrize(("update", "target_period"), [("hard", 3), ("hard", 100), ("polyak", 100)])
def test_tuning_changes_the_last_layers_alone(update, target_period):
    one = learner(target_update=update, target_period=target_period)
    one.collect(one.actors, one.replay, 1.0)
    before = bits(one.models)
    one.tune_last_layers()
    copied = update == "polyak" or target_period == 3
    for name, value in one.models.state_dict().items():
        changes = name.startswith("heads.") or (name.startswith("target_heads.") and copied)
        assert torch.equal(value, before[name]) != changes, name


def test_tuned_last_layers_are_means_of_their_last_steps(monkeypatch):
    """The plain mean over the first steps, a running one after them."""
    one = learner(target_polyak=0.2)
    one.collect(one.actors, one.replay, 1.0)
    mean, steps = np.zeros_like(one.models.heads.weights[0].detach().double().numpy()), 0
    descend = HeadUpdates._descend

    def followed(updates, loss):
        nonlocal steps
        descend(updates, loss)
        steps += 1
        share = max(0.2, 1 / steps)
        mean[:] = (1 - share) * mean + share * one.models.heads.weights[0].detach().double().numpy()

    monkeypatch.setattr(HeadUpdates, "_descend", followed)
    one.tune_last_layers()
    assert steps == one.config.head_updates > 5
    np.testing.assert_allclose(one.models.heads.weights[0].detach().numpy(), mean, rtol=1e-4, atol=1e-6)
    assert torch.equal(one.models.target_heads.weights[0], one.models.heads.weights[0])


@pytest.mark.parametrize("start", ["common", "own"])
def test_a_round_starts_at_the_common_trunk_and_its_targets_are_the_submodels_before(start):
    one = learner(start=start, rounds=3)
    one.round()
    common, own = (one.models.trunk_vector(t).clone() for t in (one.models.common, one.models.trunks))
    seen = {}

    def train():
        seen["trunks"] = one.models.trunk_vector(one.models.trunks).clone()
        seen["targets"] = one.models.trunk_vector(one.models.target_trunks).clone()
        return ImtLearner.train_submodels(one)

    one.train_submodels = train
    one.round()
    assert torch.equal(seen["trunks"], common.expand(4, -1) if start == "common" else own)
    assert torch.equal(seen["targets"], own), "values of before the round close the TD target"
    assert not torch.equal(own, common.expand(4, -1))


@pytest.mark.parametrize("scale", [True, False])
def test_rewards_are_learned_in_units_of_their_spread(scale):
    one = learner(scale_rewards=scale)
    played, step = [], one.actors.step

    def followed(policy):
        columns = step(policy)
        played.append(columns["reward"])
        return columns

    one.actors.step = followed
    one.collect(one.actors, one.replay, 1.0)
    spread = np.concatenate([dataset.rewards for dataset in one.datasets]).std()
    drawn = one._sample(one.replay, 4).reward.numpy().ravel()
    stored = np.concatenate(played)
    expected = stored / spread if scale else stored
    assert np.abs(drawn[:, None] - expected[None]).min(axis=1).max() < 1e-5


def test_a_rare_reward_is_not_blown_up():
    one = learner()
    rare = one.datasets[0]
    rewards = np.zeros(len(rare))
    rewards[3] = 2.0
    held = TaskDataset(
        rare.obs, rare.actions, rewards, rare.next_obs, rare.terminated, rare.truncated, rare.episode,
        action_space=rare.action_space,
    )  # fmt: skip
    assert rewards.std() < 0.1 * rewards.max()
    assert reward_factor([held]) == pytest.approx(10 / 2.0)


def test_a_constant_reward_is_scaled_by_its_size():
    tasks = {"length": np.array([0.4, 0.5, 0.6])}
    one = ImtLearner("CartPole-v1", tasks, ImtConfig(**SMALL), params={})
    assert one.reward_factor == 1.0


def test_networks_that_share_nothing_learn_from_their_own_task_alone():
    """The control: a change of one task's rewards reaches one network, and no trunk is averaged."""
    found = []
    for change in (0.0, 5.0):
        one = learner(sharing="none", rounds=1)
        sample = one._sample

        def other(replay, tasks, sample=sample, change=change):
            batch = sample(replay, tasks)
            batch.reward[1] += change
            return batch

        one._sample = other
        common = one.models.trunk_vector(one.models.common)
        done = one.round()
        assert torch.equal(one.models.trunk_vector(one.models.common), common)
        assert done.stop == "1 rounds were made"
        assert one.updates == one.config.submodel_updates + one.config.head_updates
        np.testing.assert_array_equal(done.weights.weights, np.full(4, 0.25))
        found.append(one.models.trunk_vector(one.models.trunks))
    assert [torch.equal(found[0][i], found[1][i]) for i in range(4)] == [True, False, True, True]
    with pytest.raises(ConfigError, match="sharing='none': needs tune_on='train'"):
        ImtConfig.from_preset("as_written", sharing="none")


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_best_round_on_the_validation_tasks_is_kept(keep, monkeypatch):
    one = learner(val_tasks={name: values[:2] for name, values in GOALS.items()}, rounds=4, keep=keep, tolerance=0.0)
    play, seen, after = one.play, iter([-3.0, -1.0, -2.0, -5.0]), []

    def played(*arguments, **options):
        returns, lengths = play(*arguments, **options)
        return 0 * returns + next(seen), lengths

    monkeypatch.setattr(one, "play", played)
    average = one.average

    def averaged():
        done = average()
        after.append((bits(one.models), one.accuracy.copy()))
        return done

    one.average = averaged
    one.train()
    models, accuracy = after[1 if keep == "best" else -1]
    assert all(torch.equal(value, models[name]) for name, value in one.models.state_dict().items())
    np.testing.assert_array_equal(one.accuracy, accuracy)


def test_each_last_layer_is_tuned_on_its_own_task():
    heads = []
    for change in (0.0, 5.0):
        one = learner()
        one.collect(one.actors, one.replay, 1.0)
        sample = one._sample

        def other(replay, tasks, sample=sample, change=change):
            batch = sample(replay, tasks)
            batch.reward[1] += change
            return batch

        one._sample = other
        one.tune_last_layers()
        heads.append(one.models.heads.weights[0].detach().clone())
    assert [torch.equal(heads[0][i], heads[1][i]) for i in range(4)] == [True, False, True, True]


def test_batches_hold_the_tasks_in_their_order():
    one = learner(scale_rewards=False)
    for task in range(4):
        count = 30 + 10 * task
        column = np.full(count, task, dtype=np.float32)
        one.replay.add(
            obs=np.stack((column, column), axis=1),
            action=np.zeros(count, dtype=np.int64),
            reward=column,
            next_obs=np.zeros((count, 2), dtype=np.float32),
            terminated=np.zeros(count, dtype=np.bool_),
            task_id=column.astype(np.int32),
        )
    batch = one._sample(one.replay, 4)
    assert torch.equal(batch.reward, torch.arange(4.0)[:, None].expand(4, 16))
    assert torch.equal(batch.obs[..., 0], batch.reward)


def test_on_as_many_test_tasks_as_submodels_nobody_has_a_task_of_its_own():
    one = learner(preset="as_written", test_tasks=GOALS)
    with torch.no_grad():  # submodel 3 shouts, the mean of all follows it on every task
        one.models.heads.biases[0][3, 0, 5] += 100
    obs = np.zeros((16, 2), dtype=np.float32)
    assert (one._own_actions(one.tuning_actors, obs) == 5).all()
    assert (one._own_actions(one.actors, obs)[:12] != 5).any()


def test_a_round_moves_the_common_trunk_by_the_weights_of_step_three():
    one = learner(eta=0.5, rounds=1)
    one.pretrain()
    before = one.models.trunk_vector(one.models.common)
    done = one.round()
    own = one.models.trunk_vector(one.models.trunks)
    expected = 0.5 * before[0] + 0.5 * torch.from_numpy(done.weights.weights).float() @ own
    torch.testing.assert_close(one.models.trunk_vector(one.models.common)[0], expected)
    assert done.weights.relative_change > 0
    assert done.stop == "1 rounds were made"
    # Without step 3 in between, the next round would begin from where each trunk was left.
    assert not torch.equal(own[0], own[1])


def test_steps_are_counted_over_all_tasks():
    one = learner(val_tasks={name: values[:2] for name, values in GOALS.items()})
    rounds = one.train()
    assert [r.number for r in rounds] == [1, 2]
    assert [r.steps for r in rounds] == [4 * (400 + 120), 4 * (400 + 120)]
    # A point robot starts where it always does and acts greedily: all 20 episodes of a task are equally long.
    lengths = one.play(one.adapt({name: values[:2] for name, values in GOALS.items()}), episodes=1)[1]
    assert [r.selection_steps for r in rounds][1] - rounds[0].selection_steps == 2 * 400 + 20 * lengths.sum()
    assert rounds[0].selection_steps > 2 * 400
    assert one.selection_steps == rounds[1].selection_steps
    assert rounds[0].validation_returns.shape == (2,)
    assert np.isfinite(rounds[1].validation_returns).all()
    assert rounds[1].embedding_loss.shape == rounds[1].td_loss.shape == (4,)
    assert (rounds[1].td_loss > 0).all()


def test_watching_can_stop_and_environments_are_closed():
    with learner(rounds=5) as one:
        assert len(one.train(lambda done: done.number == 1)) == 1
    assert one.actors.envs.closed
    assert one.evaluate(one.adapt(GOALS), episodes=1).shape == (4,)


def test_returns_of_a_round_are_of_its_episodes():
    one = learner(rounds=3, steps_per_round=240)
    rounds = one.train()
    assert np.isfinite(rounds[0].train_returns).all()  # two collections of 60 steps an instance, episodes of 100
    assert np.isnan(rounds[2].train_returns).all()  # nothing is played after the last round


def test_uses_of_nearby_seeds_do_not_meet():
    uses = [purpose_seed(s, p, i) for s in range(50) for p in ("train", "adapt", "task") for i in range(10)]
    assert len(set(uses)) == len(uses)
    assert min(uses) >= 0
    assert max(uses) < 2**64


@pytest.mark.parametrize("how", ["weighted", "uniform", "vote", "best", "soup"])
def test_every_aggregation_plays_new_tasks(how):
    one = learner()
    one.train()
    new = {"goal_x": np.array([0.1, -0.2]), "goal_y": np.array([0.2, 0.2])}
    adapted = one.adapt(new)
    np.testing.assert_allclose(adapted.weights.sum(axis=0), 1)
    assert adapted.embeddings.shape == (2, 16)
    returns = one.evaluate(adapted, how, episodes=3)
    assert returns.shape == (2,)
    assert (returns < 0).all()
    # All weight on one submodel is that submodel, however they are put together.
    alone = dataclasses.replace(adapted, weights=np.eye(4)[:, [2, 2]])
    if how != "uniform":
        np.testing.assert_array_equal(one.evaluate(alone, how, episodes=3), one.evaluate(alone, "best", episodes=3))


def test_a_known_task_is_a_mixture_of_itself():
    one = learner(routing="mixture", reference_steps=8000, embedding_features=64)
    adapted = one.adapt(GOALS)  # other transitions of the training tasks
    assert adapted.weights.shape == (4, 4)
    assert (adapted.weights.argmax(axis=0) == np.arange(4)).all()
    assert np.diag(adapted.weights).min() > 0.5
    between = {"goal_x": np.array([0.25]), "goal_y": np.array([-0.1])}  # half way from the first goal to the third
    mixed = one.adapt(between).weights[:, 0]
    assert set(np.argsort(mixed)[-2:]) == {0, 2}
    assert mixed[[0, 2]].sum() > 0.7


def test_vectors_are_embeddings_before_they_are_scaled():
    one = learner()
    vectors = np.stack([one.embedding.vector(d) for d in one.datasets])
    np.testing.assert_allclose(vectors.sum(axis=0), 0, atol=1e-12)  # centred
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors / lengths, one.task_embeddings, atol=1e-12)


def test_the_page_says_every_switch_of_the_presets():
    text = (Path(__file__).parents[3] / "docs" / "imt.md").read_text(encoding="utf-8")
    section = text.split("## What the presets deviate in")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")]
    default, words = ImtConfig(), {True: "true", False: "false"}
    for name, value in PRESETS["as_written"].items():
        ours, theirs = (
            words[v] if isinstance(v, bool) else f"{v:g}" if isinstance(v, float) else v
            for v in (value, getattr(default, name))
        )
        assert any(f"`{name}={ours}`" in row[2] and f"`{name}={theirs}`" in row[3] for row in rows), name


def test_as_written_tunes_on_the_held_out_tasks():
    test_tasks = {"goal_x": np.array([0.5]), "goal_y": np.array([0.0])}
    one = learner(preset="as_written", test_tasks=test_tasks)
    assert one.tuning_actors is not one.actors
    rounds = one.train()
    assert (rounds[-1].td_loss == 0).all()
    assert one.tuning_actors.num_tasks == 1
    assert one.task_embeddings.shape == (4, 2 * 16 + 9 + 1)
    assert rounds[-1].steps == 4 * (400 + 120) + 120
    assert PRESETS["as_written"]["eta"] == 1.0


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_controls_of_the_weighting(weighting):
    one = learner(weighting=weighting, rounds=1, temperature=0.5, accuracy_eps=0.1)
    similarity, accuracy = np.array([0.9, -0.2, 0.4, 0.0]), np.array([0.1, 0.8, 0.3, 0.0])
    one.measure_accuracy = lambda: (similarity, accuracy)
    found = one.train()[-1].weights.weights
    article = averaging_weights(similarity, accuracy, temperature=0.5, accuracy_eps=0.1)
    if weighting == "shuffled":
        np.testing.assert_allclose(np.sort(found), np.sort(article))
        assert (found != article).all()
    elif weighting == "random":
        assert found.sum() == pytest.approx(1)
        assert len(set(found)) == 4
    else:
        options = {"temperature": 0.5, "accuracy_eps": 0.1, "weighting": weighting}
        np.testing.assert_allclose(found, averaging_weights(similarity, accuracy, **options))


def test_accuracy_by_returns():
    one = learner(accuracy="return")
    one.random_returns = np.array([-90.0, -80.0, -85.0, -70.0])
    one.actors.returns = [[-50.0, -10.0], [], [-99.0, -95.0], [0.0]]
    np.testing.assert_allclose(one.measure_accuracy()[1], [60 / 80, 0, 0, 1])


def test_mistakes_are_named():
    two = {name: values[:2] for name, values in GOALS.items()}
    with pytest.raises(ConfigError, match="train_tasks has 2 tasks; expected at least 3"):
        learner(tasks=two)
    with pytest.raises(ConfigError, match="train_tasks has 0 tasks"):
        learner(tasks={})
    with pytest.raises(ConfigError, match="tune_on='test': needs test_tasks"):
        learner(preset="as_written")
    with pytest.raises(ConfigError, match=r"eta=1\.5: must be <= 1"):
        learner(eta=1.5)
    with pytest.raises(ConfigError, match="weighting='best': choose one of similarity_accuracy"):
        learner(weighting="best")
    with pytest.raises(ConfigError, match="context='task_id': IMT tells tasks apart by their embedding"):
        learner(context="task_id")
    with pytest.raises(ConfigError, match="routing='mixture': needs embedding='random_features'"):
        learner(routing="mixture", embedding="common")
    one = learner(lr=1e30)
    with pytest.raises(TrainingDivergedError, match=r"loss is (nan|inf) in round 1, gradient step \d+; try a smaller"):
        one.train()
