"""CDER's loss against a plain float64 NumPy computation, and its switches."""

import numpy as np
import pytest
import torch

from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.learner import CderAgent
from metarl_core.agents.common.options import ConfigError

B, D, A = 6, 4, 3


def make_agent(preset="corrected", **options):
    settings = {"members": 3, "signal_members": 2, "hidden": (8,), "signal_hidden": (8,), "atoms": 11, "lr": 1e-3}
    return CderAgent(CderConfig.from_preset(preset, **{**settings, **options}), D, A, num_envs=2, seed=0)


def make_batch(agent, seed=0):
    g = torch.Generator().manual_seed(seed)
    batch = {
        "obs": torch.randn(B, D, generator=g),
        "next_obs": torch.randn(B, D, generator=g),
        "action": torch.randint(A, (B,), generator=g),
        "reward": torch.rand(B, generator=g) - 0.5,
        "terminated": torch.tensor([0.0, 1, 0, 0, 1, 0]),
    }
    if agent.config.mask_probability < 1:
        batch["mask"] = torch.randint(2, (B, agent.config.members), generator=g, dtype=torch.uint8)
    if agent.config.bonus_visits == "first":
        batch["first_visit"] = torch.tensor([True, True, False, True, False, False])
    if agent.config.n_step > 1:
        batch["n_obs"] = torch.randn(B, D, generator=g)
        batch["n_return"] = torch.rand(B, generator=g)
        batch["n_discount"] = torch.tensor([0.9, 0, 0.8, 0.9, 0, 0.5])
    if agent.path_columns():
        shape = (B, agent.config.n_step - 1)
        batch["path_obs"] = torch.randn(*shape, D, generator=g)
        batch["path_action"] = torch.randint(A, shape, generator=g)
        batch["path_mu"] = 0.2 + 0.8 * torch.rand(shape, generator=g)
        batch["path_length"] = torch.tensor([2, 0, 1, 2, 1, 2])
    weights = torch.rand(B, generator=g)
    return batch, weights / weights.sum()


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def oracle(agent, batch, weights):
    """Critic loss, priorities and signal loss, written out member by member."""
    c = agent.config
    b = {name: array(column.float()) for name, column in batch.items()}
    action, alive = b["action"].astype(int), 1 - b["terminated"]

    def q(net, x):
        return np.stack(
            [
                array(
                    net.member(k, x) + (c.prior_scale * agent.critic.prior_net.net.member(k, x) if c.prior_scale else 0)
                )
                for k in range(c.members)
            ]
        )

    def signal_logits(net, x):
        scale, prior = c.signal_prior_scale, agent.signal.prior_net
        return np.stack(
            [
                array(net.member(e, x) + (scale * prior.net.member(e, x) if scale else 0))
                for e in range(c.signal_members)
            ]
        )

    def means(x):
        logits = signal_logits(agent.signal.target, x)
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        atoms = np.linspace(c.z_min, c.z_max, c.atoms)
        mean = p @ atoms
        return mean, (p * (atoms - mean[..., None]) ** 2).sum(-1)

    phi, variance = means(batch["obs"])
    next_phi, next_variance = means(batch["next_obs"])

    def bonus(mean, variance, states):
        return {
            "epistemic": mean.std(0),
            "aleatoric": np.sqrt(variance.mean(0)),
            "q_epistemic": q(agent.critic.target, states).max(-1).std(0),
            "none": np.zeros(B),
        }[c.bonus]

    beta = bonus(next_phi, next_variance, batch["next_obs"])
    if c.novelty_alpha:
        beta = np.maximum(beta - c.novelty_alpha * bonus(phi, variance, batch["obs"]), 0)
        assert beta.min() == 0 < beta.max()
    if c.bonus_visits == "first":
        beta = beta * np.array([1, 1, 0, 1, 0, 0])
    if c.normalize_bonus:
        beta = beta * agent.bonus_scale.factor
    if c.reward_form == "corrected":
        beta = beta * alive
    reward, discount, far, far_phi = b["reward"], c.gamma * alive, batch["next_obs"], next_phi
    if c.critic_n_step:
        reward, discount, far, far_phi = b["n_return"], b["n_discount"], batch["n_obs"], means(batch["n_obs"])[0]
    shaped = c.kappa * beta
    if c.reward_form == "corrected":
        shaped = shaped + reward
    if c.shaping and c.reward_form == "corrected":
        shaped = shaped + discount * far_phi.mean(0) - phi.mean(0)
    if c.shaping and c.reward_form == "intended":
        shaped = shaped + next_phi.mean(0) - phi.mean(0)
    chosen = q(agent.critic.online, far).argmax(-1)
    bootstrap = np.take_along_axis(q(agent.critic.target, far), chosen[..., None], -1)[..., 0]
    target = shaped + discount * bootstrap
    if c.target_bonus:
        target = target + c.kappa * beta
    delta = q(agent.critic.online, batch["obs"])[:, np.arange(B), action] - target
    mask = b["mask"].T if "mask" in b else 1.0
    rho = np.ones((c.members, B))
    if c.importance_ratios == "truncated":
        for k in range(c.members):
            for j in range(B):
                for i in range(int(b["path_length"][j])):
                    values = q(agent.critic.online, batch["path_obs"][j, i : i + 1])[k, 0]
                    pi = float(values.argmax() == b["path_action"][j, i])
                    rho[k, j] *= min(c.rho_max, pi / b["path_mu"][j, i])
    loss = (array(weights) * (mask * rho * delta**2).sum(0)).sum()
    if c.double_normalization:
        loss /= B
    if c.signal_bootstrap == "none":
        returns = b["n_return"] if c.n_step > 1 else b["reward"]
    elif c.n_step > 1:
        tail = means(batch["n_obs"])[0]
        returns = b["n_return"] + b["n_discount"] * (tail if c.signal_bootstrap == "own" else tail.mean(0))
    else:
        returns = b["reward"] + c.gamma * alive * (next_phi if c.signal_bootstrap == "own" else next_phi.mean(0))
    returns = np.broadcast_to(returns, (c.signal_members, B))
    logits = signal_logits(agent.signal.online, batch["obs"])
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    atoms = np.linspace(c.z_min, c.z_max, c.atoms)
    cross = 0.0
    for e in range(c.signal_members):
        for j in range(B):
            g = np.clip(returns[e, j], c.z_min, c.z_max)
            two_hot = np.maximum(0, 1 - np.abs(atoms - g) / (atoms[1] - atoms[0]))
            cross -= float(weights[j]) * (two_hot * log_p[e, j]).sum()
    return loss, np.abs(rho * delta).mean(0), cross


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bonus": "aleatoric"},
        {"bonus": "q_epistemic"},
        {"bonus": "none"},
        {"shaping": False},
        {"mask_probability": 1.0},
        {"n_step": 3},
        {"n_step": 3, "critic_n_step": True},
        {"n_step": 3, "signal_bootstrap": "shared"},
        {"signal_bootstrap": "shared", "kappa": 2.0, "gamma": 0.8},
        {"signal_bootstrap": "none"},
        {"signal_bootstrap": "none", "n_step": 3},
        {"reward_form": "intended"},
        {"reward_form": "intended", "shaping": False},
        {"reward_form": "as_written", "bonus": "aleatoric"},
        {"target_bonus": True},
        {"double_normalization": True},
        {"normalize_bonus": True},
        {"bonus_visits": "first", "kappa": 2.0},
        {"novelty_alpha": 0.5, "kappa": 2.0, "n_step": 3, "critic_n_step": True},
        {"novelty_alpha": 1.0, "kappa": 2.0, "bonus": "q_epistemic"},
        {"novelty_alpha": 1.0, "kappa": 2.0, "bonus": "aleatoric", "normalize_bonus": True},
        {"bonus_visits": "first", "kappa": 2.0, "normalize_bonus": True, "n_step": 3, "critic_n_step": True},
        {"n_step": 3, "critic_n_step": True, "importance_ratios": "truncated"},
        {"n_step": 3, "critic_n_step": True, "importance_ratios": "truncated", "rho_max": 3.0, "members": 6},
        {"preset": "as_written", "members": 2, "imagined": False, "n_step": 1},
        {"preset": "as_written", "n_step": 3},
        {"preset": "intended", "n_step": 3},
    ],
    ids=str,
)
def test_the_loss_against_numpy(options):
    agent = make_agent(**options)
    if agent.config.normalize_bonus:
        agent.bonus_scale.update(np.array([0.2, 0.9]))
        assert abs(agent.bonus_scale.factor - 1) > 0.5
    with torch.no_grad():  # targets that differ from the online networks
        for module in (agent.critic.target, agent.signal.target):
            for p in module.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(7)))
    batch, weights = make_batch(agent)
    loss, errors = agent.losses(batch, weights, collect=True)
    critic_loss, priorities, signal_loss = oracle(agent, batch, weights)
    assert agent.stats["loss"] == pytest.approx(critic_loss, rel=1e-4)
    assert agent.stats["signal_loss"] == pytest.approx(signal_loss, rel=1e-4)
    assert loss.item() == pytest.approx(critic_loss + signal_loss, rel=1e-4)
    np.testing.assert_allclose(errors.numpy(), priorities, rtol=1e-4, atol=1e-5)


