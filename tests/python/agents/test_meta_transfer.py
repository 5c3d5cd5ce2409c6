"""Transfer of layers: what is copied, what is trained, and the report on hand-made curves and on point robots."""

import numpy as np
import pytest
import torch

from metarl_core import ConfigError, stats
from metarl_core.agents.baselines.bootdqn import BootstrappedDQNConfig
from metarl_core.agents.baselines.dqn import DoubleDQNConfig
from metarl_core.agents.meta import QLearner, TransferReport, transfer
from metarl_core.agents.meta.transfer import copy_layers
from metarl_core.tasks import Task

CONFIG = DoubleDQNConfig(
    hidden=(16, 12), optimizer="adam", lr=1e-3, epochs=1, batch_size=32, gamma=0.9, epsilon_steps=500
)


def robot(x, y):
    return Task(f"({x}, {y})", "PointRobot-v0", {"goal_x": x, "goal_y": y})


def layers(learner):
    net = learner.agent.critic.online
    return [p.detach().clone() for pair in zip(net.weights, net.biases, strict=True) for p in pair]


@pytest.mark.parametrize(("which", "count"), [("trunk", 2), ("all", 3), (1, 1), (2, 2)])
@pytest.mark.parametrize("freeze", [True, False])
def test_layers_are_copied_and_frozen_ones_do_not_move(which, count, freeze):
    source, learner = QLearner(robot(0.1, 0.2), CONFIG, seed=5), QLearner(robot(0.3, 0.3), CONFIG, seed=6)
    if freeze and which == "all":
        with pytest.raises(ConfigError, match="layers='all': with freeze=True nothing is left to train"):
            copy_layers(source, learner, which, freeze)
        return
    before = layers(learner)
    assert copy_layers(source, learner, which, freeze) == count
    start, given = layers(learner), layers(source)
    for i in range(6):
        assert torch.equal(start[i], given[i] if i < 2 * count else before[i])
    x = torch.rand(5, 2)
    assert torch.equal(learner.agent.critic.target(x), learner.agent.critic.online(x))
    learner.train(600, episodes=1)
    moved = [not torch.equal(a, b) for a, b in zip(start, layers(learner), strict=True)]
    assert moved == [not freeze or i >= 2 * count for i in range(6)]
    assert all(torch.equal(a, b) for a, b in zip(given, layers(source), strict=True))


def test_both_learners_of_a_seed_differ_in_the_copied_layers_alone(monkeypatch):
    source = QLearner(robot(0.1, 0.2), CONFIG, seed=5)
    met = []

    def train(self, steps, **options):
        met.append((self.seed, layers(self), steps, options))
        return type("Curve", (), {"steps": np.array([0, steps]), "returns": np.array([0.0, 1.0])})

    monkeypatch.setattr(QLearner, "train", train)
    told = []
    report = transfer(source, robot(0.3, 0.3), steps=100, seeds=[3, 8], watch=lambda *at: told.append(at))
    assert told == [(3, "transfer"), (3, "scratch"), (8, "transfer"), (8, "scratch")]
    assert [m[0] for m in met] == [3, 3, 8, 8]
    assert all(m[2:] == (100, {"evaluate_every": 10, "episodes": 20}) for m in met)
    for pair in (met[:2], met[2:]):
        same = [torch.equal(a, b) for a, b in zip(pair[0][1], pair[1][1], strict=True)]
        assert same == [False] * 4 + [True] * 2
    assert not torch.equal(met[1][1][0], met[3][1][0])
    assert report.layers == 2
    assert report.threshold == 0.5


def test_report_of_known_curves():
    steps = np.array([0, 10, 20])
    curves = np.array([[2.0, 4.0, 6.0], [4.0, 4.0, 8.0], [3.0, 5.0, 5.0]])
    scratch = np.array([[0.0, 2.0, 6.0], [1.0, 1.0, 3.0], [2.0, 6.0, 6.0]])
    measures = stats.transfer_report(curves, scratch, steps, threshold=5.0)
    report = TransferReport(2, True, steps, curves, scratch, 5.0, measures)
    rows = {row["measure"]: row for row in report.rows()}
    assert rows["jump_start"]["value"] == pytest.approx((2 + 3 + 1) / 3)
    gains = [(2 + 4 + 4 + 6) / 4 - (0 + 2 + 2 + 6) / 4, (4 + 4 + 4 + 8) / 4 - 1.5, 18 / 4 - 20 / 4]
    assert rows["auc_gain"]["value"] == pytest.approx(np.mean(gains))
    low, high = stats.bootstrap_interval(stats.mean, np.array(gains)[:, None])
    assert (rows["auc_gain"]["low"], rows["auc_gain"]["high"]) == (low, high)
    assert rows["time_to_threshold"] == {"measure": "time_to_threshold", "value": 20.0, "reached": 3, "seeds": 3}
    assert rows["scratch_time_to_threshold"]["value"] == 20.0
    assert rows["scratch_time_to_threshold"]["reached"] == 2
    text = report.text()
    assert text.startswith("2 layers copied and frozen, 3 seeds, threshold 5")
    assert "jump start                          2  [1, 3]" in text
    assert "(2 of 3 seeds)" in text
    with pytest.raises(ValueError, match="measure is 'time_to_threshold'; must be one of 'jump_start'"):
        report.interval("time_to_threshold")


def test_a_source_that_knows_the_task_starts_ahead():
    """The destination is the source's own task: with all layers the first point is the source's return."""
    source = QLearner(robot(0.3, 0.2), CONFIG, seed=1)
    source.train(5000, episodes=2)
    known = source.evaluate(episodes=1)[0]
    report = transfer(source, robot(0.3, 0.2), layers="all", freeze=False, steps=400, seeds=range(3), episodes=2)
    np.testing.assert_allclose(report.curves[:, 0], known, rtol=1e-6)
    mean, low, _ = report.interval("jump_start")
    assert mean > low > 5
    assert report.curves.shape == report.scratch.shape == (3, 11)
    assert (report.measures.time_to_threshold == 0).all()


def test_mistakes_are_named():
    source = QLearner(robot(0.1, 0.2), CONFIG)
    goal = robot(0.3, 0.3)
    for options, message in (
        ({"layers": 4}, r"layers=4: must be 'trunk', 'all' or a number in \[1, 3\]"),
        ({"layers": "head"}, "layers='head': must be 'trunk', 'all'"),
        ({"config": DoubleDQNConfig(hidden=(17, 12))}, r"layer 1 of '\(0.1, 0.2\)' has weights \(2, 16\), that of"),
        ({"layers": 3, "freeze": True}, "nothing is left to train"),
    ):
        with pytest.raises(ConfigError, match=message):
            transfer(source, goal, steps=50, seeds=[0], **options)
    with pytest.raises(ConfigError, match=r"layer 1 of '\(0.1, 0.2\)' has weights \(2, 16\), that of 'pole' \(4, 16\)"):
        transfer(source, Task("pole", "CartPole-v1"), steps=50, seeds=[0])
    with pytest.raises(ConfigError, match=r"'ensemble' \(bootdqn\) is not one network"):
        transfer(QLearner(goal, BootstrappedDQNConfig(members=2), name="ensemble"), goal)
    for seeds in ([], [1, 1]):
        with pytest.raises(ValueError, match="must hold at least one, and each once"):
            transfer(source, goal, seeds=seeds)
