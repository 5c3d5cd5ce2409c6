"""The scale of the intrinsic reward: the standard deviation of its discounted sum over everything seen."""

import numpy as np
import pytest
import torch

from metarl_core.agents import resolve_config
from metarl_core.agents.cder.bonus_scale import BonusScale
from metarl_core.agents.loop import Trainer
from metarl_core.runs import RunWriter


@pytest.mark.parametrize("num_envs", [1, 5])
def test_the_running_deviation_against_all_sums_at_once(num_envs):
    rng = np.random.default_rng(0)
    bonus = rng.exponential(size=(300, num_envs)) * np.linspace(5, 0.1, 300)[:, None]
    scale = BonusScale(0.97, num_envs)
    sums, now = [], np.zeros(num_envs)
    for t, row in enumerate(bonus):
        now = 0.97 * now + row
        sums.append(now)
        scale.update(row)
        if t == 150:
            other = BonusScale(0.97, num_envs)
            other.load_state_dict(scale.state_dict())
            scale = other
    assert scale.factor == pytest.approx(1 / np.std(np.array(sums)), rel=1e-10)
    assert scale.mean == pytest.approx(np.mean(sums), rel=1e-10)


def test_nothing_is_scaled_before_anything_varied():
    scale = BonusScale(0.9, 2)
    assert scale.factor == 1.0
    scale.update(np.zeros(2))
    assert scale.factor == 1.0


@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_the_loop_feeds_it_and_the_learner_uses_it(tmp_path, alpha):
    """Every step of every instance is counted, and the paid bonus is kappa beta(s') / std, 0 at termination."""
    options = ["size=5", "total_steps=400", "learning_starts=64", "hidden=8", "signal_hidden=8", "log_interval=40"]
    config = resolve_config("cder", "DeepSea-v0", None, [*options, "normalize_bonus=true", f"novelty_alpha={alpha}"])
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        by_hand = BonusScale(0.99, 4)
        for _ in range(30):
            before = trainer.agent.bonus(torch.from_numpy(trainer.encoded).long()).numpy()
            trainer.act()
            now = trainer.agent.bonus(torch.from_numpy(trainer.encoded).long()).numpy()
            # Every fifth step ends all episodes: beta is 0 there.
            by_hand.update(np.maximum(now - alpha * before, 0) * (trainer.step % 20 != 0))
        seen = trainer.agent.bonus_scale
        assert seen.count == trainer.step == 120
        assert seen.factor == pytest.approx(by_hand.factor, rel=1e-6)
        assert seen.factor > 1.0  # bonuses of a fresh ensemble are far below 1
        batch = trainer.replay.sample(64, beta=0.4)
        columns = {name: torch.from_numpy(batch[name]) for name in trainer._columns}
        columns["obs"], columns["next_obs"] = columns["obs"].long(), columns["next_obs"].long()
        columns["terminated"] = columns["terminated"].float()
        weights = torch.from_numpy(batch.weights)
        trainer.agent.losses(columns, weights, collect=True)
        raw = trainer.agent.bonus(columns["next_obs"]) - alpha * trainer.agent.bonus(columns["obs"])
        raw = raw.clamp(min=0) * (1 - columns["terminated"])
        paid = 0.3 * float(raw.mean()) * seen.factor
        assert trainer.agent.stats["intrinsic_reward_mean"] == pytest.approx(paid, rel=1e-4)
        assert trainer.agent.stats["bonus_factor"] == seen.factor
        trainer.envs.close()
