"""The exploration baselines: each formula against NumPy in float64, and what is particular to each."""

import math

import numpy as np
import pytest
import torch

from metarl_core.agents import ALGORITHMS, resolve_config
from metarl_core.agents.baselines.bootdqn import BootstrappedDQN, BootstrappedDQNConfig
from metarl_core.agents.baselines.dltv import (
    DltvConfig,
    DltvDQN,
    bonus_factor,
    left_truncated_variance,
    quantile_huber_loss,
)
from metarl_core.agents.baselines.dqn import DoubleDQN, DoubleDQNConfig
from metarl_core.agents.baselines.icm import IcmConfig, IcmDQN
from metarl_core.agents.baselines.intrinsic import FeatureNet
from metarl_core.agents.baselines.noveld import NovelDConfig, NovelDDQN
from metarl_core.agents.baselines.rnd import RndConfig, RndDQN
from metarl_core.agents.baselines.running import ReturnScale, RunningMoments
from metarl_core.agents.common.visits import EpisodicVisits

B, D, A = 12, 5, 3
INTRINSIC = {"rnd": (RndDQN, RndConfig), "icm": (IcmDQN, IcmConfig), "noveld": (NovelDDQN, NovelDConfig)}


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    return {
        "obs": torch.from_numpy(rng.normal(size=(B, D)).astype(np.float32)),
        "next_obs": torch.from_numpy(rng.normal(size=(B, D)).astype(np.float32)),
        "action": torch.from_numpy(rng.integers(A, size=B)),
        "reward": torch.from_numpy(rng.normal(size=B).astype(np.float32)),
        "terminated": torch.from_numpy((rng.random(B) < 0.3).astype(np.float32)),
    }


@pytest.fixture
def weights():
    drawn = np.random.default_rng(4).random(B).astype(np.float32)
    return torch.from_numpy(drawn / drawn.sum())


def numpy_net(net, x):
    """A one-member perceptron in float64."""
    parameters = list(zip(net.weights, net.biases, strict=True))
    h = np.asarray(x, dtype=np.float64)
    for layer, (weight, bias) in enumerate(parameters):
        w, b = weight.detach().double().numpy(), bias.detach().double().numpy()
        h = np.maximum(h, 0) if layer else h
        h = h @ (w[0] if layer else w) + (b[0] if layer else b)
    return h


def distinct_target(agent):
    """Make the target network differ from the online one, so that mixing them up shows."""
    with torch.no_grad():
        for p in agent.critic.target.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)), alpha=0.3)


def double_dqn_loss(agent, batch, weights, bonus):
    """Oracle of Double DQN's weighted loss on reward + bonus."""
    online, target = ([numpy_net(net, batch[o]) for o in ("obs", "next_obs")] for net in critics(agent))
    chosen = online[1].argmax(axis=1)
    alive = 1 - batch["terminated"].numpy()
    y = batch["reward"].numpy() + bonus + agent.config.gamma * alive * target[1][np.arange(B), chosen]
    delta = online[0][np.arange(B), batch["action"].numpy()] - y
    return float((weights.numpy() * delta**2).sum()), np.abs(delta)


def critics(agent):
    return agent.critic.online, agent.critic.target


# Bootstrapped DQN


def test_bootstrapped_dqn_loss_against_a_loop_over_heads(batch, weights):
    config = BootstrappedDQNConfig(members=4, hidden=(6,), prior_scale=2.0, gamma=0.9)
    agent = BootstrappedDQN(config, D, A, 2, seed=1)
    distinct_target(agent)
    mask = np.random.default_rng(0).integers(2, size=(B, 4)).astype(np.uint8)
    loss, errors = agent.losses({**batch, "mask": torch.from_numpy(mask)}, weights, collect=True)
    prior_net = agent.critic.prior_net.net
    expected, deltas = 0.0, np.zeros((4, B))
    for k in range(4):
        with torch.no_grad():
            prior = [2.0 * prior_net.member(k, batch[o]).double().numpy() for o in ("obs", "next_obs")]
            q, q_next = (agent.critic.online.member(k, batch[o]).double().numpy() for o in ("obs", "next_obs"))
            target_next = agent.critic.target.member(k, batch["next_obs"]).double().numpy()
        for j in range(B):
            best = (q_next[j] + prior[1][j]).argmax()
            alive = 1 - batch["terminated"][j].item()
            y = batch["reward"][j].item() + 0.9 * alive * (target_next[j, best] + prior[1][j, best])
            action = batch["action"][j].item()
            deltas[k, j] = q[j, action] + prior[0][j, action] - y
            expected += weights[j].item() * mask[j, k] * deltas[k, j] ** 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(errors, np.abs(deltas).mean(axis=0), rtol=1e-5, atol=1e-6)
    assert mask.min() == 0  # the mask matters


