"""The choice of the weights by leaving one known task out, on values that are known, and in the learners."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from metarl_core.agents.continual import ContinualConfig
from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.agents.imt.mixture import affine_weights, mixture_weights
from metarl_core.agents.imt.routing import RULES, Rule, leave_one_out_rule, left_out_weights, routing_rule

SMALL = {
    "hidden": (16,),
    "predictor_hidden": (16,),
    "embedding_features": 16,
    "reference_steps": 600,
    "pretrain_updates": 5,
    "submodel_updates": 20,
    "head_updates": 20,
    "steps_per_round": 64,
    "rounds": 1,
}


def goals(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 2))


def test_weights_of_a_task_are_by_the_others_alone():
    known = goals(6)
    for rule in RULES:
        weights = left_out_weights(rule, known)
        np.testing.assert_array_equal(np.diag(weights), 0)
        np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-12)
        others = np.delete(known, 2, axis=0)
        centre = others.mean(axis=0)
        expected = rule.weights(known[2] - centre, others - centre)
        np.testing.assert_allclose(np.delete(weights[:, 2], 2), expected, atol=1e-12)


def chosen(known, values_of):
    """The rule for networks whose values are combined as their tasks' are."""
    each = torch.stack([torch.from_numpy(values_of(task)) for task in known])  # [K, B, A]
    return leave_one_out_rule(
        known, each, lambda weights: torch.einsum("ki,kba->iba", torch.from_numpy(weights), each).argmax(dim=2)
    )


def test_where_values_are_linear_in_the_task_negative_weights_are_chosen():
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(200, 5, 2))  # of every state and action
    assert chosen(goals(8), lambda goal: directions @ goal) == Rule("affine", 1e-3)


def test_where_they_are_not_none_are():
    rng = np.random.default_rng(2)
    places, known = rng.uniform(-1, 1, size=(400, 5, 1)), np.linspace(-1, 1, 9)[:, None] ** 3

    def values(task):
        return np.cos(9 * (places[..., 0] - task[0]))

    assert chosen(known, values).name == "mixture"


def test_equally_good_rules_are_told_apart_by_their_order_alone():
    values = torch.zeros(5, 10, 3)
    assert leave_one_out_rule(goals(5), values, lambda weights: torch.zeros(5, 10, dtype=torch.int64)) == RULES[0]
    assert str(RULES[0]) == "mixture, ridge 0.001"


def test_the_regret_by_hand():
    """Task 0 loses 1 of the 2 that uniform actions lose, whichever the rule; the rest decides."""
    values = torch.tensor([[[3.0, 0.0, 0.0]]]).repeat(4, 1, 1)
    asked = []

    def act(weights):
        asked.append(weights)
        return torch.tensor([[1], [0], [0], [0]]) if len(asked) == 3 else torch.tensor([[1], [1], [0], [0]])

    assert leave_one_out_rule(goals(4), values, act) == RULES[2]
    assert len(asked) == len(RULES)


@pytest.mark.parametrize("aggregation", ["soup", "weighted", "vote", "best"])
def test_the_learner_asks_its_submodels(aggregation):
    rng = np.random.default_rng(0)
    tasks = {name: rng.uniform(-0.8, 0.8, 5) for name in ("goal_x", "goal_y")}
    with ImtLearner("PointRobot-v0", tasks, ImtConfig(**SMALL, aggregation=aggregation), seed=3) as learner:
        learner.train()
        before = {name: value.clone() for name, value in learner.models.state_dict().items()}
        rule = routing_rule(learner, learner._known, "leave_one_out")
        assert rule in RULES
        new = learner.adapt({"goal_x": np.array([0.9]), "goal_y": np.array([-0.9])}, seed=5)
        dataset = learner.reference_policy.record_all(new.tasks, 600, 5, None)[0]
        expected = rule.weights(learner.embedding.vector(dataset), learner._known)
        np.testing.assert_array_equal(new.weights[:, 0], expected)
        for name, value in learner.models.state_dict().items():
            assert torch.equal(value, before[name])
        vector = learner.embedding.vector(dataset)
        for routing, function in (("mixture", mixture_weights), ("affine", affine_weights)):
            found = learner.adapt(new.tasks, seed=5, routing=routing).weights[:, 0]
            np.testing.assert_array_equal(found, function(vector, learner._known, learner.config.mixture_ridge))


def test_three_tasks_are_too_few_to_leave_one_out():
    tasks = {name: np.array([0.5, -0.5, 0.2]) for name in ("goal_x", "goal_y")}
    with ImtLearner("PointRobot-v0", tasks, ImtConfig(**SMALL, mixture_ridge=0.05), seed=3) as learner:
        assert routing_rule(learner, learner._known, "leave_one_out") == Rule("mixture", 0.05)


def test_both_kinds_of_runs_choose_by_default():
    assert ImtConfig().routing == ContinualConfig().routing == "leave_one_out"
    assert ImtConfig.from_preset("as_written").routing == "similarity"
