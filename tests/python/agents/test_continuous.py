"""CDER with continuous actions: formulas against float64 NumPy, and what must hold of every action."""

import itertools

import numpy as np
import pytest
import torch

from metarl_core.agents.cder.continuous import ContinuousCderAgent, take_candidates
from metarl_core.agents.cder.continuous_config import ContinuousCderConfig
from metarl_core.agents.cder.proposal import (
    EDGE,
    Mixture,
    Proposal,
    draw_noise,
    log_likelihood,
    proposal_loss,
    squash_noise,
)
from metarl_core.agents.common.action_critic import ActionCritic, candidate_values, member_values
from metarl_core.agents.common.actions import BoxActions, action_field, actions_of
from metarl_core.agents.common.options import ConfigError
from metarl_core.vector.spaces import Box, Discrete, MultiDiscrete

B, D = 6, 4
LOW, HIGH = np.array([-2.0, 0.0], np.float32), np.array([2.0, 0.5], np.float32)
ACTIONS = BoxActions(LOW, HIGH)


def make_agent(num_envs=2, seed=0, actions=ACTIONS, **options):
    settings = {
        "members": 3,
        "signal_members": 2,
        "hidden": (8, 7),
        "signal_hidden": (8,),
        "proposal_hidden": (8,),
        "atoms": 11,
        "lr": 1e-3,
        "candidates": 9,
        "acting_candidates": 12,
    }
    return ContinuousCderAgent(ContinuousCderConfig(**{**settings, **options}), D, actions, num_envs, seed)


def make_batch(agent, seed=0):
    g = torch.Generator().manual_seed(seed)
    unit = torch.rand(B, 2, generator=g) * 2 - 1
    batch = {
        "obs": torch.randn(B, D, generator=g),
        "next_obs": torch.randn(B, D, generator=g),
        "action": torch.from_numpy(ACTIONS.from_unit(unit.numpy())),
        "reward": torch.rand(B, generator=g) - 0.5,
        "terminated": torch.tensor([0.0, 1, 0, 0, 1, 0]),
    }
    if agent.config.mask_probability < 1:
        batch["mask"] = torch.randint(2, (B, agent.config.members), generator=g, dtype=torch.uint8)
    if agent.config.n_step > 1:
        batch["n_obs"] = torch.randn(B, D, generator=g)
        batch["n_return"] = torch.rand(B, generator=g)
        batch["n_discount"] = torch.tensor([0.9, 0, 0.8, 0.9, 0, 0.5])
    weights = torch.rand(B, generator=g)
    return batch, weights / weights.sum()


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


# ---------------------------------------------------------------- the action space


def test_unit_coordinates_are_the_box():
    corners = np.array(list(itertools.product((-1, 1), repeat=2)), np.float32)
    expected = [[-2, 0], [-2, 0.5], [2, 0], [2, 0.5]]
    np.testing.assert_array_equal(ACTIONS.from_unit(corners), np.array(expected, np.float32))
    agent = make_agent()
    unit = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    back = agent._unit(torch.from_numpy(ACTIONS.from_unit(unit.numpy())))
    np.testing.assert_allclose(back.numpy(), unit.numpy(), atol=1e-6)


def test_rounding_never_leaves_the_box():
    low, high = np.array([0.1, -1e6], np.float32), np.array([0.7, 3.3], np.float32)
    box = BoxActions(low, high, np.float64)
    unit = np.random.default_rng(0).uniform(-1, 1, (10_000, 2)).astype(np.float32)
    unit[:2] = [[-1, -1], [1, 1]]
    actions = box.from_unit(unit)
    assert actions.dtype == np.float64
    assert (actions >= low).all()
    assert (actions <= high).all()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Box([-1, -np.inf], [1, 1], (2,), np.float32), r"X: action_space.low\[1\] is -inf; must be finite"),
        (Box([-1, -1], [np.inf, 1], (2,), np.float32), r"X: action_space.high\[0\] is inf; must be finite"),
        (Box([-1, 1], [1, 1], (2,), np.float32), r"X: action_space.low\[1\] is 1.0; must be < high\[1\]"),
        (Box(-1, 1, (2, 3), np.float32), r"X has actions of shape \(2, 3\); expected one axis"),
        (Box(-1, 1, (2,), np.int64), r"X has the action space .*; expected Discrete, or a Box of floats"),
        (MultiDiscrete([2, 3]), r"X has the action space MultiDiscrete.*; expected Discrete"),
    ],
    ids=str,
)
def test_action_spaces_that_are_refused(space, message):
    with pytest.raises(ConfigError, match=message) as error:
        actions_of(space, "X")
    assert "\n" not in str(error.value)