def test_a_masked_head_does_not_learn(batch, weights):
    agent = BootstrappedDQN(BootstrappedDQNConfig(members=2, hidden=(6,)), D, A, 2, seed=1)
    mask = torch.tensor([[1, 0]] * B, dtype=torch.uint8)
    agent.losses({**batch, "mask": mask}, weights, collect=False)[0].backward()
    gradient = agent.critic.online.weights[1].grad
    assert gradient[0].abs().sum() > 0
    assert gradient[1].abs().sum() == 0


def test_each_instance_keeps_its_head_for_an_episode():
    agent = BootstrappedDQN(BootstrappedDQNConfig(members=10, prior_scale=5.0, hidden=(8,)), D, A, 64, seed=0)
    obs = torch.randn(64, D, generator=torch.Generator().manual_seed(0))
    q = agent.critic(obs).detach()
    for _ in range(3):
        heads = agent.heads.copy()
        np.testing.assert_array_equal(agent.act(obs, 0), [q[h, i].argmax() for i, h in enumerate(heads)])
        started = np.arange(64) % 2 == 0
        agent.begin_episodes(started, np.zeros(64))
        np.testing.assert_array_equal(agent.heads[~started], heads[~started])
        assert (agent.heads[started] != heads[started]).any()
    assert len(set(agent.act(obs[:1].expand(64, D), 0).tolist())) > 1  # the priors alone make the heads differ


def test_bootstrap_masks_are_bernoulli():
    agent = BootstrappedDQN(BootstrappedDQNConfig(members=8, mask_probability=0.3), D, A, 2, seed=0)
    mask = agent.extra_columns(4000)["mask"]
    assert (mask.dtype, mask.shape) == (np.uint8, (4000, 8))
    np.testing.assert_allclose(mask.mean(axis=0), 0.3, atol=0.03)
    assert BootstrappedDQN(BootstrappedDQNConfig(mask_probability=1.0), D, A, 2, seed=0).extra_fields() == {}


# Intrinsic rewards


def test_running_moments_are_those_of_all_rows():
    rng = np.random.default_rng(0)
    rows = rng.normal(50.0, [1e-3, 1.0, 30.0], size=(500, 3))
    moments = RunningMoments((3,))
    np.testing.assert_array_equal(moments.std, 1)
    for part in np.split(rows, [1, 7, 8, 200]):
        moments.update(part)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, rows.std(axis=0), rtol=1e-9)


def test_return_scale_is_the_std_of_the_discounted_sums():
    bonus = np.random.default_rng(0).random((40, 3))
    scale = ReturnScale(3, 0.9)
    returns = np.zeros((40, 3))
    for t in range(40):
        returns[t] = (0.9 * returns[t - 1] if t else 0) + bonus[t]
        scale.update(bonus[t])
    assert scale.std == pytest.approx(returns.std(), rel=1e-12)


def test_features_of_one_hot_indices_are_those_of_scaled_vectors(generator):
    net = FeatureNet(6, (8, 7), 4, generator, one_hot=True)
    index = torch.tensor([0, 5, 6, 3])  # 6 is the all-zero vector
    vectors = (torch.eye(7)[index, :6] * 6**0.5).numpy()
    with torch.no_grad():
        dense = FeatureNet(6, (8, 7), 4, generator, one_hot=False)
        dense.weights[0].copy_(net.weights[0][:6])
        for mine, theirs in zip(
            [dense.biases[0], *dense.weights[1:], *dense.biases[1:]],
            [net.biases[0], *net.weights[1:], *net.biases[1:]],
            strict=True,
        ):
            mine.copy_(theirs)
        np.testing.assert_allclose(net(index), numpy_net(dense, vectors), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dense(torch.from_numpy(vectors)), numpy_net(dense, vectors), rtol=1e-5, atol=1e-6)


def make(name, **options):
    agent_class, config_class = INTRINSIC[name]
    config = config_class(hidden=(6,), curiosity_hidden=(7,), features=4, gamma=0.9, **options)
    agent = agent_class(config, D, A, 2, seed=1)
    distinct_target(agent)
    return agent


