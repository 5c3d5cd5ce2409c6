"""IMT as a run: its files, stopping and going on, the comparison on held-out tasks, evaluation, settings."""

import dataclasses
import json

import numpy as np
import pytest
from run_helpers import StopAt, contents, run_to_end

from metarl_core import ConfigError
from metarl_core.agents import evaluate, resolve_config
from metarl_core.agents.imt.comparison import METHODS, SHUFFLES, compare
from metarl_core.agents.imt.costs import PlannedCosts
from metarl_core.agents.imt.outcomes import Adapted
from metarl_core.agents.imt.playing import play_each
from metarl_core.agents.imt.reference import purpose_seed
from metarl_core.agents.imt.run import _make_learner
from metarl_core.agents.imt.run_config import planned_steps
from metarl_core.agents.registry import ALGORITHMS
from metarl_core.runs import NullProgress, RunReader, validate_result

SMALL = ["env_tasks=4", "val_tasks=2", "test_tasks=3", "hidden=16", "predictor_hidden=16", "reference_steps=400"]
SMALL += ["embedding_features=8", "pretrain_updates=20", "rounds=3", "steps_per_round=200", "submodel_updates=15"]
SMALL += ["head_updates=10", "batch_size=16", "replay_capacity=2000", "evaluation_episodes=2", "tolerance=0"]
STEPS = 4 * (400 + 3 * 200)


def config(*overrides, env_id=None):
    return resolve_config("imt", env_id, None, [*SMALL, *overrides])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imt") / "run"
    return folder, run_to_end(config(), folder)


def text(folder):
    """Everything that a run wrote, but for times; nan is equal to nan."""
    return json.dumps(contents(folder))


class Watch(NullProgress):
    """Keeps what it was told."""

    def __init__(self):
        self.told = []

    def update(self, step, total_steps, row):
        self.told.append((step, total_steps, row["round"], row["episodes"]))


def test_the_files_of_a_run(whole):
    folder, result = whole
    reader = RunReader(folder)
    validate_result(reader.result)
    assert reader.result == json.loads(json.dumps(result))
    assert (result["status"], result["environment"], result["rounds"]) == ("finished", "PointRobot-v0", 3)
    assert result["environment_steps"] == STEPS == reader.config["total_steps"]
    assert result["tasks"] == {"train": 4, "val": 2, "test": 3}
    assert result["stop"] == "3 rounds were made"
    assert not result["transductive"]
    np.testing.assert_array_equal(reader.metrics["round"], [1, 2, 3])
    # The first round plays twice, the last one not at all.
    np.testing.assert_array_equal(reader.metrics["step"], [4 * (400 + 400), STEPS, STEPS])
    np.testing.assert_allclose(reader.metrics["epsilon"], [0.55, 0.1, 0.1])
    np.testing.assert_array_equal(reader.metrics["updates"], [25, 50, 75])
    assert np.isfinite(reader.metrics["validation_return"]).all()
    # A round weighs by 400 transitions of each validation task, and plays 20 episodes of at most 100 steps of each.
    selection = reader.metrics["selection_steps"]
    np.testing.assert_array_equal(selection, reader.arrays("imt_rounds")["selection_steps"])
    assert (np.diff(selection, prepend=0) > 2 * 400).all()
    assert (np.diff(selection, prepend=0) <= 2 * (400 + 20 * 100)).all()
    assert result["selection_steps"] == selection[-1]
    episodes = reader.episodes
    assert len(episodes["episode"]) == result["episodes"] == reader.metrics["episodes"][-1] > 0
    np.testing.assert_array_equal(episodes["episode"], np.arange(1, result["episodes"] + 1))
    assert (np.diff(episodes["step"]) >= 0).all()
    assert episodes["env"].max() < 4 * 4
    assert (result["parameters"], result["stored_bytes"]) == PlannedCosts(config()).after(STEPS)
    assert result["best_return"] == episodes["return"].max()
    assert result["final_return"] == pytest.approx(episodes["return"][-100:].mean())
    first = reader.metrics["step"][0]
    assert reader.metrics["return_mean"][0] == pytest.approx(episodes["return"][episodes["step"] <= first].mean())


