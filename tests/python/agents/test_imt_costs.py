"""What a run of IMT keeps: what its configuration says against learners that were really made and trained."""

import dataclasses

import numpy as np
import pytest

from metarl_core.agents import resolve_config
from metarl_core.agents.imt.costs import Costs, PlannedCosts, learner_costs
from metarl_core.agents.imt.run import _make_learner
from metarl_core.agents.imt.updates import AloneUpdates, SubmodelUpdates
from metarl_core.reproduce import find_experiment

SMALL = ["env_tasks=4", "val_tasks=0", "test_tasks=5", "hidden=16,12", "predictor_hidden=9", "reference_steps=400"]
SMALL += ["embedding_features=8", "pretrain_updates=2", "rounds=2", "steps_per_round=100", "submodel_updates=2"]
SMALL += ["head_updates=2", "batch_size=16", "tolerance=0"]
CURIOUS = ["exploration=curiosity", "critic_heads=3", "signal_members=2", "signal_hidden=8", "atoms=11"]
CURIOUS += ["scale_rewards=false", "z_min=-200", "z_max=1"]


def trained(updates):
    return sum(p.numel() for group in updates.optimizer.param_groups for p in group["params"])


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("PointRobot-v0", []),
        ("PointRobot-v0", ["sharing=none"]),
        ("PointRobot-v0", ["replay_capacity=500"]),
        ("PointRobot-v0", ["replay_capacity=700", "preset=as_written"]),
        ("PointRobot-v0", CURIOUS),
        ("PointRobot-v0", [*CURIOUS, "sharing=none", "kappa=0", "shaping=false"]),
        ("DeepSea-v0", ["size=5", "one_hot_obs=true", *CURIOUS]),
        ("FrozenLake-v1", []),
        ("MiniGrid-DoorKey-5x5-v0", ["sharing=none", "reference_steps=4000"]),
    ],
)
def test_planned_costs_are_those_of_a_trained_learner(env_id, options):
    config = resolve_config("imt", env_id, None, [*SMALL, *options])
    learner, _ = _make_learner(config)
    planned = PlannedCosts(config)
    assert planned.after(learner.environment_steps) == learner_costs(learner), "before anything is played"
    learner.train()
    found = learner_costs(learner)
    assert planned.after(learner.environment_steps) == planned.after() == found
    alone, hyper = config.hyperparameters.sharing == "none", config.hyperparameters
    # What the optimisers of a round hold, and the common trunk, which is averaged.
    expected = trained(AloneUpdates(learner) if alone else SubmodelUpdates(learner))
    if not alone:
        expected += sum(p.numel() for p in learner.models.common.parameters())
    stored = 0
    if learner.curiosity is not None:
        signal = learner.curiosity.signal
        priors = list(learner.models.prior_net.parameters())
        if hyper.kappa > 0 or hyper.shaping:  # else nothing asks the signal networks
            expected += sum(p.numel() for group in learner.curiosity.optimizer.param_groups for p in group["params"])
            priors += signal.prior_net.parameters()
        stored += sum(p.nelement() * p.element_size() for p in priors)
    for dataset in (*learner.datasets, *learner.held_out_datasets):
        stored += sum(column.nbytes for column in dataset._columns.values())
    for replay in {id(r): r for r in (learner.replay, learner.tuning_replay)}.values():
        stored += sum(np.asarray(column).nbytes for column in replay.state_dict()["columns"].values())
    assert found == Costs(expected, stored)
    assert found.all_bytes == 4 * expected + stored
    learner.close()


def test_by_hand():
    """Point robots: 2 numbers, 9 actions."""
    options = ["env_tasks=4", "hidden=16,12", "predictor_hidden=9", "embedding_features=8", "reference_steps=400"]
    trunk, head, predictor = 3 * 16 + 17 * 12, 13 * 9, (2 * 12 + 9 + 1 + 1) * 9 + 10 * 16
    config = resolve_config("imt", "PointRobot-v0", None, options)
    # Recorded: two observations and an action of 2 floats, reward, episode, two flags; replayed: numbers of actions.
    recorded, row = 4 * 400 * (2 * 8 + 8 + 8 + 8 + 2), 2 * 8 + 8 + 4 + 1 + 4
    assert PlannedCosts(config).after(4 * 400 + 4 * 100) == Costs(
        5 * trunk + 4 * (head + predictor), recorded + 4 * 100 * row
    )
    config = resolve_config("imt", "PointRobot-v0", None, [*options, "sharing=none", "replay_capacity=250"])
    assert PlannedCosts(config).after(4 * 400 + 4 * 100) == Costs(4 * (trunk + head), recorded + 250 * row)


def test_the_control_of_equal_bytes_has_nearly_as_many():
    """imt-routing says that its larger networks of their own have as many weights as IMT."""
    cells = {cell.key[:3]: cell.config for cell in find_experiment("imt-routing").cells}
    for (method, *task), config in cells.items():
        if method == "imt":
            ours = PlannedCosts(config).after()
            large = PlannedCosts(cells[("independent-large", *task)]).after()
            assert large.stored_bytes == ours.stored_bytes
            assert large.all_bytes == pytest.approx(ours.all_bytes, rel=0.05)


def test_seeds_cost_the_same():
    config = resolve_config("imt", "CartPole-v1", None, SMALL)
    other = dataclasses.replace(config, seed=5, env_tasks_seed=7)
    assert PlannedCosts(config).after() == PlannedCosts(other).after()