def test_action_spaces_that_are_taken():
    assert actions_of(Discrete(5), "X") == 5
    found = actions_of(Box(LOW, HIGH, (2,), np.float64), "X")
    assert (found.size, found.dtype) == (2, np.float64)
    assert action_field(found) == ((2,), np.float32)
    assert action_field(5) == ((), np.int64)


# ---------------------------------------------------------------- the proposal


def made_mixture(states, components, dims, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(components), states)
    means, stds = rng.normal(size=(states, components, dims)), rng.uniform(0.2, 1.5, (states, components, dims))
    tensors = (torch.from_numpy(x.astype(np.float32)) for x in (np.log(weights), means, np.log(stds)))
    return Mixture(*tensors), weights, means, stds


def test_likelihood_against_numpy():
    mixture, weights, means, stds = made_mixture(5, 3, 2)
    actions = np.random.default_rng(1).uniform(-0.999, 0.999, (4, 5, 2))
    found = log_likelihood(mixture, torch.from_numpy(actions.astype(np.float32)))
    expected = np.zeros((4, 5))
    for k in range(4):
        for b in range(5):
            density = 0.0
            for m in range(3):
                part = weights[b, m]
                for d in range(2):
                    a = np.float64(np.float32(actions[k, b, d]))
                    z = (np.arctanh(a) - means[b, m, d]) / stds[b, m, d]
                    part *= np.exp(-0.5 * z**2) / (stds[b, m, d] * np.sqrt(2 * np.pi)) / (1 - a**2)
                density += part
            expected[k, b] = np.log(density)
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-5)


def test_the_density_integrates_to_one():
    mixture, *_ = made_mixture(3, 4, 1)
    grid = torch.tanh(torch.linspace(-12, 12, 200_001, dtype=torch.float64))  # dense where the density is steep
    inside = grid[grid.abs() < 1 - EDGE]
    wide = Mixture(*(part.double() for part in mixture))
    density = log_likelihood(wide, inside.view(-1, 1, 1).expand(-1, 3, 1)).exp().numpy()
    steps = np.diff(inside.numpy())[:, None]
    mass = (steps * (density[1:] + density[:-1]) / 2).sum(axis=0)
    outside = [  # what lies beyond the edge, by the components' normal tails
        sum(
            float(w) * float(torch.special.erfc((np.arctanh(1 - EDGE) - s * m) / std.exp() / 2**0.5)) / 2
            for w, m, std in zip(wide.log_weights[b].exp(), wide.means[b, :, 0], wide.log_stds[b, :, 0], strict=True)
            for s in (1, -1)
        )
        for b in range(3)
    ]
    np.testing.assert_allclose(mass + outside, 1.0, atol=1e-6)


