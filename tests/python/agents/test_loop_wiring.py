"""How the loop ties its parts together: schedules, number of updates, heads, targets, weights, evaluation."""

import numpy as np
import pytest
import torch

from metarl_core.agents import resolve_config
from metarl_core.agents.evaluate import evaluate_agent
from metarl_core.agents.loop import Trainer, train
from metarl_core.runs import RunReader, RunWriter

OPTIONS = ["size=4", "total_steps=400", "num_envs=4", "hidden=8", "signal_hidden=8", "members=4", "batch_size=16"]
OPTIONS += ["learning_starts=64", "log_interval=40", "evaluation_episodes=0"]


def config_of(*more, algorithm="cder", env_id="DeepSea-v0"):
    return resolve_config(algorithm, env_id, None, [*OPTIONS, *more])


@pytest.fixture
def open_trainer(tmp_path):
    opened = []

    def make(*more):
        config = config_of(*more)
        run = RunWriter(tmp_path / str(len(opened)), config.to_dict())
        trainer = Trainer(config, run)
        opened.extend((run, trainer.envs))
        return trainer

    yield make
    for item in opened:
        item.close()


def play_until_ready(trainer):
    while trainer.step < 100:
        trainer.act()
    return trainer


def test_tau_rises_to_its_end_over_the_whole_run(tmp_path):
    config = config_of("tau_start=0.2", "tau_end=0.8", "train_every=4")
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        train(config, run)
    metrics = RunReader(tmp_path / "run").metrics
    steps = metrics["step"]
    assert list(steps) == list(range(40, 401, 40))
    expected = np.where(steps < 64, 0.2, 0.2 + 0.6 * steps / 400)
    np.testing.assert_allclose(metrics["beta"], expected, atol=1e-12)


@pytest.mark.parametrize(("train_every", "epochs"), [(4, 1), (4, 3), (8, 2), (6, 1), (1, 2)])
def test_the_number_of_updates_follows_from_train_every_and_epochs(open_trainer, train_every, epochs):
    trainer = open_trainer(f"train_every={train_every}", f"epochs={epochs}")
    while not trainer.finished():
        trainer.act()
        trainer.learn()
    learning_steps = 400 - 64 + 4  # the step that reaches learning_starts is the first to learn after
    assert trainer.agent.updates == learning_steps // train_every * epochs


def test_heads_are_drawn_anew_where_an_episode_ends_and_only_there(open_trainer):
    trainer = open_trainer("members=1000")
    heads = trainer.agent.policy.heads.copy()
    for _ in range(3):
        trainer.act()
        np.testing.assert_array_equal(trainer.agent.policy.heads, heads)
    trainer.act()  # all episodes have four steps
    assert (trainer.agent.policy.heads != heads).all()
    heads = trainer.agent.policy.heads.copy()
    trainer.agent.begin_episodes(np.array([True, False, True, False]), np.zeros(4))
    np.testing.assert_array_equal(trainer.agent.policy.heads[[1, 3]], heads[[1, 3]])
    assert (trainer.agent.policy.heads[[0, 2]] != heads[[0, 2]]).all()


def test_the_signals_slow_copy_moves_by_its_share_with_each_update(open_trainer):
    trainer = play_until_ready(open_trainer("signal_polyak=0.25", "epochs=1", "train_every=4"))
    signal = trainer.agent.signal
    before = [p.clone() for p in signal.target.parameters()]
    trainer.learn()
    assert trainer.agent.updates == 1
    for old, slow, online in zip(before, signal.target.parameters(), signal.online.parameters(), strict=True):
        torch.testing.assert_close(slow, 0.75 * old + 0.25 * online)
    assert any(not torch.equal(a, b) for a, b in zip(before, signal.target.parameters(), strict=True))


@pytest.mark.parametrize("normalization", ["sum", "max", "batch_max", "none"])
def test_weights_reach_the_loss_as_a_mean_over_the_batch(open_trainer, normalization):
    """With equal priorities all weights are equal; each normalisation then gives the plain mean, 1 / B each."""
    trainer = play_until_ready(
        open_trainer(
            f"weight_normalization={normalization}", "alpha=0", "epochs=1", "train_every=4", "tau_start=0", "tau_end=0"
        )
    )
    seen = []
    learn = trainer.agent.learn
    trainer.agent.learn = lambda batch, weights, *rest, **named: (
        seen.append(weights.clone()) or learn(batch, weights, *rest, **named)
    )
    trainer.learn()
    (weights,) = seen
    np.testing.assert_allclose(weights.numpy(), np.full(16, 1 / 16), rtol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "vote", "best"])
def test_greedy_actions_follow_the_evaluation_option(open_trainer, kind):
    trainer = open_trainer(f"evaluation={kind}")
    agent = trainer.agent
    q = torch.tensor([[[0.0, 1.0]], [[0.0, 1.0]], [[9.0, 0.0]], [[0.0, 1.0]]])  # mean: 0, vote: 1
    agent.policy.head_returns[:] = [0.0, 1.0, 3.0, 2.0]  # the third head is the best: 0
    agent.critic.forward = lambda _: q
    assert agent.greedy(torch.zeros(1))[0] == {"mean": 0, "vote": 1, "best": 0}[kind]
    agent.policy.head_returns[:] = [5.0, 1.0, 3.0, 2.0]
    assert agent.greedy(torch.zeros(1))[0] == {"mean": 0, "vote": 1, "best": 1}[kind]


@pytest.mark.parametrize("episodes", [1, 7, 100, 103])
def test_every_instance_evaluates_its_share_of_the_episodes(open_trainer, monkeypatch, episodes):
    import metarl_core

    trainer = open_trainer()
    make, made, ends = metarl_core.make_vec, [], []

    def counting(env_id, num_envs, **named):
        envs = make(env_id, num_envs, **named)
        step = envs.step

        def counted(actions):
            out = step(actions)
            ends.append(int((out[2] | out[3]).sum()))
            return out

        envs.step = counted
        made.append(num_envs)
        return envs

    monkeypatch.setattr(metarl_core, "make_vec", counting)
    outcome = evaluate_agent(trainer.config, trainer.agent, trainer.encoder, episodes, seed=3)
    assert made == [min(episodes, 100)]
    assert outcome["episodes"] == len(outcome["returns"]) == episodes
    assert outcome["length_mean"] == 4
    rounds = -(-episodes // made[0])  # nobody plays more than one episode beyond the others
    assert sum(ends) == rounds * made[0]


@pytest.mark.slow  # half a minute of compiling
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
def test_a_compiled_loss_is_the_same_loss(tmp_path):
    config = config_of("compile=true")
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        seen = []
        losses = trainer.agent.losses
        trainer.agent.losses = lambda batch, weights, collect: (
            seen.append((batch, weights)) or losses(batch, weights, collect)
        )
        while trainer.step < 100:
            trainer.act()
            trainer.learn()
        batch, weights = seen[-1]
        compiled = losses(batch, weights, collect=False)
        plain = type(trainer.agent).losses(trainer.agent, batch, weights, collect=False)
        for ours, reference in zip(compiled, plain, strict=True):
            torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-6)
        trainer.envs.close()