def test_a_masked_head_learns_nothing_from_the_transition():
    agent = make_agent()
    batch, weights = make_batch(agent)
    batch["mask"][:] = 1
    batch["mask"][:, 1] = 0
    before = [p.detach().clone() for p in agent.critic.online.parameters()]
    agent.learn(batch, weights, 0, collect=False)
    moved = [(p - q).detach() for p, q in zip(agent.critic.online.parameters(), before, strict=True)]
    first = moved[0].view(D, 3, 8)
    assert first[:, 1].abs().sum() == 0
    assert moved[1][1].abs().sum() == 0
    assert first[:, 0].abs().sum() > 0
    assert moved[1][2].abs().sum() > 0


def test_masks_are_drawn_with_their_probability():
    agent = make_agent(mask_probability=0.3)
    mask = agent.extra_columns(20_000)["mask"]
    assert mask.shape == (20_000, 3)
    assert mask.dtype == np.uint8
    assert abs(mask.mean() - 0.3) < 4 * (0.21 / mask.size) ** 0.5
    assert make_agent(mask_probability=1.0).extra_columns(4) == {}


def test_weights_scale_each_transition():
    agent = make_agent(optimizer="sgd", momentum=0.0)
    batch, _ = make_batch(agent)
    only_first = torch.zeros(B)
    only_first[0] = 1
    loss, _ = agent.losses(batch, only_first, collect=True)
    single = {name: column[:1] for name, column in batch.items()}
    alone, _ = agent.losses(single, torch.ones(1), collect=True)
    assert loss.item() == pytest.approx(alone.item(), rel=1e-5)


