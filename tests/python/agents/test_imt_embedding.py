"""Task embeddings against the formula in NumPy, and what they must not depend on."""

import copy

import numpy as np
import pytest

from metarl_core.agents.imt import TaskEmbedding
from metarl_core.agents.imt.features import fourier_weights, transition_vectors
from metarl_core.tasks import TaskDataset, task_family


def recorded(env_id="CartPole-v1", count=4, steps=1500, seed=100, **options):
    """Datasets of several tasks under random actions."""
    tasks = task_family(env_id).sample_tasks(count, seed=100)
    return [
        TaskDataset.record(
            env_id, steps=steps, seed=seed + i, task={name: values[i] for name, values in tasks.items()}, **options
        )
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def datasets():
    return recorded()


def vectors(data):
    """x of every transition, row by row."""
    rows = []
    for k in range(len(data)):
        action = np.zeros(data.num_actions) if data.num_actions else data.actions[k].astype(float)
        if data.num_actions:
            action[data.actions[k]] = 1.0
        s, after = data.obs[k].astype(float), data.next_obs[k].astype(float)
        rows.append(np.concatenate([s, action, [data.rewards[k]], after - s]))
    return np.array(rows)


def oracle(fit, asked, weights, phases, *, use_std=True, scale=False, whiten=False):
    """The formula in float64, with full covariances; embeddings of ``asked``."""
    pooled = np.concatenate([vectors(data) for data in fit])
    mean, deviation = pooled.mean(axis=0), pooled.std(axis=0)
    deviation[deviation < 1e-12] = 1.0

    def raw(x):
        psi = np.cos((x - mean) / deviation @ weights.T + phases)
        return np.concatenate([psi.mean(axis=0), psi.std(axis=0)]) if use_std else psi.mean(axis=0)

    u = np.array([raw(vectors(data)) for data in fit])
    spread = u.std(axis=0) if scale else np.ones(u.shape[1])
    matrix = np.eye(u.shape[1])
    if whiten:
        noise = []
        for data in fit:
            windows = np.array([raw(part) for part in np.array_split(vectors(data), 16)]) / spread
            noise.extend(windows - windows.mean(axis=0))
        covariance = np.transpose(noise) @ noise / (len(noise) - len(fit))
        floor = 0.1 * np.trace(covariance) / len(covariance)
        values, axes = np.linalg.eigh(covariance + floor * np.eye(len(covariance)))
        matrix = axes @ np.diag(values**-0.5) @ axes.T
    out = np.array([(raw(vectors(data)) - u.mean(axis=0)) / spread for data in asked]) @ matrix
    return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "options",
    [{}, {"use_std": False}, {"scale": True}, {"whiten": True}, {"scale": True, "whiten": True}],
    ids=str,
)
@pytest.mark.parametrize("env_id", ["CartPole-v1", "PointRobot-v0"])
def test_against_the_formula(env_id, options):
    fit = recorded(env_id)
    new = recorded(env_id, seed=900, steps=700)
    embedding = TaskEmbedding(32, seed=7, **options).fit(fit)
    size = vectors(fit[0]).shape[1]
    weights, phases = fourier_weights(32, size, size**-0.5, 7)
    np.testing.assert_allclose(embedding.train_embeddings, oracle(fit, fit, weights, phases, **options), atol=1e-9)
    found = embedding.embed_all(new)
    np.testing.assert_allclose(found, oracle(fit, new, weights, phases, **options), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(embedding.similarity_matrix(new), found @ found.T, atol=1e-12)
    plain = np.array([embedding.vector(data) for data in new])
    np.testing.assert_allclose(plain / np.linalg.norm(plain, axis=1, keepdims=True), found, atol=1e-12)
    np.testing.assert_allclose(embedding.similarity_matrix(new, fit), found @ embedding.train_embeddings.T, atol=1e-12)


def test_vectors_one_hot_what_is_discrete():
    data = TaskDataset.record("FrozenLake-v1", steps=100)
    x = transition_vectors(data)
    assert x.shape == (100, 16 + 4 + 1 + 16)
    np.testing.assert_array_equal(x[:, :16].argmax(axis=1), data.obs)
    np.testing.assert_array_equal(x[:, 16:20].argmax(axis=1), data.actions)
    np.testing.assert_array_equal((x[:, :16] + x[:, 21:]).argmax(axis=1), data.next_obs)
    np.testing.assert_allclose(transition_vectors(recorded(count=1)[0]), vectors(recorded(count=1)[0]), atol=0)


def test_weights_follow_their_distributions_and_their_seed():
    weights, phases = fourier_weights(4000, 25, 0.2, 3)
    n = weights.size
    assert abs(weights.mean()) < 5 * 0.2 / np.sqrt(n)
    assert abs(weights.std() / 0.2 - 1) < 5 / np.sqrt(2 * n)
    assert abs((weights**4).mean() / 0.2**4 - 3) < 5 * np.sqrt(96 / n)
    counts = np.histogram(phases, bins=20, range=(0, 2 * np.pi))[0]
    assert counts.sum() == 4000
    assert ((counts - 200) ** 2 / 200).sum() < 50  # chi-square of 19 degrees, p < 1e-4
    again, _ = fourier_weights(4000, 25, 0.2, 3)
    np.testing.assert_array_equal(weights, again)
    assert (fourier_weights(4000, 25, 0.2, 4)[0] != weights).all()
    # A seed means these numbers, whatever the version of NumPy.
    np.testing.assert_allclose(fourier_weights(1, 2, 1.0, 0)[0], GOLDEN, rtol=1e-12)


GOLDEN = [[0.1165565154909856, -0.6835324004378501]]


@pytest.mark.parametrize("options", [{"use_std": False}, {"use_std": False, "whiten": True}], ids=str)
def test_the_vector_of_a_mixture_is_the_mixture(datasets, options):
    embedding = TaskEmbedding(32, **options).fit(datasets)
    mixed = TaskDataset.concatenate([datasets[0], datasets[1], datasets[1]])
    expected = (embedding.vector(datasets[0]) + 2 * embedding.vector(datasets[1])) / 3
    np.testing.assert_allclose(embedding.vector(mixed), expected, atol=1e-12)


@pytest.mark.parametrize("whiten", [False, True])
def test_the_order_of_rows_does_not_matter(datasets, whiten):
    embedding = TaskEmbedding(32, whiten=whiten).fit(datasets)
    data = datasets[1]
    order = np.random.default_rng(0).permutation(len(data))
    columns = {"obs": data.obs, "actions": data.actions, "rewards": data.rewards, "next_obs": data.next_obs}
    shuffled = TaskDataset(
        **{name: array[order] for name, array in columns.items()},
        terminated=data.terminated[order],
        truncated=data.truncated[order],
        episode=np.arange(len(data)),
        action_space=2,
    )
    np.testing.assert_allclose(embedding.embed(shuffled), embedding.embed(data), atol=1e-12)
    np.testing.assert_allclose(embedding.embed(data), embedding.train_embeddings[1], atol=1e-12)
    plain = TaskEmbedding(32)
    moved = [datasets[i] for i in (2, 0, 1, 3)]
    np.testing.assert_allclose(
        plain.fit(moved).train_embeddings, plain.fit(datasets).train_embeddings[[2, 0, 1, 3]], atol=1e-9
    )


def test_a_seed_fixes_everything(datasets):
    first = TaskEmbedding(32, seed=5).fit(datasets).train_embeddings
    np.testing.assert_array_equal(first, TaskEmbedding(32, seed=5).fit(datasets).train_embeddings)
    assert np.abs(first - TaskEmbedding(32, seed=6).fit(datasets).train_embeddings).max() > 0.01


def test_blocks_of_rows_make_no_difference(datasets, monkeypatch):
    whole = TaskEmbedding(32).fit(datasets)
    monkeypatch.setattr("metarl_core.agents.imt.embedding.BLOCK", 100)
    np.testing.assert_allclose(TaskEmbedding(32).fit(datasets).train_embeddings, whole.train_embeddings, atol=1e-12)


def test_centring_spreads_cosines_that_all_were_high():
    fit = recorded(count=10, steps=4096)
    rows, columns = np.triu_indices(10, 1)
    raw = TaskEmbedding(center=False).fit(fit).similarity_matrix()[rows, columns]
    centred = TaskEmbedding().fit(fit).similarity_matrix()[rows, columns]
    print(f"raw cosines {raw.min():.3f} ... {raw.max():.3f}, centred {centred.min():.3f} ... {centred.max():.3f}")
    assert raw.min() > 0.8
    assert centred.min() < -0.5
    assert centred.max() > 0.5


@pytest.mark.parametrize("whiten", [False, True])
def test_reliability_tells_tasks_from_chance(whiten):
    fit, new = recorded(count=5, steps=4096), recorded(count=5, steps=4096, seed=900)
    embedding = TaskEmbedding(64, whiten=whiten).fit(fit)
    found = embedding.split_half_reliability(new, 1024, seed=1)
    print(f"whiten={whiten}: cosine {found.cosine:.2f}, identification {found.identification:.2f}")
    assert found.transitions == 1024
    assert found.windows.tolist() == [(len(half) // 1024) for half in second_halves(new, 1)]
    assert found.cosine > 0.6
    assert found.identification > 0.4  # chance is 0.2
    # The same task five times: nothing to tell apart.
    same = [TaskDataset.record("CartPole-v1", steps=4096, seed=40 + i) for i in range(5)]
    assert embedding.split_half_reliability(same, 512).identification < 0.5


def second_halves(datasets, seed):
    for number, data in enumerate(datasets):
        order = np.random.default_rng([seed, number]).permutation(data.episodes)
        yield data.take_episodes(order[len(order) // 2 :])


def test_reliability_is_one_without_noise(datasets):
    doubled = [TaskDataset.concatenate([data, data]) for data in datasets]
    halves = iter([part for data in datasets for part in (data, data)])
    found = TaskEmbedding(32).fit(datasets)
    import metarl_core.agents.imt.reliability as module

    original = module._halves
    module._halves = lambda *_: (next(halves), next(halves))
    try:
        result = found.split_half_reliability(doubled)
    finally:
        module._halves = original
    np.testing.assert_allclose(result.cosines, 1.0)
    assert result.identification == 1.0


def test_features_of_the_caller(datasets):
    seen = []

    def layer(x):
        seen.append(x)
        return np.maximum(x[:, :3], 0)

    written = TaskEmbedding(preset="as_written", features=layer).fit(datasets)
    x = np.concatenate([vectors(data) for data in datasets])
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1
    expected = np.array([layer((vectors(data) - mean) / scale).mean(axis=0) for data in datasets])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(written.train_embeddings, expected, atol=1e-9)
    np.testing.assert_allclose(written.inputs(datasets[0]), (vectors(datasets[0]) - mean) / scale, atol=1e-9)
    for bad, message in [
        (lambda x: x[:, 0], r"features returned the shape \(1,\) for 1 rows"),
        (lambda x: x * np.nan, "not finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            TaskEmbedding(features=bad).fit(datasets)
    with pytest.raises(ValueError, match="preset is 'as_written', but features is None"):
        TaskEmbedding(preset="as_written")


@pytest.mark.parametrize("whiten", [False, True])
def test_state_goes_and_comes(datasets, whiten):
    embedding = TaskEmbedding(16, whiten=whiten, seed=2).fit(datasets)
    state = embedding.state_dict()
    other = TaskEmbedding(16, whiten=whiten, seed=2)
    assert not other.fitted
    other.load_state_dict(copy.deepcopy(state))
    np.testing.assert_array_equal(other.embed(datasets[2]), embedding.embed(datasets[2]))
    np.testing.assert_array_equal(other.train_embeddings, embedding.train_embeddings)
    with pytest.raises(ValueError, match="the state has num_features=16; must be 17"):
        TaskEmbedding(17, whiten=whiten, seed=2).load_state_dict(state)
    state["arrays"]["center"] = state["arrays"]["center"][:-1]
    with pytest.raises(ValueError, match="the state's"):
        other.load_state_dict(state)
    np.testing.assert_array_equal(other.train_embeddings, embedding.train_embeddings)


def test_bad_arguments(datasets):
    for options, error, message in [
        ({"num_features": 0}, ValueError, "num_features is 0"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth is 0.0"),
        ({"use_std": 1}, TypeError, "use_std is 1; must be a bool"),
        ({"preset": "x"}, ValueError, "preset is 'x'"),
        ({"features": 3}, TypeError, "features is a int"),
        ({"center": False, "whiten": True}, ValueError, "whiten is True, but center is False"),
        ({"center": False, "scale": True}, ValueError, "scale is True, but center is False"),
    ]:
        with pytest.raises(error, match=message):
            TaskEmbedding(**options)
    embedding = TaskEmbedding(8)
    with pytest.raises(RuntimeError, match="call fit first"):
        embedding.embed(datasets[0])
    with pytest.raises(ValueError, match="datasets has 1 tasks; must have at least 3: of two centred"):
        embedding.fit(datasets[:1])
    with pytest.raises(ValueError, match="datasets has 2 tasks"):
        embedding.fit(datasets[:2])
    with pytest.raises(TypeError, match=r"datasets\[0\] is a int"):
        embedding.fit([1, 2, 3])
    other = TaskDataset.record("Acrobot-v1", steps=50)
    with pytest.raises(ValueError, match=r"datasets\[2\] has the spaces"):
        embedding.fit([*datasets[:2], other])
    with pytest.raises(ValueError, match=r"datasets\[0\] has an embedding of length"):
        embedding.fit([datasets[0]] * 3)
    assert not embedding.fitted
    embedding.fit(datasets)
    with pytest.raises(ValueError, match="dataset has the spaces"):
        embedding.embed(other)
    with pytest.raises(ValueError, match="datasets is empty"):
        embedding.embed_all([])
    with pytest.raises(ValueError, match="must have at least 2"):
        embedding.split_half_reliability(datasets[:1])
    with pytest.raises(ValueError, match="transitions is 5000; the shortest half"):
        embedding.split_half_reliability(datasets, 5000)
    with pytest.raises(ValueError, match="has 1 episode; must have at least 2"):
        embedding.split_half_reliability([data.take_episodes(data.episodes[:1]) for data in datasets])
    with pytest.raises(ValueError, match="at least 4 with whiten"):
        TaskEmbedding(8, whiten=True).fit([data.take_rows(0, 3) for data in datasets])


def test_a_replay_buffer_feeds_it(datasets):
    embedding = TaskEmbedding(32).fit(datasets)
    buffer = None
    for number, data in enumerate(datasets):
        if buffer is None:
            buffer = TaskDataset.concatenate(datasets).replay(task_id=9)
            buffer.clear()
        data.replay(buffer, task_id=number)
    drawn = TaskDataset.from_buffer(buffer, 2, action_space=2)
    np.testing.assert_allclose(embedding.embed(drawn), embedding.embed(datasets[2]), atol=1e-9)


def test_figures(datasets):
    pytest.importorskip("matplotlib")
    from metarl_core.report import embedding_map, similarity_heatmap

    embedding = TaskEmbedding(16).fit(datasets)
    labels = [f"task {i}" for i in range(4)]
    heat = similarity_heatmap(embedding.similarity_matrix(), labels)
    image = heat.axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), embedding.similarity_matrix())
    assert image.get_clim() == (-1, 1)
    assert [text.get_text() for text in heat.axes[0].get_yticklabels()] == labels
    placed = embedding_map(embedding.train_embeddings, labels, values=np.arange(4.0), value_name="length")
    points = placed.axes[0].collections[0].get_offsets()
    centred = embedding.train_embeddings - embedding.train_embeddings.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), singular[:2], rtol=1e-6)
    for call in (
        lambda: similarity_heatmap(np.zeros((2, 3)), ["a", "b"]),
        lambda: similarity_heatmap(np.eye(2), ["a"]),
        lambda: embedding_map(np.zeros((2, 3)), ["a"]),
        lambda: embedding_map(np.zeros((1, 3)), ["a"]),
    ):
        with pytest.raises(ValueError, match="must"):
            call()