def test_arrays_of_rounds_and_tasks_are_those_of_the_learner(whole):
    folder, result = whole
    reader = RunReader(folder)
    rounds, tasks = reader.arrays("imt_rounds"), reader.arrays("imt_tasks")
    assert {name: a.shape for name, a in rounds.items()} == {
        "steps": (3,),
        "selection_steps": (3,),
        "trunk_change": (3,),
        "validation_returns": (3, 2),
        **dict.fromkeys(("embedding_loss", "td_loss", "train_returns", "similarity", "accuracy", "weights"), (3, 4)),
    }
    np.testing.assert_allclose(rounds["weights"].sum(axis=1), 1)
    methods = tasks["methods"].tolist()
    assert methods == list(METHODS)
    assert tasks["descriptions"].tolist() == list(METHODS.values())
    assert result["test_returns"] == dict(zip(methods, tasks["returns"].mean(axis=1), strict=True))
    assert result["evaluation_return"] == result["test_returns"]["imt"]
    np.testing.assert_array_equal(tasks["returns"][0], tasks["returns"][methods.index("soup")])  # as configured
    assert tasks["submodels_on_train"].shape == (4, 4)
    assert tasks["submodels_on_test"].shape == tasks["weights"].shape == (4, 3)
    np.testing.assert_allclose(tasks["weights"].sum(axis=0), 1)
    best = tasks["submodels_on_test"][tasks["submodels_on_test"].mean(axis=1).argmax()]
    np.testing.assert_array_equal(tasks["returns"][methods.index("single_hindsight")], best)
    chosen = tasks["submodels_on_train"].mean(axis=1).argmax()
    np.testing.assert_array_equal(tasks["returns"][methods.index("single_train")], tasks["submodels_on_test"][chosen])
    assert rounds["accuracy"][-1].max() > 0
    np.testing.assert_array_equal(
        tasks["returns"][methods.index("single_accuracy")],
        tasks["submodels_on_test"][rounds["accuracy"][-1].argmax()],
    )


def test_the_tasks_are_those_that_the_family_draws(whole):
    from metarl_core.tasks import task_family

    arrays = RunReader(whole[0]).arrays("imt_tasks")
    family = task_family("PointRobot-v0")
    assert arrays["parameters"].tolist() == ["goal_x", "goal_y"]
    for part, count in (("train", 4), ("test", 3)):
        drawn = family.sample_tasks(count, part, 0)
        np.testing.assert_array_equal(arrays[f"{part}_tasks"], np.stack(list(drawn.values()), axis=1))


def test_networks_trained_on_the_held_out_tasks_have_those_of_the_other_runs(whole, tmp_path):
    run_to_end(config("sharing=none", "train_split=test", "env_tasks=3", "val_tasks=0", "rounds=1"), tmp_path / "run")
    oracle, others = (RunReader(folder).arrays("imt_tasks") for folder in (tmp_path / "run", whole[0]))
    np.testing.assert_array_equal(oracle["train_tasks"], others["test_tasks"])
    np.testing.assert_array_equal(oracle["test_tasks"], others["test_tasks"])


# Within pretraining, in the first round, in the second round's play, and in the comparison.
@pytest.mark.parametrize("stop_at", [1600, 1700, 3201, STEPS])
@pytest.mark.parametrize("preset", ["corrected", "as_written"])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(preset, stop_at, whole, tmp_path):
    settings = config(f"preset={preset}")
    if preset == "as_written":
        run_to_end(settings, tmp_path / "whole")
    expected = whole[0] if preset == "corrected" else tmp_path / "whole"
    stopped = run_to_end(settings, tmp_path / "run", StopAt(stop_at))
    assert stopped["status"] == "interrupted"
    assert stopped["evaluation_return"] is None
    assert stopped["environment_steps"] <= stop_at
    reader = RunReader(tmp_path / "run")
    rows = reader.metrics.get("round", np.zeros(0))
    assert len(rows) == stopped["rounds"] < 4
    assert len(reader.episodes["episode"]) == stopped["episodes"]
    done = run_to_end(settings, tmp_path / "run", resume=True)
    assert done["status"] == "finished"
    assert text(tmp_path / "run") == text(expected)


def test_a_run_that_is_stopped_again_and_again_ends_all_the_same(whole, tmp_path):
    class NextRound(NullProgress):
        """Asks to stop in the round after the one that it first hears of."""

        def __init__(self):
            self.first = self.now = None

        def update(self, step, total_steps, row):
            self.first = self.first or row["round"]
            self.now = row["round"]

        def should_stop(self):
            return self.now is not None and self.now > self.first

    sittings, result = 0, {"status": "interrupted"}
    while result["status"] == "interrupted":
        result = run_to_end(config(), tmp_path / "run", NextRound(), resume=sittings > 0)
        sittings += 1
    assert sittings == 3
    assert text(tmp_path / "run") == text(whole[0])