def test_draws_have_the_density_of_the_mixture():
    mixture, *_ = made_mixture(2, 3, 1)
    noise = draw_noise(2, 200_000, 0, 1, torch.Generator().manual_seed(3))
    drawn = squash_noise(mixture, noise.component, noise.normal)[:, :, 0].numpy()
    edges = np.linspace(-1, 1, 21)
    fine = np.tanh(np.linspace(-8, 8, 80_001))
    wide = Mixture(*(part.double() for part in mixture))
    density = log_likelihood(wide, torch.from_numpy(fine).view(-1, 1, 1).expand(-1, 2, 1)).exp().numpy()
    for b in range(2):
        cumulative = np.concatenate(([0], np.cumsum(np.diff(fine) * (density[1:, b] + density[:-1, b]) / 2)))
        expected = np.diff(np.interp(edges, fine, cumulative / cumulative[-1]))
        counts = np.histogram(drawn[b], bins=edges)[0]
        error = np.abs(counts / 200_000 - expected) / np.sqrt(expected * (1 - expected) / 200_000 + 1e-12)
        print("largest deviation in standard errors:", error.max())
        assert error[expected > 1e-3].max() < 5


def test_loss_of_the_proposal_and_its_gradient_point_to_the_best():
    generator = torch.Generator().manual_seed(0)
    proposal = Proposal(D, 2, 3, (16,), generator)
    obs, best = torch.randn(B, D, generator=generator), torch.rand(5, B, 2, generator=generator) * 2 - 1
    weights = torch.rand(B, generator=generator)
    loss = proposal_loss(proposal(obs), best, weights)
    by_hand = -(array(log_likelihood(proposal(obs), best)).mean(0) * array(weights)).sum()
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    # All heads agree: the proposal ends up there.
    target = torch.tensor([0.9, -0.3]).expand(1, B, 2)
    optimizer = torch.optim.Adam(proposal.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        proposal_loss(proposal(obs), target, weights).backward()
        optimizer.step()
    drawn = proposal.candidates(obs, draw_noise(B, 500, 0, 2, generator))
    assert (drawn - target[0, :1]).abs().mean() < 0.1


def test_two_camps_of_heads_become_two_components():
    generator = torch.Generator().manual_seed(1)
    proposal = Proposal(D, 1, 4, (16,), generator)
    obs = torch.randn(B, D, generator=generator)
    best = torch.tensor([-0.8, -0.8, -0.8, 0.8]).view(4, 1, 1).expand(4, B, 1)
    optimizer = torch.optim.Adam(proposal.parameters(), lr=0.01)
    for _ in range(600):
        optimizer.zero_grad()
        proposal_loss(proposal(obs), best, torch.full((B,), 1 / B)).backward()
        optimizer.step()
    drawn = proposal.candidates(obs, draw_noise(B, 2000, 0, 1, generator))
    near = [(drawn - at).abs().lt(0.15).float().mean().item() for at in (-0.8, 0.8)]
    assert near == pytest.approx([0.75, 0.25], abs=0.05)  # Thompson sampling's shares


def test_candidates_are_the_draws_and_then_uniform_ones():
    agent = make_agent(uniform_share=0.5, candidates=1000)
    assert agent.config.split(9) == (5, 4)
    assert [make_agent(uniform_share=share).config.split(8) for share in (0.0, 1.0)] == [(8, 0), (0, 8)]
    noise = agent._noise(3, 1000)
    drawn = agent.pi.candidates(torch.randn(3, D), noise)
    assert drawn.shape == (3, 1000, 2)
    assert drawn.abs().max() <= 1
    np.testing.assert_array_equal(drawn[:, 500:].numpy(), noise.uniform.numpy())
    uniform = drawn[:, 500:].reshape(-1).numpy()
    counts = np.histogram(uniform, bins=10, range=(-1, 1))[0]
    assert np.abs(counts - 300).max() < 5 * (300 * 0.9) ** 0.5


# ---------------------------------------------------------------- the critic


def test_values_of_candidates_against_plain_networks():
    critic = ActionCritic(3, D, 2, (8, 7), 2.0, torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(1)
    obs, actions = torch.randn(B, D, generator=g), torch.rand(B, 5, 2, generator=g) * 2 - 1
    net, prior = critic.online, critic.prior_net.net
    q, own = critic.candidates(obs, actions), member_values(net, obs, actions[:, :3].transpose(0, 1))
    for k, b, c in itertools.product(range(3), range(B), range(5)):
        x = torch.cat((obs[b], actions[b, c])).view(1, -1)
        value = net.member(k, x)
        assert q[k, b, c].item() == pytest.approx((value + 2.0 * prior.member(k, x)).item(), abs=1e-5)
        if c == k:
            assert own[k, b].item() == pytest.approx(value.item(), abs=1e-5)
    together = candidate_values(net, obs, actions)
    joint = torch.cat((obs.unsqueeze(1).expand(-1, 5, -1), actions), dim=2).view(B * 5, -1)
    np.testing.assert_allclose(together.detach().numpy(), net(joint).view(3, B, 5).detach().numpy(), atol=1e-5)


def test_take_candidates():
    candidates = torch.arange(24.0).view(3, 4, 2)
    index = torch.tensor([[0, 1, 2], [3, 3, 0]])
    found = take_candidates(candidates, index)
    for k, b in itertools.product(range(2), range(3)):
        assert found[k, b].tolist() == candidates[b, index[k, b]].tolist()


def candidates_of(agent, obs, state):
    """The candidates that the agent is about to draw for ``obs``, with the generator put back to ``state``."""
    agent.candidate_rng.set_state(state)
    drawn = agent.pi.candidates(obs, agent._noise(len(obs), agent.config.candidates))
    agent.candidate_rng.set_state(state)
    return drawn


def oracle(agent, batch, weights, candidates):
    """Critic loss, priorities and proposal loss, written out head by head."""
    c = agent.config
    b = {name: array(column.float()) for name, column in batch.items()}
    unit = (b["action"] - (LOW + HIGH) / 2) / ((HIGH - LOW) / 2)
    alive = 1 - b["terminated"]

    def q(net, k, state, action):
        x = torch.from_numpy(np.concatenate((state, action)).astype(np.float32)).view(1, -1)
        prior = c.prior_scale * agent.critic.prior_net.net.member(k, x) if c.prior_scale else 0.0
        return float((net.member(k, x) + prior).detach())

    def means(x):
        logits = []
        for e in range(c.signal_members):
            value = agent.signal.target.member(e, x)
            if c.signal_prior_scale:
                value = value + c.signal_prior_scale * agent.signal.prior_net.net.member(e, x)
            logits.append(array(value))
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        return p @ np.linspace(c.z_min, c.z_max, c.atoms)

    reward, discount, far = b["reward"], c.gamma * alive, b["next_obs"]
    phi, next_phi = means(batch["obs"]), means(batch["next_obs"])
    far_phi, lives = next_phi, alive
    if c.critic_n_step:
        reward, discount, far, far_phi = b["n_return"], b["n_discount"], b["n_obs"], means(batch["n_obs"])
        lives = (b["n_discount"] > 0).astype(float)
    best_value = np.zeros((c.members, B))
    bootstrap, best = np.zeros((c.members, B)), np.zeros((c.members, B, 2))
    for k, j in itertools.product(range(c.members), range(B)):
        online = [q(agent.critic.online, k, far[j], a) for a in candidates[j]]
        target = [q(agent.critic.target, k, far[j], a) for a in candidates[j]]
        best[k, j] = candidates[j][int(np.argmax(online))]
        bootstrap[k, j] = target[int(np.argmax(online))] if c.double_q else max(target)
        best_value[k, j] = max(target)
    beta = {"epistemic": next_phi.std(0), "q_epistemic": best_value.std(0)}[c.bonus] * alive
    y = reward + discount * far_phi.mean(0) - phi.mean(0) + c.kappa * beta + discount * bootstrap
    delta = np.array([[q(agent.critic.online, k, b["obs"][j], unit[j]) for j in range(B)] for k in range(c.members)])
    delta = delta - y
    mask = b["mask"].T if "mask" in b else 1.0
    loss = (array(weights) * (mask * delta**2).sum(0)).sum()
    mixture = agent.pi(torch.from_numpy(far.astype(np.float32)))
    likelihood = array(log_likelihood(mixture, torch.from_numpy(best.astype(np.float32))))
    return loss, np.abs(delta).mean(0), -(likelihood.mean(0) * array(weights) * lives).sum()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"double_q": False},
        {"bonus": "q_epistemic"},
        {"prior_scale": 0.0},
        {"mask_probability": 1.0, "members": 1},
        {"n_step": 3, "critic_n_step": True},
        {"uniform_share": 1.0, "gamma": 0.8, "kappa": 2.0},
        {"uniform_share": 0.0, "proposal_components": 1},
    ],
    ids=str,
)
def test_the_loss_against_numpy(options):
    agent = make_agent(**options)
    with torch.no_grad():  # targets that differ from the online networks
        for module in (agent.critic.target, agent.signal.target):
            for p in module.parameters():
                p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(7)))
    batch, weights = make_batch(agent)
    far = batch["n_obs"] if agent.config.critic_n_step else batch["next_obs"]
    candidates = array(candidates_of(agent, far, agent.candidate_rng.get_state()))
    loss, errors = agent.losses(batch, weights, collect=True)
    critic_loss, priorities, proposal_part = oracle(agent, batch, weights, candidates)
    assert agent.stats["loss"] == pytest.approx(critic_loss, rel=1e-4)
    assert agent.stats["policy_loss"] == pytest.approx(proposal_part, rel=1e-4, abs=1e-5)
    assert loss.item() == pytest.approx(critic_loss + proposal_part + agent.stats["signal_loss"], rel=1e-4)
    np.testing.assert_allclose(errors.numpy(), priorities, rtol=1e-4, atol=1e-5)


