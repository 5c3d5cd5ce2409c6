"""IMT's learner on a MetaTask: the same as on parameters, and what it says of tasks that it cannot take."""

import numpy as np
import pytest
import torch

from metarl_core import ConfigError
from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.agents.imt.reference import Reference, purpose_seed
from metarl_core.tasks import MetaTask, Task, TaskDataset

SMALL = ImtConfig(
    hidden=(16,),
    predictor_hidden=(16,),
    reference_steps=400,
    embedding_features=8,
    pretrain_updates=10,
    rounds=2,
    steps_per_round=60,
    submodel_updates=10,
    head_updates=5,
    batch_size=16,
    replay_capacity=2000,
)


def family(**counts):
    return MetaTask.from_family("PointRobot-tasks", counts or {"train": 4, "val": 2, "test": 2}, seed=5)


def columns(tasks):
    return MetaTask(list(tasks)).columns()


def poles(count=4, **env_params):
    return [Task(f"pole {i}", "CartPole-v1", {"length": 0.3 + 0.1 * i}, env_params) for i in range(count)]


def random_data(tasks, steps=600):
    return {
        t.name: TaskDataset.record(t.env_id, steps=steps, num_envs=4, seed=i, task=t.params)
        for i, t in enumerate(tasks)
    }


def test_a_meta_task_is_the_same_as_its_parameters():
    meta = family()
    train, val, test = meta.splits()
    as_table = ImtLearner(
        "PointRobot-v0", train.columns(), SMALL, seed=1, val_tasks=val.columns(), test_tasks=test.columns()
    )
    as_meta = ImtLearner(meta, config=SMALL, seed=1)
    for one in (as_table, as_meta):
        one.train()
    assert as_meta.rounds[-1].validation_returns.shape == (2,)
    np.testing.assert_array_equal(as_meta.rounds[-1].validation_returns, as_table.rounds[-1].validation_returns)
    for a, b in zip(as_meta.models.parameters(), as_table.models.parameters(), strict=True):
        assert torch.equal(a, b)
    adapted = [as_meta.adapt(test), as_table.adapt(test.columns())]
    np.testing.assert_array_equal(adapted[0].weights, adapted[1].weights)


def test_without_parts_all_tasks_are_trained_on():
    one = ImtLearner(MetaTask(poles(), {}), config=SMALL)
    assert one.num_tasks == 4
    assert one.val_tasks is None
    np.testing.assert_allclose(one.train_tasks["length"], [0.3, 0.4, 0.5, 0.6])
    np.testing.assert_allclose(one.actors.envs.get_tasks()["length"], np.repeat([0.3, 0.4, 0.5, 0.6], 4))


def test_env_params_of_the_tasks_are_the_environments():
    with ImtLearner(MetaTask(poles(max_episode_steps=7)), config=SMALL) as one:
        _, lengths = one.make_actors({"length": np.array([5.0])}, 0).first_episodes(
            lambda obs: torch.arange(len(obs)) % 2
        )
    assert lengths.max() <= 7
    assert max(one.datasets[0].lengths) <= 7


def test_data_of_the_tasks_takes_the_place_of_what_would_be_recorded():
    tasks = poles()
    data = random_data(tasks)
    one = ImtLearner(MetaTask(tasks, data), config=SMALL, seed=2)
    for task, kept, held_out in zip(tasks, one.datasets, one.held_out_datasets, strict=True):
        assert len(kept) + len(held_out) == 600
        np.testing.assert_array_equal(data[task.name].take_episodes(kept.episodes).obs, kept.obs)
    assert one.environment_steps == 4 * 600
    # What the reference policy itself records is taken as it is: nothing differs.
    reference = Reference("CartPole-v1", SMALL, {})
    recorded = reference.record_all(columns(tasks), 400, purpose_seed(2, "reference"))
    given = ImtLearner(MetaTask(tasks, {t.name: d for t, d in zip(tasks, recorded, strict=True)}), config=SMALL, seed=2)
    fresh = ImtLearner(MetaTask(tasks), config=SMALL, seed=2)
    np.testing.assert_array_equal(given.task_embeddings, fresh.task_embeddings)


def test_data_over_the_action_table_is_that_of_continuous_tasks():
    tasks = list(family(train=3).splits().train)
    reference = Reference("PointRobot-v0", SMALL, {})
    data = {t.name: reference.record(t.params, 500, i) for i, t in enumerate(tasks)}
    one = ImtLearner(MetaTask(tasks, data), config=SMALL)
    assert one.environment_steps == 1500
    by_random = {t.name: TaskDataset.record("PointRobot-v0", steps=500, task=t.params) for t in tasks}
    with pytest.raises(
        ConfigError, match="is of the policy 'random', and the reference policy is 'uniform over the ac"
    ):
        ImtLearner(MetaTask(tasks, by_random), config=SMALL)


def by_a_policy(tasks):
    def left(obs):
        return np.zeros(len(obs), dtype=np.int64)

    data = random_data(tasks)
    data[tasks[2].name] = TaskDataset.record("CartPole-v1", left, steps=600, task=tasks[2].params)
    return MetaTask(tasks, data)


