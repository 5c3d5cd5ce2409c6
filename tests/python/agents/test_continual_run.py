"""The loop of continual learning: every method, with tiny budgets."""

import dataclasses

import numpy as np
import pytest
import torch

from metarl_core.agents.continual import METHODS, ContinualConfig, TaskSequence, make_sequence, run_method
from metarl_core.agents.continual.environments import SequenceSpaces, TaskRows, record_reference
from metarl_core.agents.continual.methods.clear import Clear
from metarl_core.agents.continual.methods.imt import Imt
from metarl_core.agents.continual.methods.packnet import FREE, PackNet
from metarl_core.agents.continual.registry import method_class
from metarl_core.agents.continual.run import _Run, _Silent
from metarl_core.agents.imt.embedding import TaskEmbedding
from metarl_core.agents.imt.routing import RULES, Rule, choice_states, left_out_weights
from metarl_core.errors import ConfigError
from metarl_core.tasks import Flat, Task

TINY = ContinualConfig(
    hidden=(8,),
    num_envs=4,
    batch_size=16,
    learning_starts=16,
    evaluations=2,
    evaluation_episodes=2,
    reference_steps=128,
    memory=160,
    replay_capacity=400,
    fisher_samples=32,
    packnet_updates=5,
    rounds=1,
    local_updates=3,
    head_updates=3,
    pretrain_updates=3,
    reptile_iterations=2,
    inner_steps=3,
    embedding_features=8,
    predictor_hidden=(8,),
    rl2_length=8,
    rl2_hidden=8,
)


def goals(*places):
    return [Task(f"goal {i}", "PointRobot-v0", {"goal_x": x, "goal_y": y}) for i, (x, y) in enumerate(places)]


def short_sequence(steps=300, cycles=1):
    tasks = goals((0.5, 0.0), (-0.5, 0.0), (0.0, 0.5))
    return TaskSequence(
        "goals", Flat(tasks, steps, cycles), (Task("unseen", "PointRobot-v0", {"goal_x": 0.3, "goal_y": 0.3}),)
    )


def learner_of(method, sequence, config=TINY, seed=0):
    return _Run(sequence, method, config, seed, _Silent())