def rnd_error(agent, obs):
    """||f^(x) - f(x)||^2 with standardised, clipped observations, float64."""
    x = np.clip((obs.double().numpy() - agent.moments.mean) / agent.moments.std, -5, 5)
    return ((numpy_net(agent.curiosity.predictor, x) - numpy_net(agent.curiosity.target, x)) ** 2).sum(axis=1)


def seen(agent, steps=20, **extra):
    """Let an agent observe a stream."""
    rng = np.random.default_rng(8)
    rows = rng.normal(1.0, 3.0, size=(steps + 1, 2, D)).astype(np.float32)
    for t in range(steps):
        columns = {"obs": rows[t], "next_obs": rows[t + 1], "action": rng.integers(A, size=2)}
        columns |= {"reward": np.zeros(2, np.float32), "terminated": np.zeros(2, bool)}
        agent.transition_columns(columns, np.zeros(2, bool))
    return rows


def test_rnd_reward_and_losses(batch, weights):
    agent = make("rnd", bonus_scale=0.5)
    rows = seen(agent)
    np.testing.assert_allclose(agent.moments.mean, rows[1:].reshape(-1, D).mean(axis=0), rtol=1e-6)
    error = rnd_error(agent, batch["next_obs"])
    bonus, auxiliary = agent.intrinsic(batch)
    np.testing.assert_allclose(bonus, error, rtol=1e-4)
    np.testing.assert_allclose(auxiliary.detach(), error / 4, rtol=1e-4)
    loss, errors = agent.losses(batch, weights, collect=True)
    critic, deltas = double_dqn_loss(agent, batch, weights, 0.5 * error / agent.scale.std)
    assert agent.scale.std > 0
    assert loss.item() == pytest.approx(critic + (weights.numpy() * error / 4).sum(), rel=1e-4)
    np.testing.assert_allclose(errors, deltas, rtol=1e-4, atol=1e-5)
    assert agent.stats["intrinsic_reward_mean"] == pytest.approx((0.5 * error / agent.scale.std).mean(), rel=1e-4)


def test_rnd_learns_the_visited_states_and_never_the_random_network(weights):
    agent = make("rnd", curiosity_lr=0.01, optimizer="adam")
    target = [p.clone() for p in agent.curiosity.target.parameters()]
    generator = torch.Generator().manual_seed(0)
    known, novel = torch.randn(B, D, generator=generator), torch.randn(B, D, generator=generator) * 2
    batch = {"obs": known, "next_obs": known, "action": torch.zeros(B, dtype=torch.int64)}
    batch |= {"reward": torch.zeros(B), "terminated": torch.zeros(B)}
    before = agent.curiosity(known).mean().item(), agent.curiosity(novel).mean().item()
    for step in range(300):
        agent.learn(batch, weights, step, collect=False)
    after = agent.curiosity(known).mean().item(), agent.curiosity(novel).mean().item()
    assert after[0] < 0.05 * before[0]
    assert after[1] > 5 * after[0]
    for old, new in zip(target, agent.curiosity.target.parameters(), strict=True):
        assert torch.equal(old, new)


def test_the_predictor_is_deeper_than_the_random_network():
    networks = make("rnd", predictor_layers=2).curiosity
    assert (len(networks.target.weights), len(networks.predictor.weights)) == (2, 4)


def test_icm_reward_and_losses(batch, weights):
    agent = make("icm", bonus_scale=0.5, forward_share=0.3)
    module = agent.curiosity
    before, after = numpy_net(module.phi, batch["obs"]), numpy_net(module.phi, batch["next_obs"])
    taken = np.eye(A)[batch["action"]]
    forward = 0.5 * ((numpy_net(module.predict, np.hstack((before, taken))) - after) ** 2).sum(axis=1)
    logits = numpy_net(module.inverse, np.hstack((before, after)))
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    inverse = -log_p[np.arange(B), batch["action"]]
    bonus, auxiliary = agent.intrinsic(batch)
    np.testing.assert_allclose(bonus, forward, rtol=1e-4)
    np.testing.assert_allclose(auxiliary.detach(), 0.7 * inverse + 0.3 * forward, rtol=1e-4)
    assert agent.scale is None
    critic, _ = double_dqn_loss(agent, batch, weights, 0.5 * forward)
    total = critic + (weights.numpy() * (0.7 * inverse + 0.3 * forward)).sum()
    assert agent.losses(batch, weights, collect=False)[0].item() == pytest.approx(total, rel=1e-4)