def test_progress_hears_of_every_step_and_never_goes_back(tmp_path):
    watch = Watch()
    run_to_end(config("rounds=2"), tmp_path / "run", watch)
    steps, totals, rounds, episodes = zip(*watch.told, strict=True)
    assert set(totals) == {4 * 800}
    assert list(steps) == sorted(steps)
    assert (min(steps), max(steps)) == (1600, 3200)
    assert list(rounds) == sorted(rounds)
    assert set(rounds) == {1, 2}
    assert list(episodes) == sorted(episodes)


def test_a_diverged_run_names_the_last_good_checkpoint(tmp_path):
    from metarl_core.agents.common.learner import TrainingDivergedError

    with pytest.raises(TrainingDivergedError, match=r"try a smaller lr \(the last good checkpoint is of step 1600\)"):
        run_to_end(config("lr=1e25", "pretrain_updates=0"), tmp_path / "run")


def test_transductive_runs_say_so_and_count_the_steps_on_test_tasks(tmp_path):
    settings = config("preset=as_written", "rounds=1", "steps_per_round=500")
    assert settings.total_steps == 4 * 900 + 3 * 500
    result = run_to_end(settings, tmp_path / "run")
    assert result["transductive"]
    assert result["environment_steps"] == settings.total_steps
    assert RunReader(tmp_path / "run").episodes["env"].max() >= 16  # those of the test tasks come after 4 * 4


def test_evaluation_plays_the_held_out_tasks(whole):
    folder, _ = whole
    outcome = evaluate(folder, episodes=7, seed=5)
    assert (outcome["episodes"], outcome["seed"], outcome["step"]) == (9, 5, STEPS)  # 3 of each of 3 tasks
    assert outcome["return_mean"] == pytest.approx(np.mean(outcome["returns"]))
    assert outcome["length_mean"] == 100
    arrays = RunReader(folder).arrays("imt_tasks")
    for i, task in enumerate(outcome["tasks"]):
        assert list(task["params"].values()) == arrays["test_tasks"][i].tolist()
        np.testing.assert_array_equal(task["weights"], arrays["weights"][:, i])
        # A point robot starts where it always does, and acts greedily: every episode is the same.
        np.testing.assert_allclose(task["return_mean"], arrays["returns"][0, i], rtol=1e-6)
    assert evaluate(folder, episodes=7, seed=5) == outcome


def test_the_control_gives_every_weight_to_the_wrong_submodel(monkeypatch):
    learner, test_tasks = _make_learner(config("rounds=1"))
    learner.train()
    adapted = learner.adapt(test_tasks)
    played = []
    evaluated = learner.evaluate

    def evaluate_and_keep(new: Adapted, how=None, **options):
        played.append((how, new.weights))
        return evaluated(new, how, **options)

    monkeypatch.setattr(learner, "evaluate", evaluate_and_keep)
    found = compare(learner, adapted, 2)
    mixed, few, *controls = (weights for how, weights in played if how is None)
    assert mixed.min() >= 0
    assert len(controls) == SHUFFLES
    ten = learner.adapt(test_tasks, episodes=10, seed=purpose_seed(learner.seed, "few episodes"))
    np.testing.assert_array_equal(few, ten.weights)
    assert found.adaptation_steps == {"imt": 400.0, "imt_10": ten.steps.mean()}
    assert 10 <= ten.steps.min() <= ten.steps.max() <= 10 * 100
    for weights in controls:
        for mine, right in zip(weights, adapted.weights, strict=True):
            assert not np.array_equal(mine, right)
        assert sorted(map(tuple, weights)) == sorted(map(tuple, adapted.weights))
    expected = [evaluated(dataclasses.replace(adapted, weights=w), episodes=2) for w in controls]
    np.testing.assert_array_equal(found.returns["shuffled"], np.mean(expected, axis=0))
    assert (found.returns["chance"] < 0).all()
    learner.close()


def test_no_network_that_predicts_nothing_is_the_most_accurate(tmp_path):
    result = run_to_end(config("sharing=none", "rounds=1", "val_tasks=0"), tmp_path / "run")
    arrays = RunReader(tmp_path / "run").arrays("imt_tasks")
    expected = [name for name in METHODS if name != "single_accuracy"]
    assert arrays["methods"].tolist() == list(result["test_returns"]) == expected
    assert arrays["descriptions"].tolist() == [METHODS[name] for name in expected]
    assert result["selection_steps"] == 0  # there are no tasks to select by