# Beyond those within the phases: of 1, 2 and 3 networks; of IMT step 1, and a round from the third task on.
UPDATES = {
    "finetune": 0,
    "independent": 0,
    "packnet": 3 * TINY.packnet_updates,
    "fedavg": TINY.rounds * TINY.local_updates * (1 + 2 + 3),
    "reptile": TINY.reptile_iterations * TINY.inner_steps * (1 + 2 + 3),
    "imt": TINY.pretrain_updates + TINY.rounds * (TINY.local_updates + TINY.head_updates) * 3,
}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_through_the_same_loop(method, monkeypatch):
    sequence, training = short_sequence(), []
    step = TaskRows.step

    def counted(rows, actions):
        if rows.per_task != TINY.evaluation_episodes and rows.per_task != 100:
            training.append(actions.size)
        return step(rows, actions)

    monkeypatch.setattr(TaskRows, "step", counted)
    result = run_method(sequence, method, TINY, seed=3)
    kind = method_class(method)
    assert result.steps.tolist() == [0, 150, 300, 450, 600, 750, 900]
    assert result.phase_ends.tolist() == [2, 4, 6]
    assert result.returns.shape == (7, 3)
    assert result.performance.shape == (3, 3)
    assert np.isfinite(result.returns).all()
    assert result.returns.max() < 0
    assert result.held_out_returns.shape == (1,)
    assert result.unnamed_returns.shape == (3,)
    reference = TINY.reference_steps if kind.embeds else 0
    # Equal environment steps, to what the last step of all instances goes beyond a phase.
    assert 3 * (300 - reference) <= sum(training) < 3 * (300 - reference + TINY.num_envs)
    assert result.environment_steps == 900
    # An episode of PointRobot has 100 steps: RL^2 meets a task in the first of a trial's two.
    assert result.adaptation_steps == (100 if method == "rl2" else TINY.reference_steps if kind.meets else 0)
    if method in UPDATES:
        assert result.updates == 3 * (300 // TINY.train_every) + UPDATES[method]
    assert result.updates > 0
    assert result.parameters > 0
    told = {"multihead", "scratch", "joint", "independent", "imt", "l2", "ewc", "packnet", "clear", "agem", "reptile"}
    assert result.identity == (method in told)
    assert result.simultaneous == (method in {"joint", "rl2"})


@pytest.mark.parametrize("method", ["finetune", "imt", "ewc", "clear", "reptile", "rl2"])
def test_a_seed_means_the_same_run(method):
    first, again, other = (run_method(short_sequence(260), method, TINY, seed=seed) for seed in (1, 1, 2))
    for name in ("returns", "held_out_returns", "unnamed_returns", "random_returns"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.returns, other.returns)


@pytest.mark.parametrize("method", ["scratch", "fedavg", "packnet"])
def test_what_was_learned_is_measured_before_the_methods_own_step(method, monkeypatch):
    kind, seen, made = method_class(method), [], []
    original = kind.end_task

    def end_task(learner, task):
        seen.append(made[0]._returns_now())
        original(learner, task)

    monkeypatch.setattr(kind, "end_task", end_task)
    run = learner_of(method, short_sequence(), dataclasses.replace(TINY, packnet_updates=0))
    made.append(run)
    run.evaluate(0)
    ends = [run.phase(phase) for phase in run.sequence.flat]
    np.testing.assert_array_equal(run.learned, seen)
    after = np.stack([run.returns[end] for end in ends])
    assert np.array_equal(run.learned, after) == (method == "scratch")  # the same episodes, too


def test_scratch_begins_every_task_with_a_network_of_its_own():
    obs = np.random.default_rng(0).normal(size=(3, 500, 2)).astype(np.float32)
    for method, newest in (("scratch", [0, 1, 2]), ("independent", [0, 0, 0]), ("multihead", [0, 0, 0])):
        run = learner_of(method, short_sequence())
        learner = run.learner
        run.evaluate(0)
        begun = learner.model(torch.from_numpy(obs), range(3)).argmax(dim=2).numpy()
        run.phase(run.sequence.flat[0])
        q = learner.model(torch.from_numpy(obs), newest).argmax(dim=2).numpy()
        np.testing.assert_array_equal(learner.greedy(obs, range(3)), q)
        if method == "scratch":
            np.testing.assert_array_equal(q[1:], begun[1:])  # untrained


@pytest.mark.parametrize("method", ["imt", "fedavg", "agem", "clear", "reptile"])
def test_tasks_come_again_in_any_order(method):
    first, second, third = goals((0.5, 0.0), (-0.5, 0.0), (0.0, 0.5))
    run = learner_of(method, TaskSequence("again", Flat([first, second, first, third, second], 300)))
    seen = set()
    for phase in run.sequence.flat:
        run.phase(phase)
        seen.add(phase.task_index)
        if method == "clear":
            assert set(run.learner.reservoir.task_counts()) == seen
            continue
        each = TINY.memory - (TINY.reference_steps if method == "imt" else 0)
        assert run.learner.memory.counts() == dict.fromkeys(sorted(seen), each)
    with pytest.raises(ConfigError, match=r"packnet: cannot learn a task a second time; give cycles=1 and every task"):
        run_method(run.sequence, "packnet", TINY)


def test_fine_tuning_forgets_where_a_last_layer_for_each_task_does_not():
    """Two goals on opposite sides, which no observation tells: one network cannot keep both."""
    sequence = TaskSequence("opposite", Flat(goals((0.5, 0.0), (-0.5, 0.0)), 2000))
    config = ContinualConfig(evaluations=1, evaluation_episodes=4, hidden=(32,), gamma=0.95, lr=3e-3)
    kept = {m: run_method(sequence, m, config, seed=0).performance[:, 0] for m in ("finetune", "multihead")}
    assert kept["finetune"][0] > -5  # learned
    assert kept["finetune"][1] < -40  # and lost
    assert kept["multihead"][0] > -5
    assert kept["multihead"][1] > -5


@pytest.mark.parametrize("method", ["scratch", "packnet"])
def test_what_is_frozen_stays_bit_for_bit(method):
    run = learner_of(method, short_sequence())
    obs = np.random.default_rng(0).normal(size=(1, 500, 2)).astype(np.float32)
    phases = run.sequence.flat.phases
    run.evaluate(0)
    run.phase(phases[0])
    if method == "packnet":
        before = run.learner.masked([0]).state_dict()
    actions = run.learner.greedy(obs, [0])
    for phase in phases[1:]:
        run.phase(phase)
        np.testing.assert_array_equal(run.learner.greedy(obs, [0]), actions)
    if method == "packnet":
        after = run.learner.masked([0]).state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_packnet_is_first_evaluated_as_the_network_that_it_starts_from():
    learner = learner_of("packnet", short_sequence()).learner
    obs = np.random.default_rng(0).normal(size=(3, 500, 2)).astype(np.float32)
    q = learner.model(torch.from_numpy(obs), [0, 0, 0]).argmax(dim=2).numpy()
    np.testing.assert_array_equal(learner.greedy(obs, range(3)), q)
    assert len(np.unique(q)) > 1


def test_packnet_deals_the_weights_out():
    run = learner_of("packnet", short_sequence())
    learner = run.learner
    assert isinstance(learner, PackNet)
    for number, phase in enumerate(run.sequence.flat):
        run.phase(phase)
        for weight, owner in zip(learner.model.trunks.weights, learner.owners, strict=True):
            assert (weight[owner == FREE] == 0).all()
            shares = [int((owner == task).sum()) for task in range(3)]
            assert all((share > 0) == (task <= number) for task, share in enumerate(shares))
    for owner in learner.owners:  # a third each, to rounding
        assert (owner != FREE).all()
        assert max((owner == t).sum() for t in range(3)) - min((owner == t).sum() for t in range(3)) <= 1
    assert learner.stored_bytes() == 2 * 8
    with pytest.raises(
        ConfigError, match=r"packnet: cannot learn a task a second time; give cycles=1 and every task once"
    ):
        run_method(short_sequence(cycles=2), "packnet", TINY)


def test_imt_keeps_m_transitions_of_each_task_and_a_submodel():
    run = learner_of("imt", short_sequence())
    learner = run.learner
    assert isinstance(learner, Imt)
    for number, phase in enumerate(run.sequence.flat, start=1):
        begun = {name: p.clone() for name, p in learner.model.state_dict().items()}
        run.phase(phase)
        assert learner.submodels.members == number
        kept = learner.memory.counts()
        assert kept == dict.fromkeys(range(number), TINY.memory - TINY.reference_steps)
        pairs = list(zip(learner.router.fitted, learner.router.held, strict=True))
        assert [len(fit) + len(held) for fit, held in pairs] == [TINY.reference_steps] * number
        assert all(not set(fit.episodes) & set(held.episodes) for fit, held in pairs)
        assert all(len(held) == TINY.reference_steps // 4 for _, held in pairs)
        changed = [not torch.equal(begun["trunks.weights.0"][i], learner.model.trunks.weights[0][i]) for i in range(3)]
        # Rounds begin with the third task; until then earlier submodels rest.
        assert changed == {1: [True, False, False], 2: [False, True, False], 3: [True, True, True]}[number]
    for own, playing in (
        (learner.submodels.trunks, learner.model.trunks),
        (learner.submodels.heads, learner.model.heads),
    ):
        assert all(torch.equal(a, b) for a, b in zip(own.parameters(), playing.parameters(), strict=True))
    weights = learner.meet([record_reference(run.sequence.held_out[0], 128, 1, run.spaces)])
    assert weights.shape == (3, 1)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("capacity", [400, 290, 150])
def test_no_reference_transition_is_in_imts_memory(capacity):
    """Nor in the fit of the embeddings, if it is held out; whatever of the phase the replay still holds."""
    config = dataclasses.replace(TINY, replay_capacity=capacity, memory=TINY.reference_steps + 172)
    run = learner_of("imt", short_sequence(), config)
    learner, stored, store = run.learner, [], run.learner.store

    def seen(columns, tasks):
        stored.extend(rows_of({name: column[0] for name, column in columns.items()}))
        store(columns, tasks)

    learner.store = seen
    for number, phase in enumerate(run.sequence.flat):
        stored.clear()
        run.phase(phase)
        assert len(stored) == 300
        played = stored[max(TINY.reference_steps, 300 - capacity) :]
        assert sorted(rows_of(learner.memory.columns(number))) == sorted(played)
    router = learner.router
    again = TaskEmbedding(TINY.embedding_features, whiten=True, seed=0).fit(router.fitted)
    np.testing.assert_array_equal(router.embedding.train_embeddings, again.train_embeddings)


def rows_of(columns):
    names = ("obs", "action", "reward", "next_obs")
    return [tuple(columns[name][i].tobytes() for name in names) for i in range(len(columns["reward"]))]


def test_a_soup_is_the_network_of_the_mean_weights():
    run = learner_of("imt", short_sequence())
    for phase in run.sequence.flat:
        run.phase(phase)
    learner = run.learner
    obs = np.random.default_rng(0).normal(size=(2, 200, 2)).astype(np.float32)
    met = np.array([[0.2, 1.0], [0.3, 0.0], [0.5, 0.0]])
    found = learner.greedy_new(obs, met)
    np.testing.assert_array_equal(found[1], learner.greedy(obs[1:], [0])[0])
    h = obs[0].astype(np.float64)
    for net, relu in ((learner.model.trunks, True), (learner.model.heads, False)):
        for weight, bias in zip(net.weights, net.biases, strict=True):
            w, b = (np.tensordot(met[:, 0], p.detach().double().numpy(), 1) for p in (weight, bias))
            h = h @ w + b
            h = np.maximum(h, 0) if relu else h
    assert (found[0] == h.argmax(axis=1)).mean() > 0.99


def test_independent_networks_are_those_from_scratch():
    """But for the reference policy's steps: here there is nothing else in the phase."""
    sequence = dataclasses.replace(short_sequence(136), held_out=())
    run = learner_of("independent", sequence, dataclasses.replace(TINY, evaluations=1))
    for phase in sequence.flat:
        run.phase(phase)
    learner = run.learner
    assert learner.updates == 3 * (136 // TINY.train_every)
    assert learner.stored_bytes() > 3 * 128 * (2 * 2 * 4)
    known = learner.meet(learner.router.fitted)
    assert known.argmax(axis=0).tolist() == [0, 1, 2]  # each is the nearest to itself


@pytest.mark.parametrize("method", ["independent", "imt"])
def test_weights_on_a_new_task_are_chosen_by_leaving_one_task_out(method):
    run = learner_of(method, dataclasses.replace(make_sequence("PointRobot-tasks", 5, 300), held_out=()))
    learner = run.learner
    references = [record_reference(run.sequence.tasks[0], 128, seed, run.spaces) for seed in (1, 2)]
    for phase in run.sequence.flat:
        run.phase(phase)
        known = learner.router.known
        if len(learner.router.fitted) == 3:
            assert learner._rule() == Rule("mixture", TINY.mixture_ridge)  # too few
    states = [run.spaces.columns(dataset)["obs"] for dataset in learner.router.fitted]
    obs = np.stack([rows[choice_states(min(map(len, states)))] for rows in states])
    losses = []
    for rule in RULES:
        actions = learner.greedy_new(obs, left_out_weights(rule, known))
        with torch.no_grad():
            q = learner.model(torch.from_numpy(obs), list(range(5))).double()
        lost = q.max(dim=2).values - q.gather(2, torch.from_numpy(actions).unsqueeze(2)).squeeze(2)
        losses.append(float((lost.mean(dim=1) / (q.max(dim=2).values - q.mean(dim=2)).mean(dim=1)).mean()))
    rule = learner._rule()
    assert losses[RULES.index(rule)] == pytest.approx(min(losses), rel=1e-4)
    expected = [rule.weights(learner.router.embedding.vector(dataset), known) for dataset in references]
    np.testing.assert_array_equal(learner.meet(references), np.stack(expected, axis=1))


def test_clears_reservoir_is_of_all_tasks():
    run = learner_of("clear", short_sequence(400))
    learner = run.learner
    assert isinstance(learner, Clear)
    for phase in run.sequence.flat:
        run.phase(phase)
    counts = learner.reservoir.task_counts()
    assert sum(counts.values()) == len(learner.reservoir) == 3 * TINY.memory
    assert min(counts.values()) > 0.6 * TINY.memory


def test_cycles_go_on_with_what_there_is():
    result = run_method(short_sequence(256, cycles=2), "imt", TINY)
    assert result.phase_ends.tolist() == [2, 4, 6, 8, 10, 12]
    assert run_method(short_sequence(150, cycles=2), "scratch", TINY).parameters == 3 * (2 * 8 + 8 + 8 * 9 + 9)


def test_games_are_filled_up_to_equal_spaces():
    sequence = make_sequence("MinAtar-games", 3, 128)
    assert [task.name for task in sequence.tasks] == ["Breakout", "Asterix", "SpaceInvaders"]
    spaces = SequenceSpaces(sequence.tasks, 3, True, pad_channels=True)
    assert spaces.in_features == 10 * 10 * 6
    rows = TaskRows(sequence.tasks, 2, spaces, seed=0)
    try:
        assert rows.obs.shape == (3, 2, 600)
        images = rows.obs.reshape(3, 2, 10, 10, 6)
        assert images[0, ..., :4].any()
        assert not images[0, ..., 4:].any()
        columns = rows.step(np.zeros((3, 2), np.int64))
        assert columns["next_obs"].shape == (3, 2, 600)
    finally:
        rows.close()
    result = run_method(sequence, "imt", dataclasses.replace(TINY, reference_steps=64, memory=80))
    assert np.isfinite(result.returns).all()


def test_sequences_are_refused_that_no_learner_could_take():
    with pytest.raises(ConfigError, match=r"has one task \(goal 0\); expected at least 2"):
        TaskSequence("alone", Flat(goals((0.1, 0.1)), 100))
    with pytest.raises(ConfigError, match=r"(?s)sequence 'mixed': .*'goal 0'.*'cart'.*"):
        TaskSequence("mixed", Flat([*goals((0.1, 0.1)), Task("cart", "CartPole-v1")], 100))
    with pytest.raises(ConfigError, match=r"tasks=1: expected at least 2"):
        make_sequence("CartPole-tasks", 1, 100)
    with pytest.raises(ConfigError, match=r"unknown sequence 'CartPole'; did you mean 'CartPole-tasks'\?"):
        make_sequence("CartPole", 3, 100)
    with pytest.raises(ConfigError, match=r"tasks=6: MinAtar-games has 5 games"):
        make_sequence("MinAtar-games", 6, 100)
    with pytest.raises(ConfigError, match=r"split is 'extrapolation'; must be None or 'random'"):
        make_sequence("Maze-tasks", 3, 100, split="extrapolation")
    with pytest.raises(ConfigError, match=r"unknown method 'ewx'; did you mean 'ewc'\? valid: finetune, "):
        run_method(short_sequence(), "ewx", TINY)
    with pytest.raises(
        ConfigError, match=r"imt: a phase has 100 environment steps; expected more than reference_steps=128"
    ):
        run_method(short_sequence(100), "imt", TINY)
    with pytest.raises(
        ConfigError,
        match=r"independent: the first of evaluations=2 in a phase of 254 steps is due at step 127; expected at least "
        r"reference_steps=128, .* fewer evaluations",
    ):
        run_method(short_sequence(254), "independent", TINY)
    with pytest.raises(ConfigError, match=r"memory=100: must be more than reference_steps=2048"):
        ContinualConfig(memory=100)


def test_too_few_episodes_to_hold_one_out():
    with pytest.raises(ConfigError, match=r"held_out=0\.01: of the \d+ reference episodes of task 0 none is held out"):
        run_method(short_sequence(), "independent", dataclasses.replace(TINY, held_out=0.01))


@pytest.mark.parametrize(
    ("name", "reference_return"),
    [("CartPole-tasks", 500.0), ("Maze-tasks", 1.0), ("CartPole-v1", 500.0), ("Pendulum-tasks", None)],
)
def test_sequences_by_name_have_the_same_tasks_for_one_seed(name, reference_return):
    first, again, other = (make_sequence(name, 3, 100, held_out=2, seed=seed) for seed in (0, 0, 1))
    assert first.to_dict() == again.to_dict()
    assert first.tasks != other.tasks
    assert len(first.held_out) == 2
    assert not set(first.tasks) & set(first.held_out)
    assert first.reference_return == reference_return


def test_an_episode_that_ends_is_followed_by_its_last_observation():
    spaces = SequenceSpaces(goals((0.5, 0.0)), 3, True)
    rows = TaskRows(goals((0.5, 0.0), (-0.5, 0.0)), 2, spaces, seed=0)
    right = np.full((2, 2), 8)  # both components at their upper bound
    try:
        columns = [rows.step(right) for _ in range(100)]
    finally:
        rows.close()
    last = columns[-1]
    assert last["ended"].all()
    assert not last["terminated"].any()
    np.testing.assert_allclose(last["next_obs"] - last["obs"], 0.1, atol=1e-5)
    np.testing.assert_allclose(rows.obs, 0.0, atol=1e-6)
    # The reward is minus the distance to each task's own goal.
    distance = np.linalg.norm(last["next_obs"] - np.array([[[0.5, 0.0]], [[-0.5, 0.0]]]), axis=2)
    np.testing.assert_allclose(last["reward"], -distance, rtol=1e-4)


@pytest.mark.slow
def test_imt_forgets_less_than_half_of_what_fine_tuning_does():
    tasks = goals((0.4, 0.4), (-0.4, -0.4), (0.4, -0.4))
    sequence = TaskSequence("corners", Flat(tasks, 6000))
    config = ContinualConfig(evaluations=1, evaluation_episodes=4)
    lost = {}
    for method in ("finetune", "imt"):
        returns = run_method(sequence, method, config, seed=0).performance
        assert np.diag(returns).mean() > -20, method  # learned; uniform actions get about -90
        lost[method] = (np.diag(returns) - returns[-1])[:2].mean()
    assert lost["finetune"] > 30
    assert lost["imt"] < lost["finetune"] / 2