def test_every_network_learns_and_the_priors_stay():
    agent = make_agent(optimizer="adam")
    batch, weights = make_batch(agent)
    before = {(n, k): v.clone() for n, m in agent.modules().items() for k, v in m.state_dict().items()}
    for step in range(5):
        agent.learn(batch, weights, step, collect=False)
    after = {(n, k): v for n, m in agent.modules().items() for k, v in m.state_dict().items()}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert all("prior" not in key for _, key in moved)
    assert {(n, k.split(".")[0]) for n, k in moved} >= {("critic", "online"), ("signal", "online"), ("policy", "net")}


def test_no_gradient_reaches_the_critic_from_the_proposals_loss():
    agent = make_agent()
    batch, weights = make_batch(agent)
    agent.losses(batch, weights, collect=False)
    agent._policy_loss(batch, torch.empty(0), weights).backward()
    assert all(p.grad is None for p in agent.critic.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in agent.pi.parameters())


# ---------------------------------------------------------------- acting


def q_of(agent, obs, unit, k):
    x = torch.cat((obs, unit)).view(1, -1)
    value = agent.critic.online.member(k, x) + agent.config.prior_scale * agent.critic.prior_net.net.member(k, x)
    return float(value.detach())


@pytest.mark.parametrize("behaviour", ["thompson", "ucb", "epsilon_greedy"])
def test_the_candidate_that_is_executed(behaviour):
    agent = make_agent(5, behaviour=behaviour, ucb_c=2.0, epsilon_end=1e-12 if behaviour == "epsilon_greedy" else 0.0)
    obs = torch.randn(5, D, generator=torch.Generator().manual_seed(3))
    state = agent.candidate_rng.get_state()
    candidates = agent.pi.candidates(obs, agent._noise(5, 12))
    agent.candidate_rng.set_state(state)
    chosen = agent.act(obs, 10**9)
    for i in range(5):
        values = np.array([[q_of(agent, obs[i], a, k) for a in candidates[i]] for k in range(3)])
        score = {
            "thompson": values[agent.policy.heads[i]],
            "ucb": values.mean(0) + 2.0 * values.std(0),
            "epsilon_greedy": values.mean(0),
        }[behaviour]
        expected = ACTIONS.from_unit(candidates[i, int(score.argmax())].numpy())
        np.testing.assert_array_equal(chosen[i], expected)