def test_icm_trains_the_features_by_both_models(batch):
    for share in (0.0, 1.0):
        agent = make("icm", forward_share=share)
        agent.intrinsic(batch)[1].sum().backward()
        gradients = {
            name: sum(float(p.grad.abs().sum()) for p in net.parameters() if p.grad is not None)
            for name, net in agent.curiosity.named_children()
        }
        assert gradients["phi"] > 0
        assert (gradients["inverse"] > 0) is (share == 0.0)
        assert (gradients["predict"] > 0) is (share == 1.0)


@pytest.mark.parametrize("normalize", [False, True])
def test_noveld_reward_and_losses(batch, weights, normalize):
    agent = make("noveld", bonus_scale=0.5, novelty_alpha=0.7, normalize_bonus=normalize)
    seen(agent)
    first = np.arange(B) % 3 > 0
    rows = {**batch, "first_visit": torch.from_numpy(first)}
    here, there = np.sqrt(rnd_error(agent, batch["obs"])), np.sqrt(rnd_error(agent, batch["next_obs"]))
    expected = np.maximum(there - 0.7 * here, 0) * first
    assert (there[first] < 0.7 * here[first]).any()  # the clipping matters
    assert (there > 0.7 * here)[~first].any()  # and so does the gate
    bonus, auxiliary = agent.intrinsic(rows)
    np.testing.assert_allclose(bonus, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(auxiliary.detach(), there**2 / 4, rtol=1e-4)
    scale = 0.5 / (agent.scale.std if normalize else 1.0)
    critic, _ = double_dqn_loss(agent, batch, weights, scale * expected)
    total = critic + (weights.numpy() * there**2 / 4).sum()
    assert agent.losses(rows, weights, collect=False)[0].item() == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("dense", [False, True])
def test_first_visits_against_a_set_for_each_episode(dense):
    """Several instances walk on a small grid for longer than the table's first length, with ends at random."""
    rng = np.random.default_rng(0)
    visits = EpisodicVisits(3, 2, 10.0)
    encode = (
        (lambda s: np.stack((s / 10 + 0.03, -s / 10 + 0.03), axis=1).astype(np.float32))
        if dense
        else (lambda s: s.astype(np.int32))
    )
    states = rng.integers(400, size=3)
    known = [{s} for s in states.tolist()]
    longest = 0
    for t in range(1500):
        following = np.where(rng.random(3) < 0.3, states, rng.integers(400, size=3))
        ended = (rng.random(3) < 0.002) | (t == 700)
        first = visits.step(encode(states), encode(following), ended)
        for env, state in enumerate(following.tolist()):
            assert first[env] == (state not in known[env]), (t, env)
            known[env].add(state)
            longest = max(longest, len(known[env]))
        starts = rng.integers(400, size=3)
        states = np.where(ended, starts, following)
        for env in np.flatnonzero(ended):
            known[env] = {int(states[env])}
        if t % 100 == 50:
            saved = visits.state_dict()
            visits = EpisodicVisits(3, 2, 10.0)
            visits.load_state_dict(saved)
    assert longest > 128


def test_visits_of_images_are_exact():
    visits = EpisodicVisits(1, 2 * 2 * 3, 10.0)
    images = np.zeros((4, 1, 2, 2, 3), np.uint8)
    images[1, 0, 1, 1, 2] = 1
    images[3, 0, 0, 0, 0] = 1
    ended = np.zeros(1, bool)
    assert [bool(visits.step(images[i], images[j], ended)[0]) for i, j in ((0, 1), (1, 2), (2, 3))] == [
        True,
        False,
        True,
    ]


def test_exact_visits_of_dense_observations():
    visits = EpisodicVisits(1, 2, 0.0)
    rows = np.array([[[0.0, 1.0]], [[-0.0, 1.0]], [[1e-7, 1.0]], [[1.0, 0.0]], [[1e-7, 1.0]]], np.float32)
    ended = np.zeros(1, bool)
    assert [bool(visits.step(rows[i], rows[i + 1], ended)[0]) for i in range(4)] == [False, True, True, False]


# DLTV


def test_left_truncated_variance_by_hand_and_against_a_loop():
    theta = torch.tensor([-9.0, 1.0, 2.0, 4.0])  # the median is theta_{N/2} = theta_2
    assert left_truncated_variance(theta).item() == pytest.approx((0 + 1 + 9) / 8)
    rows = np.random.default_rng(0).normal(size=(5, 3, 50)).astype(np.float32)
    expected = np.array([[sum((r[24] - r[i]) ** 2 for i in range(24, 50)) / 100 for r in row] for row in rows])
    np.testing.assert_allclose(left_truncated_variance(torch.from_numpy(rows)), expected, rtol=1e-5)
    down = torch.tensor([-100.0, 0.0, 0.0, 0.0])
    assert left_truncated_variance(down).item() == 0


def test_the_bonus_decays():
    assert bonus_factor(50.0, 1) == 0
    for t in (3, 100, 10**6):
        assert bonus_factor(50.0, t) == pytest.approx(50 * math.sqrt(math.log(t) / t))
    agent = DltvDQN(DltvConfig(dltv_c=2.0), D, A, 2, seed=0)
    assert agent.schedule(99)["bonus_factor"] == pytest.approx(2 * math.sqrt(math.log(100) / 100))


@pytest.mark.parametrize("kappa", [1.0, 0.2, 0.0])
def test_quantile_huber_loss_and_its_gradient(kappa):
    rng = np.random.default_rng(0)
    theta, y = rng.normal(size=(4, 6)), rng.normal(size=(4, 8))
    expected, gradient = np.zeros(4), np.zeros((4, 6))
    for b in range(4):
        for i in range(6):
            tau = (2 * (i + 1) - 1) / 12
            for j in range(8):
                u = y[b, j] - theta[b, i]
                size = abs(u)
                cost = size if kappa == 0 else (u * u / 2 if size <= kappa else kappa * (size - kappa / 2))
                slope = np.sign(u) if kappa == 0 else np.clip(u, -kappa, kappa)
                expected[b] += abs(tau - (u < 0)) * cost / 8
                gradient[b, i] -= abs(tau - (u < 0)) * slope / 8
    prediction = torch.tensor(theta, requires_grad=True)
    loss = quantile_huber_loss(prediction, torch.tensor(y), kappa)
    np.testing.assert_allclose(loss.detach(), expected, rtol=1e-9)
    loss.sum().backward()
    np.testing.assert_allclose(prediction.grad, gradient, rtol=1e-9, atol=1e-12)


def test_quantile_regression_finds_the_quantiles():
    sample = torch.from_numpy(np.random.default_rng(0).exponential(size=4000))
    theta = torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([theta], lr=2.0)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 2.0 / (1 + step / 20)
        optimizer.zero_grad()
        quantile_huber_loss(theta, sample.view(1, -1), 0.0).sum().backward()
        optimizer.step()
    expected = -np.log(1 - (np.arange(10) + 0.5) / 10)
    np.testing.assert_allclose(theta.detach()[0], expected, atol=0.15)


@pytest.mark.parametrize("double_q", [True, False])
def test_dltv_actions_and_loss(batch, weights, double_q):
    config = DltvConfig(quantiles=6, hidden=(8,), gamma=0.9, dltv_c=30.0, double_q=double_q)
    agent = DltvDQN(config, D, A, B, seed=1)
    distinct_target(agent)
    theta, theta_next = (numpy_net(agent.critic.online, batch[o]).reshape(B, A, 6) for o in ("obs", "next_obs"))
    target_next = numpy_net(agent.critic.target, batch["next_obs"]).reshape(B, A, 6)
    upper = np.sqrt(((theta[..., 2:] - theta[..., 2:3]) ** 2).sum(axis=-1) / 12)
    factor = 30 * math.sqrt(math.log(51) / 51)
    np.testing.assert_array_equal(agent.act(batch["obs"], 50), (theta.mean(-1) + factor * upper).argmax(axis=1))
    np.testing.assert_array_equal(agent.greedy(batch["obs"]), theta.mean(-1).argmax(axis=1))
    assert (agent.act(batch["obs"], 50) != agent.greedy(batch["obs"])).any()
    best = (theta_next if double_q else target_next).mean(-1).argmax(axis=1)
    alive = 1 - batch["terminated"].numpy()[:, None]
    y = batch["reward"].numpy()[:, None] + 0.9 * alive * target_next[np.arange(B), best]
    taken = theta[np.arange(B), batch["action"]]
    expected = quantile_huber_loss(torch.from_numpy(taken), torch.from_numpy(y), 1.0).numpy()
    loss, errors = agent.losses(batch, weights, collect=True)
    assert loss.item() == pytest.approx((weights.numpy() * expected).sum(), rel=1e-4)
    np.testing.assert_allclose(errors, np.abs(y.mean(1) - taken.mean(1)), rtol=1e-4, atol=1e-5)


# All together


@pytest.mark.parametrize("kind", ["ddqn-per", "rnd", "icm", "noveld"])
def test_n_step_target_of_the_double_dqn_family(batch, weights, kind):
    """y = sum of N rewards + the first bonus + gamma^N Q'(s_{t+N}, argmax Q), rows that end within N not continued."""
    rng = np.random.default_rng(8)
    far = rng.normal(size=(B, D)).astype(np.float32)
    n_return, n_discount = rng.normal(size=B), 0.9 ** rng.integers(1, 4, size=B) * (rng.random(B) < 0.7)
    columns = {"n_obs": far, "n_return": n_return.astype(np.float32), "n_discount": n_discount.astype(np.float32)}
    batch |= {name: torch.from_numpy(value) for name, value in columns.items()}
    batch["first_visit"] = torch.from_numpy(rng.random(B) < 0.5)
    agent_class, config_class = INTRINSIC.get(kind, (DoubleDQN, DoubleDQNConfig))
    agent = agent_class(config_class(n_step=3, gamma=0.9, hidden=(6,)), D, A, B, seed=1)
    distinct_target(agent)
    bonus = np.zeros(B)
    if kind in INTRINSIC:
        agent.transition_columns({k: v.numpy() for k, v in batch.items()}, np.zeros(B, dtype=np.bool_))
        scale = 1.0 if agent.scale is None else agent.scale.std
        bonus = agent.intrinsic(batch)[0].detach().double().numpy() * agent.config.bonus_scale / scale
    best = numpy_net(agent.critic.online, far).argmax(axis=1)
    y = n_return + bonus + n_discount * numpy_net(agent.critic.target, far)[np.arange(B), best]
    taken = numpy_net(agent.critic.online, batch["obs"])[np.arange(B), batch["action"]]
    _, errors = agent.losses(batch, weights, collect=False)
    np.testing.assert_allclose(errors, np.abs(taken - y), rtol=1e-4, atol=1e-5)
    assert kind == "ddqn-per" or bonus.max() > 1e-3


def test_n_step_targets_of_heads_and_quantiles(batch, weights):
    """With the N-step columns in place of the one-step ones, losses are those of one step."""
    rng = np.random.default_rng(8)
    far = torch.from_numpy(rng.normal(size=(B, D)).astype(np.float32))
    n_return = torch.from_numpy(rng.normal(size=B).astype(np.float32))
    several = {**batch, "n_obs": far, "n_return": n_return, "n_discount": 0.9 * (1 - batch["terminated"])}
    single = {**batch, "reward": n_return, "next_obs": far}
    for agent_class, config_class in ((BootstrappedDQN, BootstrappedDQNConfig), (DltvDQN, DltvConfig)):
        losses = []
        for n_step, columns in ((3, several), (1, single), (1, batch)):
            agent = agent_class(config_class(n_step=n_step, gamma=0.9, hidden=(6,)), D, A, 2, seed=1)
            losses.append(agent.losses(columns, weights, collect=False)[0].item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
        assert losses[0] != pytest.approx(losses[2], rel=1e-3)


@pytest.mark.parametrize(
    "algorithm", sorted(n for n, spec in ALGORITHMS.items() if spec.train is None and n not in ("cder", "ddqn"))
)
@pytest.mark.parametrize("env_id", ["DeepSea-v0", "MountainCar-v0"])
def test_the_budget_is_that_of_the_baseline(algorithm, env_id):
    """Networks, optimiser, number of updates and replay of every baseline are those of ddqn-per."""
    ours, reference = resolve_config(algorithm, env_id), resolve_config("ddqn-per", env_id)
    for name in ("total_steps", "max_episodes", "num_envs"):
        assert getattr(ours, name) == getattr(reference, name)
    names = ("hidden", "batch_size", "train_every", "epochs", "replay_capacity", "optimizer", "lr", "gamma")
    for name in (*names, "learning_starts", "target_period", "alpha", "double_q"):
        assert getattr(ours.hyperparameters, name) == getattr(reference.hyperparameters, name), name
    assert ALGORITHMS[algorithm].prioritized


def test_visits_are_counted_anew_when_running_episodes_are_dropped():
    visits = EpisodicVisits(2, 1, 0.0)
    here, there, going = np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32), np.zeros(2, bool)
    assert visits.step(here, there, going).all()
    assert not visits.step(there, here, going).any()
    visits.begin_anew()
    assert visits.step(there, here, going).all()
