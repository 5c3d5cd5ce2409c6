"""Submodels of IMT that explore as CDER does: networks and losses by hand and against CDER, exploring, going on."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from run_helpers import StopAt, contents, run_to_end

from metarl_core import ConfigError
from metarl_core.agents import resolve_config
from metarl_core.agents.cder.learner import CderAgent
from metarl_core.agents.common.networks import EnsembleMLP
from metarl_core.agents.imt.aggregation import weight_soup
from metarl_core.agents.imt.batches import TaskBatch, stack_tasks
from metarl_core.agents.imt.config import ImtConfig
from metarl_core.agents.imt.curiosity import Curiosity, TaskEnsemble, ensemble_td_errors
from metarl_core.agents.imt.curiosity_config import CURIOSITY_OPTIONS
from metarl_core.agents.imt.learner import ImtLearner
from metarl_core.agents.imt.networks import Submodels, one_hot_indices
from metarl_core.agents.meta import MetaAgent
from metarl_core.runs.checkpoint import read_checkpoint, write_checkpoint

K, H, E, B, D, A = 3, 4, 2, 5, 6, 2
MAPPINGS = {"mapping_seed": np.array([3.0, 4.0, 5.0])}
SMALL = {
    "exploration": "curiosity",
    "one_hot_obs": True,
    "critic_heads": H,
    "signal_members": E,
    "signal_hidden": (8,),
    "atoms": 11,
    "hidden": (16,),
    "predictor_hidden": (8,),
    "reference_steps": 200,
    "embedding_features": 8,
    "pretrain_updates": 5,
    "rounds": 4,
    "steps_per_round": 40,
    "submodel_updates": 6,
    "head_updates": 4,
    "batch_size": 8,
    "replay_capacity": 2000,
    "tolerance": 0.0,
    "scale_rewards": False,
}


def learner(seed=0, size=5, env_id="DeepSea-v0", tasks=MAPPINGS, **options):
    params = {"size": size} if env_id == "DeepSea-v0" else {}
    return ImtLearner(env_id, tasks, ImtConfig(**{**SMALL, **options}), seed=seed, params=params)


def make_models(tasks=K, one_hot=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    options = {"critic_heads": H, "prior_scale": 3.0, "one_hot": one_hot}
    models = Submodels(tasks, D, (7, 8), A, 5, (9,), generator, **options)
    with torch.no_grad():  # every part different from every other, so that mixing them up shows
        for name, p in models.named_parameters():
            if not name.startswith("prior"):
                p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return models


def make_batch(tasks=K, seed=1):
    rng = np.random.default_rng(seed)
    columns = [
        {
            "obs": rng.normal(size=(B, D)),
            "action": rng.integers(A, size=B),
            "reward": rng.normal(size=B) / 4,
            "next_obs": rng.normal(size=(B, D)),
            "terminated": np.arange(B) % 3 == 0,
        }
        for _ in range(tasks)
    ]
    return stack_tasks(columns)


def float64(tensor):
    return tensor.detach().double().numpy()


def perceptron(layers, x, relu_output=False):
    h = np.asarray(x, dtype=np.float64)
    for number, (weight, bias) in enumerate(layers):
        h = h @ weight + bias
        if relu_output or number < len(layers) - 1:
            h = np.maximum(h, 0)
    return h


def layers_of_row(net, row):
    return [(float64(w[row]), float64(b[row])[0]) for w, b in zip(net.weights, net.biases, strict=True)]


def rest(net):
    """Layers after the first."""
    return zip(list(net.weights)[1:], list(net.biases)[1:], strict=True)


def layers_of_member(net, member):
    """Of an EnsembleMLP, whose first layer has the members side by side."""
    width = net.weights[0].shape[1] // net.members
    own = slice(member * width, (member + 1) * width)
    first = (float64(net.weights[0])[:, own], float64(net.biases[0])[own])
    return [first, *((float64(w[member]), float64(b[member])[0]) for w, b in rest(net))]


def layers_of_task(net, task, member):
    """Of a TaskEnsemble."""
    width = net.weights[0].shape[2] // net.members
    own, row = slice(member * width, (member + 1) * width), task * net.members + member
    first = (float64(net.weights[0][task])[:, own], float64(net.biases[0][task])[0, own])
    return [first, *((float64(w[row]), float64(b[row])[0]) for w, b in rest(net))]


def head_values(models, task, head, x, target=False):
    """Q_ik(x, .) in float64, prior included."""
    trunks, heads = (models.target_trunks, models.target_heads) if target else (models.trunks, models.heads)
    features = perceptron(layers_of_row(trunks, task), x, relu_output=True)
    trained = perceptron(layers_of_row(heads, task), features)[..., head * A : (head + 1) * A]
    return trained + 3.0 * perceptron(layers_of_member(models.prior_net.net, head), x)


# Networks


def test_networks_of_a_task_read_its_rows_alone():
    net = TaskEnsemble(K, E, (D, 7, 9), torch.Generator().manual_seed(0))
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(K, B, D)).astype(np.float32))
    found = net(x).view(E, K, B, 9)
    for k in range(K):
        for e in range(E):
            expected = perceptron(layers_of_task(net, k, e), x[k])
            np.testing.assert_allclose(float64(found[e, k]), expected, rtol=1e-5, atol=1e-6)


def test_one_hot_rows_by_their_index_are_the_same_and_the_empty_row_stays_zero():
    net = TaskEnsemble(K, E, (D, 7, 9), torch.Generator().manual_seed(0), one_hot=True)
    index = torch.tensor([[0, 3, D, 5, 1], [D, D, 2, 2, 0], [4, 4, 1, D, 3]])
    rows = torch.cat((torch.eye(D), torch.zeros(1, D)))[index]
    assert torch.equal(one_hot_indices(rows), index)
    found = net(index)
    for k in range(K):
        for e in range(E):
            first, *rest = layers_of_task(net, k, e)
            expected = perceptron([(first[0][:D], first[1]), *rest], rows[k])
            np.testing.assert_allclose(float64(found.view(E, K, B, 9)[e, k]), expected, rtol=1e-5, atol=1e-6)
    found.square().sum().backward()
    gradient = net.weights[0].grad
    assert gradient[:, :D].abs().sum() > 0
    assert not gradient[:, D].any()
    assert not net.weights[0][:, D].any()


def test_of_one_task_it_is_an_ensemble_of_cder():
    for one_hot in (False, True):
        ensemble = EnsembleMLP(E, D, (7,), 9, torch.Generator().manual_seed(0), one_hot=one_hot)
        net = TaskEnsemble(1, E, (D, 7, 9), torch.Generator().manual_seed(1), one_hot=one_hot)
        with torch.no_grad():
            for own, given in zip(net.parameters(), ensemble.parameters(), strict=True):
                own.copy_(given.view(own.shape))
        x = torch.tensor([0, 2, D, 1, 2]) if one_hot else torch.randn(B, D, generator=torch.Generator().manual_seed(2))
        torch.testing.assert_close(net(x.unsqueeze(0)), ensemble(x), rtol=1e-5, atol=1e-6)


def test_values_are_means_of_heads_with_priors():
    models, batch = make_models(), make_batch()
    heads, mean = models.head_values(batch.obs), models.q(batch.obs)
    assert heads.shape == (K, H, B, A)
    for i in range(K):
        expected = np.stack([head_values(models, i, k, batch.obs[i]) for k in range(H)])
        np.testing.assert_allclose(float64(heads[i]), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(float64(mean[i]), expected.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_a_soup_of_one_submodel_acts_as_it_does():
    models, batch = make_models(), make_batch()
    soup = weight_soup(models, [0.0, 1.0, 0.0])
    torch.testing.assert_close(soup(batch.obs[1:2])[0], models.q(batch.obs)[1], rtol=1e-5, atol=1e-6)
    mixed = weight_soup(models, [0.5, 0.5, 0.0])(batch.obs[1:2])
    assert not torch.allclose(mixed, models.q(batch.obs)[1:2], atol=1e-3)


# Losses


def td_oracle(models, batch, reward, gamma):
    errors = np.zeros((K, H, B))
    for i in range(K):
        for k in range(H):
            for b in range(B):
                best = head_values(models, i, k, batch.next_obs[i, b]).argmax()
                following = head_values(models, i, k, batch.next_obs[i, b], target=True)[best]
                y = reward[i, b].item() + gamma * (1 - batch.terminated[i, b].item()) * following
                errors[i, k, b] = head_values(models, i, k, batch.obs[i, b])[batch.action[i, b]] - y
    return errors


def test_td_errors_of_every_head_against_a_loop():
    models, batch = make_models(), make_batch()
    reward = torch.randn(K, B, generator=torch.Generator().manual_seed(3))
    expected = td_oracle(models, batch, reward, 0.9)
    for frozen in (False, True):
        found = ensemble_td_errors(models, batch, reward, 0.9, frozen=frozen)
        np.testing.assert_allclose(float64(found), expected, rtol=1e-4, atol=2e-5)
        models.zero_grad(set_to_none=True)
        found.square().sum().backward()
        trunk = models.trunks.weights[0].grad
        assert (trunk is None) == frozen
        assert models.heads.weights[0].grad.abs().sum() > 0
    assert batch.terminated.max() == 1


def moments(logits, atoms):
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (p / p.sum(axis=-1, keepdims=True)) @ atoms


def phi_of_members(signal, task, x, atoms):
    """Phi_e(x) of the slow copies, [E, B]."""
    nets = [(layers_of_task(signal.target, task, e), layers_of_member(signal.prior_net.net, e)) for e in range(E)]
    return np.stack([moments(perceptron(own, x) + perceptron(prior, x), atoms) for own, prior in nets])


def make_curiosity(tasks=K, **options):
    models = make_models(tasks)
    config = ImtConfig(**{**SMALL, "one_hot_obs": False, "kappa": 0.7, "hidden": (7, 8), **options})
    # Instances of any environment with A actions: the observations here are made up.
    with learner() as other:
        return Curiosity(config.cder(0.9, (7, 8)), models, D, other.actors, 1.0, 5, torch.device("cpu"))


@pytest.mark.parametrize("shaping", [True, False])
def test_intrinsic_reward_against_a_loop(shaping):
    curiosity, batch = make_curiosity(shaping=shaping), make_batch()
    atoms = np.linspace(-1, 1, 11)
    expected = np.zeros((K, B))
    for i in range(K):
        here, there = (phi_of_members(curiosity.signal, i, x[i], atoms) for x in (batch.obs, batch.next_obs))
        continues = 1 - float64(batch.terminated[i])
        expected[i] = float64(batch.reward[i]) + 0.7 * continues * there.std(axis=0)
        if shaping:
            expected[i] += 0.9 * continues * there.mean(axis=0) - here.mean(axis=0)
        np.testing.assert_allclose(curiosity.bonus(batch.next_obs)[i], there.std(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(curiosity.learn_signal(batch), expected, rtol=1e-4, atol=1e-6)


def test_without_bonus_and_shaping_the_reward_is_the_environments_and_no_signal_learns():
    for options, learns in (({}, True), ({"kappa": 0.0}, True), ({"kappa": 0.0, "shaping": False}, False)):
        curiosity, batch = make_curiosity(**options), make_batch()
        before = [p.clone() for p in curiosity.signal.parameters()]
        losses = curiosity.td_losses(batch)
        changed = any(not torch.equal(p, q) for p, q in zip(before, curiosity.signal.parameters(), strict=True))
        assert changed == learns
        plain = td_oracle(curiosity.models, batch, batch.reward, 0.9)
        assert np.allclose(float64(losses), (plain**2).mean(axis=(1, 2)), rtol=1e-4) == (not learns)


def test_a_submodel_of_one_task_has_the_td_errors_of_cder():
    curiosity, batch = make_curiosity(tasks=1), make_batch(tasks=1)
    models = curiosity.models
    agent = CderAgent(curiosity.config, D, A, 2, seed=0)
    with torch.no_grad():
        for ours, theirs in (
            ((models.trunks, models.heads), agent.critic.online),
            ((models.target_trunks, models.target_heads), agent.critic.target),
        ):
            trunk, heads = ours
            theirs.weights[0].copy_(trunk.weights[0][0].repeat(1, H))
            theirs.biases[0].copy_(trunk.biases[0][0, 0].repeat(H))
            theirs.weights[1].copy_(trunk.weights[1].expand(H, -1, -1))
            theirs.biases[1].copy_(trunk.biases[1].expand(H, -1, -1))
            theirs.weights[2].copy_(heads.weights[0][0].view(8, H, A).transpose(0, 1))
            theirs.biases[2].copy_(heads.biases[0][0].view(1, H, A).transpose(0, 1))
        pairs = [
            (models.prior_net.net, agent.critic.prior_net.net),
            (curiosity.signal.prior_net.net, agent.signal.prior_net.net),
            (curiosity.signal.online, agent.signal.online),
            (curiosity.signal.target, agent.signal.target),
        ]
        for ours, theirs in pairs:
            for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
                other.copy_(own.view(other.shape))
    rows = {f.name: getattr(batch, f.name)[0] for f in dataclasses.fields(TaskBatch)}
    loss, errors = agent.losses(rows, torch.full((B,), 1 / B), collect=False)
    loss.backward()
    reward = curiosity.learn_signal(batch)
    found = ensemble_td_errors(models, batch, reward, 0.9)[0]
    torch.testing.assert_close(found.abs().mean(dim=0).detach(), errors, rtol=1e-4, atol=1e-5)
    # The signal's loss is CDER's too: same gradient.
    for own, other in zip(curiosity.signal.online.parameters(), agent.signal.online.parameters(), strict=True):
        torch.testing.assert_close(own.grad.view(other.shape), other.grad, rtol=1e-3, atol=1e-6)


# Playing


def test_a_head_acts_for_a_whole_episode_and_another_is_drawn_after_it():
    with learner(critic_heads=50, envs_per_task=4) as made:
        before = made.curiosity.policy.heads.copy()
        changed = []
        for _ in range(2 * 5):
            columns = made.actors.step(lambda _: np.zeros(12, np.int64))
            made.curiosity.observe(made.actors, columns["reward"])
            changed.append((made.curiosity.policy.heads != before).sum())
            before = made.curiosity.policy.heads.copy()
        # Episodes of DeepSea 5 have five steps; one draw in 50 finds the same head again.
        assert min(changed[4], changed[9]) >= 9
        assert sum(changed) == changed[4] + changed[9]


def test_each_instance_follows_its_head_with_a_bonus_for_disagreement():
    with learner(ucb_c=2.0) as made:
        obs = torch.from_numpy(made.actors.obs).view(3, 4, -1)
        with torch.no_grad():
            q = float64(made.models.head_values(obs))
        heads = made.curiosity.policy.heads.reshape(3, 4)
        for i, actions in enumerate(made.curiosity.act(obs).reshape(3, 4)):
            for row, action in enumerate(actions):
                scores = q[i, heads[i, row], row] + 2.0 * q[i, :, row].std(axis=0)
                assert action == scores.argmax()


def test_a_return_outside_the_atoms_stops_the_run():
    with learner(z_max=0.001, z_min=-0.001) as made, pytest.raises(ConfigError, match=r"z_min=-0\.001, z_max=0\.001"):
        made.collect(made.actors, made.replay, 0.0)


SEARCH = {
    "critic_heads": 8,
    "signal_members": 4,
    "signal_hidden": (32,),
    "signal_lr": 0.005,
    "atoms": 21,
    "hidden": (64,),
    "gamma": 0.99,
    "rounds": 14,
    "steps_per_round": 100,
    "submodel_updates": 60,
    "head_updates": 60,
    "batch_size": 64,
    "lr": 0.005,
}


def rewards_found(**options):
    """Episodes of each task that reached the reward of DeepSea 10, of 140; uniform actions reach it in one of 1024."""
    with learner(seed=100, size=10, sharing="none", **{**SEARCH, **options}) as made:
        made.train()
        return [sum(total > 0.5 for total in task) for task in made.actors.returns]


def test_curiosity_finds_rewards_that_epsilon_greedy_submodels_do_not():
    curious = rewards_found()
    plain = {name: ImtConfig.__dataclass_fields__[name].default for name in CURIOSITY_OPTIONS}
    greedy = rewards_found(exploration="epsilon_greedy", **plain)
    print(f"episodes with a reward, by task: curiosity {curious}, epsilon-greedy {greedy}")
    assert min(curious) >= 1
    assert sum(curious) >= 15
    assert sum(greedy) <= 2


# Going on


def everything(made):
    """A learner's state as bytes, but for nothing."""

    def plain(value):
        if isinstance(value, dict):
            return {str(key): plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        if isinstance(value, torch.Tensor):
            value = value.numpy()
        return [str(value.dtype), value.tobytes().hex()] if isinstance(value, np.ndarray) else repr(value)

    return json.dumps(plain(made.state_dict()))


@pytest.mark.parametrize("options", [{}, {"sharing": "none"}, {"kappa": 0.0, "prior_scale": 0.0}])
@pytest.mark.parametrize("stop_after", [0, 2])
def test_a_restored_learner_goes_on_bit_for_bit(options, stop_after, tmp_path):
    whole, part = learner(**options), learner(**options)
    whole.train()
    part.pretrain()
    for _ in range(stop_after):
        part.round()
    write_checkpoint(tmp_path / "state", part.state_dict())
    other = learner(**options)
    other.load_state_dict(read_checkpoint(tmp_path / "state"))
    other.train()
    assert everything(other) == everything(whole)
    assert everything(part) != everything(whole)


RUN = ["env_tasks=3", "val_tasks=0", "test_tasks=2", "size=5", "evaluation_episodes=2"]
RUN += [f"{name}={','.join(map(str, v)) + ',' if isinstance(v, tuple) else v}" for name, v in SMALL.items()]


def test_a_run_that_was_stopped_and_continued_is_the_same(tmp_path):
    config = resolve_config("imt", "DeepSea-v0", None, RUN)
    run_to_end(config, tmp_path / "whole")
    whole = json.dumps(contents(tmp_path / "whole"))
    stopped = run_to_end(config, tmp_path / "part", StopAt(config.total_steps * 3 // 4))
    assert stopped["status"] == "interrupted"
    run_to_end(config, tmp_path / "part", resume=True)
    assert json.dumps(contents(tmp_path / "part")) == whole


# Settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exploration": "greedy"}, "exploration='greedy'"),
        ({"kappa": 0.5}, "kappa=0.5: needs exploration='curiosity'"),
        ({"signal_hidden": (8,)}, r"signal_hidden=\(8,\): needs exploration='curiosity'"),
        ({"exploration": "curiosity", "td_tasks": "others"}, "needs td_tasks='own'"),
        ({"exploration": "curiosity", "tune_on": "test"}, "tune_on='train'"),
        ({"exploration": "curiosity", "z_max": -1.0}, "z_max=-1.0: must be > z_min=-1.0"),
        ({"exploration": "curiosity", "critic_heads": 0}, "critic_heads=0"),
        ({"exploration": "curiosity", "kappa": -0.1}, "kappa=-0.1"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ConfigError, match=message):
        ImtConfig(**options)


def test_images_have_to_be_flat():
    tasks = {"map_seed": np.array([1.0, 2.0, 3.0])}
    with pytest.raises(ConfigError, match="image_encoding='flat'"):
        learner(env_id="MiniGrid-DoorKey-5x5-v0", tasks=tasks, one_hot_obs=False)


def test_a_box_that_is_called_one_hot_has_to_be(tmp_path):
    with pytest.raises(ConfigError, match="one_hot_obs=True"):
        learner(env_id="PointRobot-v0", tasks={"goal_x": np.zeros(3), "goal_y": np.array([0.1, 0.2, 0.3])})


def test_ensembles_are_no_sub_agents():
    with learner() as made, pytest.raises(ConfigError, match="exploration='curiosity'"):
        MetaAgent.from_imt(made)