def one_without(tasks):
    data = random_data(tasks)
    del data["pole 1"]
    return MetaTask(tasks, data)


def of_another_space(tasks):
    data = random_data(tasks)
    data["pole 3"] = TaskDataset.record("Acrobot-v1", steps=600)
    return MetaTask(tasks, data)


def short(tasks):
    data = random_data(tasks)
    data["pole 2"] = data["pole 2"].take_rows(0, 5)
    return MetaTask(tasks, data)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: MetaTask(poles(1)), "the MetaTask has 1 tasks; expected at least 3: .*; add tasks"),
        (lambda: family(train=2, test=4), "the MetaTask's part 'train' has 2 tasks; expected at least 3"),
        (lambda: one_without(poles()), "task 'pole 1' has no data; .*or leave out all data, to have it recorded"),
        (
            lambda: MetaTask(poles(), {t.name: [1, 2] for t in poles()}),
            "task 'pole 0' is a list; must be a TaskData",
        ),
        (
            lambda: by_a_policy(poles()),
            "task 'pole 2' is of the policy 'left', and the reference policy is",
        ),
        (lambda: of_another_space(poles()), r"task 'pole 3' has the observation space Box.*\(6,\).*record it anew"),
        (
            lambda: short(poles()),
            r"training task 2 has 5 transitions in 1 episodes, of which held_out=0\.25 cannot",
        ),
        (
            lambda: MetaTask([*poles(3), Task("long", "CartPole-v1", {"length": 2.0}, {"max_episode_steps": 50})]),
            "task 'long' is of CartPole-v1 {'max_episode_steps': 50}, and the learner's .* leave out tasks of other",
        ),
        (
            lambda: MetaTask([*poles(3), Task("heavy", "CartPole-v1", {"masspole": 2.0})]),
            "only one of the tasks 'pole 0' and 'heavy' has the parameter",
        ),
    ],
)
def test_tasks_that_cannot_be_taken_are_told(make, expected):
    with pytest.raises(ConfigError, match=expected):
        ImtLearner(make(), config=SMALL)


def test_tasks_of_different_spaces_are_refused_when_they_are_put_together():
    with pytest.raises(ValueError, match=r"have different observation spaces.*leave tasks out"):
        MetaTask([*poles(), Task("two links", "Acrobot-v1")])


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        (("PointRobot-v0",), {}, "train_tasks is None; give parameters of at least 3 tasks, or a MetaTask in place of"),
        (("PointRobot-v0", {}), {}, "train_tasks has 0 tasks; expected at least 3"),
        (("Nowhere-v0", {"a": [1.0, 2.0, 3.0]}), {}, "Nowhere-v0 is no native environment"),
        (
            ("PointRobot-v0", {"goal_x": [0.1, 0.2, 0.3], "goal_y": [0.1, 0.2]}),
            {},
            r"train_tasks has \{'goal_x': 3, 'goal_y': 2\} values; must be one of each parameter for every task",
        ),
        (
            ("PointRobot-v0", {"goal_x": [0.1, 0.2, 0.3]}),
            {"val_tasks": {"goal_x": []}},
            "val_tasks is empty; give at least one task, or None",
        ),
        (("PointRobot-v0", {"goal_x": [0.1, 0.2, 0.3]}), {"test_tasks": {}}, "test_tasks has no parameters"),
        (
            ("PointRobot-v0", {"goal_x": [0.1, 0.2, 0.3]}),
            {"val_tasks": MetaTask(poles())},
            "val_tasks: task 'pole 0' is of CartPole-v1 , and the learner's environment is PointRobot-v0 ",
        ),
        (
            ("CartPole-v1", {"length": [0.5, -1.0, 0.6]}),
            {},
            r"train_tasks: length\[1\] is -1\.0; must be > 0",
        ),
        (
            ("CartPole-v1", {"length": [0.5, 0.4, 0.6]}),
            {"val_tasks": {"pole_size": [0.5]}},
            "val_tasks: CartPole-v1 has no task parameter 'pole_size'",
        ),
        (
            ("CartPole-v1", {"length": [0.5, 0.5, 0.5]}),
            {},
            r"all tasks are the same, \{'length': 0\.5\}; give tasks that differ",
        ),
        ((family(), {"goal_x": [0.1, 0.2, 0.3]}), {}, "leave out train_tasks and params"),
        ((family(),), {"val_tasks": {"goal_x": [0.1]}}, "val_tasks is given, and the MetaTask has a part 'val' too"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, options, expected):
    with pytest.raises(ConfigError, match=expected):
        ImtLearner(*arguments, config=SMALL, **options)


def test_adapting_refuses_tasks_of_another_environment():
    one = ImtLearner(MetaTask(poles()), config=SMALL)
    with pytest.raises(ConfigError, match=r"tasks: task .* is of PointRobot-v0"):
        one.adapt(family())
    with pytest.raises(ConfigError, match="tasks is empty"):
        one.adapt({"length": np.array([])})