def test_priors_stay_fixed_while_everything_else_learns():
    agent = make_agent(optimizer="adam")
    state = {(n, k): v.clone() for n, m in agent.modules().items() for k, v in m.state_dict().items() if "prior" in k}
    assert len(state) >= 8
    batch, weights = make_batch(agent)
    before = agent.critic.online.weights[0].detach().clone()
    for step in range(20):
        agent.learn(batch, weights, step, collect=False)
    after = {(n, k): v for n, m in agent.modules().items() for k, v in m.state_dict().items() if "prior" in k}
    for name, value in state.items():
        assert torch.equal(value, after[name])
    assert not torch.equal(before, agent.critic.online.weights[0])


def test_hard_target_is_copied_on_schedule():
    agent = make_agent(target_period=3)
    batch, weights = make_batch(agent)
    same = []
    for step in range(6):
        agent.learn(batch, weights, step, collect=False)
        same.append(torch.equal(agent.critic.target.weights[0], agent.critic.online.weights[0]))
    assert same == [False, False, True, False, False, True]


def test_evaluation_by_the_best_head():
    agent = make_agent(evaluation="best")
    x = torch.randn(50, D, generator=torch.Generator().manual_seed(0))
    agent.policy.head_returns = np.array([-3.0, 5.0, 1.0])
    np.testing.assert_array_equal(agent.greedy(x), agent.critic(x)[1].argmax(1).numpy())
    other = make_agent(evaluation="best")
    other.load_modules(agent.state_dict())
    np.testing.assert_array_equal(agent.greedy(x), other.greedy(x))
    with pytest.raises(ConfigError, match="evaluation='best'"):
        make_agent(evaluation="best", behaviour="ucb")