def test_each_submodel_alone_is_that_submodel():
    learner, test_tasks = _make_learner(config("rounds=1"))
    learner.train()
    alone = play_each(learner, test_tasks, 2, 7)
    for member in range(4):
        weights = np.zeros((4, 3))
        weights[member] = 1
        adapted = Adapted(test_tasks, np.zeros((3, 16)), weights, np.full(3, 400))
        np.testing.assert_allclose(alone[member], learner.evaluate(adapted, "best", episodes=2, seed=7), rtol=1e-6)
    learner.close()


# Settings


def test_defaults_are_the_quick_run():
    settings = resolve_config("imt")
    assert (settings.env_id, settings.env_tasks, settings.evaluation_split) == ("PointRobot-v0", 8, "test")
    assert settings.total_steps == planned_steps(settings) == 8 * (4096 + 15 * 1000)
    assert type(settings.hyperparameters) is ALGORITHMS["imt"].config_class
    assert resolve_config("imt", "CartPole-v1").env_tasks == 8
    assert resolve_config("ddqn", "CartPole-v1").env_tasks == 0  # other algorithms keep theirs


def test_steps_of_the_run_and_of_a_round_follow_from_each_other():
    by_round = config("steps_per_round=250")
    assert by_round.total_steps == 4 * (400 + 3 * 252)  # whole steps of 4 instances
    plain = [setting for setting in SMALL if not setting.startswith("steps_per_round")]
    by_total = resolve_config("imt", None, None, [*plain, "total_steps=10000"])
    assert by_total.hyperparameters.steps_per_round == 700
    assert by_total.total_steps == 4 * (400 + 3 * 700) == 10000
    rounded = resolve_config("imt", None, None, [*plain, "total_steps=10040"])
    assert rounded == by_total
    # The configuration that a run stores makes the same run again.
    again = [f"{name}={getattr(by_total, name)}" for name in ("total_steps", "env_tasks")]
    hyper = dataclasses.asdict(by_total.hyperparameters).items()
    again += [f"{k}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in hyper]
    assert resolve_config("imt", None, None, [*again, "evaluation_episodes=2"]) == by_total


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["env_tasks=2"], "env_tasks=2: IMT needs at least 3 training tasks, .*; set --tasks 3 or more"),
        (["env_tasks=0"], "env_tasks=0: IMT needs at least 3"),
        (["num_envs=8"], "num_envs=8: every task has envs_per_task instances; set that"),
        (["log_interval=10"], "log_interval=10: IMT logs after every round"),
        (["compile=true"], "compile=True: IMT's losses are not compiled"),
        (["cuda_graphs=true"], "cuda_graphs=True: IMT's gradient steps are not recorded"),
        (["max_episodes=10"], "max_episodes=10: IMT ends by its rounds; set rounds"),
        (["evaluation_split=train"], "evaluation_split='train': IMT is measured on held-out tasks"),
        (["evaluation_episodes=0"], "evaluation_episodes=0: must be >= 1"),
        (["context=task_id"], "context='task_id': IMT tells tasks apart by their embedding"),
        (["total_steps=7777"], "total_steps=7777: with steps_per_round=200 the rounds take 4000; give one of the two"),
        (["test_tasks=0"], "test_tasks=0: must be >= 1"),
        (["env_tasks_split=sideways"], "env_tasks_split='sideways': choose one of"),
    ],
)
def test_settings_that_do_not_fit_are_told(overrides, expected):
    with pytest.raises(ConfigError, match=expected):
        config(*overrides)


def test_too_few_steps_and_environments_without_a_family_are_told():
    with pytest.raises(ConfigError, match=r"total_steps=20000: 8 tasks with reference_steps=4096 .* at least 33248"):
        resolve_config("imt", None, None, ["total_steps=20000"])
    with pytest.raises(ConfigError, match="env_tasks=8: Taxi-v4 has no family of tasks; choose one of Acrobot-v1"):
        resolve_config("imt", "Taxi-v4")
    with pytest.raises(ConfigError, match=r"env_tasks_split='interpolation': .* seeds"):
        resolve_config("imt", "Maze-v0", None, ["env_tasks_split=interpolation"])
