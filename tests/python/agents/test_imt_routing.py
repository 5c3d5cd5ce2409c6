"""The choice of the weights by leaving one known task out, on values that are known, and in the learners."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from metarl_core.agents.continual import ContinualConfig
from metarl_core.agents.imt import ImtConfig, ImtLearner
from metarl_core.agents.imt.aggregation import aggregate_actions, weight_soup
from metarl_core.agents.imt.mixture import affine_weights, mixture_weights
from metarl_core.agents.imt.routing import (
    RULES,
    Rule,
    choice_states,
    fixed_rule,
    leave_one_out_rule,
    left_out_weights,
    routing_rule,
)
from metarl_core.errors import ConfigError

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
    """Task 0 is worth 3, the others 300: as shares count, task 0 lost weighs as much as another."""
    values = torch.tensor([3.0, 0.0, 0.0]).repeat(4, 1, 1) * torch.tensor([1.0, 100, 100, 100]).view(4, 1, 1)
    wrong = [[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0], *[[1, 1, 1, 1]] * 3]
    asked = []

    def act(weights):
        asked.append(weights)
        return torch.tensor(wrong[len(asked) - 1]).view(4, 1)

    assert leave_one_out_rule(goals(4), values, act) == RULES[2]
    assert len(asked) == len(RULES) == len(wrong)
    np.testing.assert_array_equal(asked[5], left_out_weights(RULES[5], goals(4)))


def test_tasks_whose_actions_are_alike_do_not_decide():
    alike = torch.full((1, 3), 1000.0)
    alike[0, 2] -= 6e-5
    values = torch.cat([alike.repeat(3, 1, 1), torch.tensor([[[1.0, 0.0, 0.0]]])])
    asked = []

    def act(_):
        asked.append(None)
        return torch.tensor([[0], [0], [0], [1]]) if len(asked) != 4 else torch.tensor([[2], [2], [2], [0]])

    assert leave_one_out_rule(goals(4), values, act) == RULES[3]


def test_states_are_taken_evenly():
    assert list(range(5))[choice_states(5)] == list(range(5))
    rows = list(range(1300))[choice_states(1300)]
    assert len(rows) == 512
    assert rows[:3] == [0, 2, 4]
    assert len(list(range(4096))[choice_states(4096)]) == 512


def test_what_is_fixed():
    assert fixed_rule("affine", 2, 0.5) == Rule("affine", 0.5)
    assert fixed_rule("leave_one_out", 3, 0.5) == Rule("mixture", 0.5)
    assert fixed_rule("leave_one_out", 4, 0.5) is None


@pytest.mark.parametrize("aggregation", ["soup", "weighted", "vote", "best"])
def test_the_learner_asks_its_submodels(aggregation):
    rng = np.random.default_rng(0)
    tasks = {name: rng.uniform(-0.8, 0.8, 5) for name in ("goal_x", "goal_y")}
    with ImtLearner("PointRobot-v0", tasks, ImtConfig(**SMALL, aggregation=aggregation), seed=3) as learner:
        learner.train()
        before = {name: value.clone() for name, value in learner.models.state_dict().items()}
        rule = routing_rule(learner, "leave_one_out", aggregation)
        assert rule in RULES
        new = learner.adapt({"goal_x": np.array([0.9]), "goal_y": np.array([-0.9])}, seed=5)
        assert new.rule == str(rule)
        np.testing.assert_array_equal(new.weights[:, 0], rule.weights(new.vectors[0], learner._known))
        for name, value in learner.models.state_dict().items():
            assert torch.equal(value, before[name])
        for routing, function in (("mixture", mixture_weights), ("affine", affine_weights)):
            found = learner.reweigh(new, routing)
            expected = function(new.vectors[0], learner._known, learner.config.mixture_ridge)
            np.testing.assert_array_equal(found.weights[:, 0], expected)
            assert found.rule == f"{routing}, ridge 0.001"
        assert learner.reweigh(new, "similarity").rule == "similarity"
        with pytest.raises(ConfigError, match="routing='bogus'"):
            learner.reweigh(new, "bogus")


def test_the_choice_plays_what_the_learner_would_play():
    """Against a loop over rules and tasks with the functions that play."""
    rng = np.random.default_rng(4)
    tasks = {name: rng.uniform(-0.8, 0.8, 5) for name in ("goal_x", "goal_y")}
    with ImtLearner("PointRobot-v0", tasks, ImtConfig(**SMALL), seed=3) as learner:
        learner.train()
        models, obs = learner.models, learner.reference.obs[:, choice_states(learner.reference.shape[1])]
        for how in ("soup", "weighted", "vote"):
            regrets = []
            for rule in RULES:
                weights = left_out_weights(rule, learner._known)
                shares = []
                for i, states in enumerate(obs):
                    with torch.no_grad():
                        if how == "soup":
                            actions = weight_soup(models, weights[:, i])(states[None])[0].argmax(dim=1)
                        else:
                            actions = aggregate_actions(models.q(models.rows_for_all(states)), weights[:, i], how)
                        q = models.q(obs)[i].double()
                    lost = q.max(dim=1).values - q.gather(1, actions[:, None])[:, 0]
                    shares.append(float(lost.mean() / (q.max(dim=1).values - q.mean(dim=1)).mean()))
                regrets.append(np.mean(shares))
            chosen_here = routing_rule(learner, "leave_one_out", how)
            assert regrets[RULES.index(chosen_here)] == pytest.approx(min(regrets), rel=1e-3)


def test_three_tasks_are_too_few_to_leave_one_out():
    tasks = {name: np.array([0.5, -0.5, 0.2]) for name in ("goal_x", "goal_y")}
    with ImtLearner("PointRobot-v0", tasks, ImtConfig(**SMALL, mixture_ridge=0.05), seed=3) as learner:
        assert routing_rule(learner, "leave_one_out", "soup") == Rule("mixture", 0.05)


def test_both_kinds_of_runs_choose_by_default():
    assert ImtConfig().routing == ContinualConfig().routing == "leave_one_out"
    assert ImtConfig.from_preset("as_written").routing == "similarity"