def test_the_proposal_itself_as_behaviour():
    agent = make_agent(4000, behaviour="proposal")
    obs = torch.zeros(4000, D)
    drawn = (agent.act(obs, 0) - ACTIONS.middle) / ACTIONS.half_width
    direct = agent.pi.candidates(obs[:1], draw_noise(1, 4000, 0, 2, torch.Generator().manual_seed(8)))[0].numpy()
    for d in range(2):
        difference = abs(drawn[:, d].mean() - direct[:, d].mean())
        assert difference < 5 * (drawn[:, d].var() / 4000 + direct[:, d].var() / 4000) ** 0.5


@pytest.mark.parametrize("behaviour", ["thompson", "ucb", "proposal", "epsilon_greedy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_actions_are_in_the_box_of_its_type_and_follow_the_seed(behaviour, dtype):
    box = BoxActions(LOW, HIGH, dtype)
    options = {"behaviour": behaviour, "epsilon_start": 0.3, "epsilon_end": 0.3}
    agents = [make_agent(50, seed, box, **options) for seed in (0, 0, 1)]
    obs = 3 * torch.randn(50, D, generator=torch.Generator().manual_seed(0))
    rounds = [[agent.act(obs, step) for step in range(5)] for agent in agents]
    for actions in itertools.chain(*rounds):
        assert actions.shape == (50, 2)
        assert actions.dtype == dtype
        assert (actions >= LOW).all()
        assert (actions <= HIGH).all()
    np.testing.assert_array_equal(rounds[0], rounds[1])
    assert not np.array_equal(rounds[0], rounds[2])
    assert np.unique(np.array(rounds[0]).reshape(-1, 2), axis=0).shape[0] > 100


def test_epsilon_draws_uniform_actions():
    agent = make_agent(2000, behaviour="epsilon_greedy", epsilon_start=1.0, epsilon_end=1.0)
    actions = agent.act(torch.zeros(2000, D), 0)
    for d in range(2):
        counts = np.histogram(actions[:, d], bins=10, range=(LOW[d], HIGH[d]))[0]
        assert np.abs(counts - 200).max() < 5 * 180**0.5


@pytest.mark.parametrize("evaluation", ["mean", "vote", "best"])
def test_evaluation_is_a_function_of_the_state(evaluation):
    agent = make_agent(evaluation=evaluation)
    agent.policy.head_returns = np.array([-3.0, 5.0, 1.0])
    obs = torch.randn(20, D, generator=torch.Generator().manual_seed(0))
    state = agent.candidate_rng.get_state()
    first = agent.greedy(obs)
    np.testing.assert_array_equal(first, agent.greedy(obs))
    np.testing.assert_array_equal(first[7:8], agent.greedy(obs[7:8]))
    assert torch.equal(state, agent.candidate_rng.get_state())  # training goes on as if there had been none
    candidates = agent.pi.candidates(obs, agent.evaluation_noise)
    for i in range(20):
        values = np.array([[q_of(agent, obs[i], a, k) for a in candidates[i]] for k in range(3)])
        if evaluation == "vote":
            votes = np.bincount(values.argmax(1), minlength=12)
            tied = np.flatnonzero(votes == votes.max())
            index = tied[values.mean(0)[tied].argmax()]
        else:
            index = (values.mean(0) if evaluation == "mean" else values[1]).argmax()
        np.testing.assert_array_equal(first[i], ACTIONS.from_unit(candidates[i, int(index)].numpy()))
    other = make_agent(evaluation=evaluation)
    other.load_modules(agent.state_dict())
    np.testing.assert_array_equal(first, other.greedy(obs))


def test_observations_that_are_no_vectors_are_refused():
    with pytest.raises(ConfigError, match="continuous actions need vector observations; these are indices"):
        ContinuousCderAgent(ContinuousCderConfig(), 5, ACTIONS, 1, 0, one_hot=True)
