"""IMT on images: grouped convolutions against one network after another, and a learner on MiniGrid and MinAtar."""

import numpy as np
import pytest
import torch

from metarl_core import ConfigError
from metarl_core.agents.common.images import MINIGRID_CARDINALITIES, ImageFeatures
from metarl_core.agents.imt import ImtConfig, ImtLearner, Submodels
from metarl_core.agents.imt.actors import TaskActors
from metarl_core.agents.imt.aggregation import weight_soup
from metarl_core.agents.imt.averaging import average_trunks
from metarl_core.agents.imt.networks import BatchedConvNet, flat_observations
from metarl_core.agents.imt.playing import play_each
from metarl_core.agents.imt.steps import proximal_penalty
from metarl_core.tasks import MetaTask, Task

SMALL = {
    "hidden": (16,),
    "predictor_hidden": (16,),
    "conv_filters": (4,),
    "reference_steps": 400,
    "embedding_features": 8,
    "pretrain_updates": 60,
    "rounds": 2,
    "steps_per_round": 60,
    "submodel_updates": 8,
    "head_updates": 5,
    "batch_size": 8,
    "replay_capacity": 1000,
}
KINDS = {
    "binary": ImageFeatures((6, 5, 3), "binary", (), (4, 5), 2, "own"),
    "bytes": ImageFeatures((6, 5, 3), "bytes", (), (4,), 3, "own"),
    "symbols": ImageFeatures((6, 5, 3), "symbols", MINIGRID_CARDINALITIES, (4, 5), 2, "own"),
}


def images(kind, *shape, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "binary":
        return torch.from_numpy(rng.random((*shape, 6, 5, 3)) < 0.3)
    highest = [256] * 3 if kind == "bytes" else MINIGRID_CARDINALITIES
    return torch.from_numpy(np.stack([rng.integers(h, size=(*shape, 6, 5)) for h in highest], axis=-1).astype(np.uint8))


def planes_by_hand(kind, image):
    """float64 [P, H, W] of one image [H, W, C]."""
    if kind != "symbols":
        return image.transpose(2, 0, 1).astype(np.float64) / (255 if kind == "bytes" else 1)
    return np.concatenate(
        [[(image[..., c] == value) for value in range(size)] for c, size in enumerate(MINIGRID_CARDINALITIES)]
    ).astype(np.float64)


def network_by_hand(net, member, kind, image):
    """Convolutions as sums over windows, then matrix products, in float64."""
    h = planes_by_hand(kind, image)
    for weight, bias in zip(net.filters, net.filter_biases, strict=True):
        w, b = (p[member].detach().numpy().astype(np.float64) for p in (weight, bias))
        k = w.shape[-1]
        rows, columns = h.shape[1] - k + 1, h.shape[2] - k + 1
        windows = [[h[:, y : y + k, x : x + k] for x in range(columns)] for y in range(rows)]
        out = np.array([[(w * window).sum(axis=(1, 2, 3)) + b for window in line] for line in windows])
        h = np.maximum(out.transpose(2, 0, 1), 0)
    h = h.reshape(-1)
    for weight, bias in zip(net.dense.weights, net.dense.biases, strict=True):
        w, b = (p[member].detach().numpy().astype(np.float64) for p in (weight, bias))
        h = np.maximum(h @ w + b[0], 0)
    return h


@pytest.mark.parametrize("kind", KINDS)
def test_every_member_is_a_network_of_its_own(kind, generator):
    net = BatchedConvNet(3, KINDS[kind], (7, 6), generator)
    for p in net.parameters():
        p.data.normal_(0, 0.5, generator=generator)
    x = images(kind, 3, 4)
    found = net(x)
    assert found.shape == (3, 4, 6)
    for member, row in np.ndindex(3, 4):
        expected = network_by_hand(net, member, kind, x[member, row].numpy())
        np.testing.assert_allclose(found[member, row].detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    found[1].sum().backward()
    for p in net.parameters():
        assert not p.grad[[0, 2]].any()
        assert p.grad[1].any()


@pytest.mark.parametrize(
    ("env_id", "shape"), [("MinAtar/Seaquest-v1", (10, 10, 10)), ("MiniGrid-DoorKey-5x5-v0", (7, 7, 3))]
)
def test_outputs_and_gradients_are_those_of_one_network_after_another(env_id, shape, generator):
    """At the sizes of MinAtar and MiniGrid, against torch's convolution in float64, a member at a time."""
    symbols = "MiniGrid" in env_id
    kind = "symbols" if symbols else "binary"
    cardinalities = MINIGRID_CARDINALITIES if symbols else ()
    net = BatchedConvNet(4, ImageFeatures(shape, kind, cardinalities, (16, 8), 3, "own"), (32,), generator)
    for p in net.parameters():
        p.data += 0.05 * torch.randn(p.shape, generator=generator)
    rng = np.random.default_rng(0)
    highest = MINIGRID_CARDINALITIES if symbols else (2,) * shape[2]
    x = np.stack([rng.integers(h, size=(4, 6, *shape[:2])) for h in highest], axis=-1)
    found = net(torch.from_numpy(x.astype(np.uint8 if symbols else np.bool_)))
    slope = torch.randn(found.shape, generator=generator)
    (found * slope).sum().backward()
    for member in range(4):
        own = [[p[member].detach().double().requires_grad_() for p in ps] for ps in (net.filters, net.filter_biases)]
        dense = [
            [p[member].detach().double().requires_grad_() for p in ps] for ps in (net.dense.weights, net.dense.biases)
        ]
        h = torch.from_numpy(np.stack([planes_by_hand(kind, image) for image in x[member]]))
        for weight, bias in zip(*own, strict=True):
            h = torch.relu(torch.nn.functional.conv2d(h, weight, bias))
        h = h.flatten(1)
        for weight, bias in zip(*dense, strict=True):
            h = torch.relu(h @ weight + bias)
        torch.testing.assert_close(found[member].double(), h, rtol=1e-5, atol=1e-5)
        (h * slope[member].double()).sum().backward()
        stores = (net.filters, net.filter_biases, net.dense.weights, net.dense.biases)
        for store, parameters in zip(stores, (*own, *dense), strict=True):
            for p, expected in zip(store, parameters, strict=True):
                torch.testing.assert_close(p.grad[member].double(), expected.grad, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_members_start_equal_and_the_shared_rows_are_not_copied(kind, generator):
    models = Submodels(4, KINDS[kind], (8,), 3, 5, (6,), generator)
    x = images(kind, 5)
    q = models.q(models.rows_for_all(x))
    assert q.shape == (4, 5, 3)
    for member in range(1, 4):
        torch.testing.assert_close(q[member], q[0], rtol=1e-6, atol=1e-7)
    common = models.common(x.unsqueeze(0))
    torch.testing.assert_close(models.trunks(models.rows_for_all(x))[2], common[0], rtol=1e-6, atol=1e-7)
    assert models.rows_for_all(x).data_ptr() == x.data_ptr()


def test_averages_and_penalties_see_the_convolutions(generator):
    models = Submodels(3, KINDS["symbols"], (8,), 4, 5, (6,), generator)
    before = [p.detach().double().clone() for p in models.common.parameters()]
    for p in models.trunks.parameters():
        p.data.normal_(generator=generator)
    own = [p.detach().double() for p in models.trunks.parameters()]
    expected = sum(((o - c) ** 2).flatten(1).sum(dim=1) for o, c in zip(own, before, strict=True))
    torch.testing.assert_close(proximal_penalty(models).double(), expected, rtol=1e-5, atol=0.0)
    weights = np.array([0.5, 0.2, 0.3])
    average_trunks(models, weights, 0.25)
    for now, old, each in zip(models.common.parameters(), before, own, strict=True):
        mean = torch.tensordot(torch.from_numpy(weights), each, dims=1)
        torch.testing.assert_close(now[0].double(), 0.75 * old[0] + 0.25 * mean, rtol=1e-6, atol=1e-6)
    x = images("symbols", 6)
    alone = weight_soup(models, np.array([0.0, 1.0, 0.0]))(x.unsqueeze(0))
    torch.testing.assert_close(alone[0], models.q(models.rows_for_all(x))[1], rtol=1e-5, atol=1e-6)


def test_vectors_of_images_are_their_components():
    x = images("bytes", 2, 3)
    np.testing.assert_array_equal(flat_observations(x).numpy(), x.reshape(2, 3, -1).numpy())
    assert flat_observations(x).dtype == torch.float32


def test_actors_hand_out_images_and_the_last_one_of_an_episode():
    tasks = {"map_seed": np.array([1.0, 2.0, 3.0])}
    image = KINDS["symbols"]
    actors = TaskActors("MiniGrid-Empty-Random-5x5-v0", tasks, 2, seed=0, image=image)
    flat = TaskActors("MiniGrid-Empty-Random-5x5-v0", tasks, 2, seed=0, normalize_obs=False)
    rng = [np.random.default_rng(0) for _ in range(2)]
    ended = 0
    for _ in range(150):
        first, second = (
            a.step(lambda obs, r=r: r.integers(7, size=len(obs))) for a, r in zip((actors, flat), rng, strict=True)
        )
        assert first["obs"].dtype == np.uint8
        assert first["obs"].shape == (6, 7, 7, 3)
        for name in ("obs", "next_obs"):
            np.testing.assert_array_equal(first[name].reshape(6, -1), second[name])
        ended += len(actors.ended)
        if actors.ended:
            row = actors.ended[0].row
            assert (first["next_obs"][row] != actors.obs[row]).any()
    assert ended
    actors.close()
    flat.close()


def rooms(count=4):
    return MetaTask([Task(f"map {i}", "MiniGrid-FourRooms-v0", {"map_seed": 10 + i}) for i in range(count)])


def sticky(count=4):
    return MetaTask([Task(f"{i}", "MinAtar/Breakout-v1", {"sticky_action_prob": 0.2 * i}) for i in range(count)])


@pytest.mark.parametrize(("tasks", "kind"), [(rooms, "symbols"), (sticky, "binary")])
def test_a_learner_on_images_trains_adapts_and_goes_on_from_its_state(tasks, kind):
    config = ImtConfig(**SMALL)
    one = ImtLearner(tasks(), config=config, seed=1, val_tasks=tasks(2))
    assert isinstance(one.models.trunks, BatchedConvNet)
    assert one.models.trunks.images.kind == kind
    before = {name: value.clone() for name, value in one.models.state_dict().items()}
    losses = one.pretrain()
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    one.round()
    state = one.state_dict()
    one.round()
    assert one.replay.sample(4, task_weights="balanced")["obs"].dtype == (np.bool_ if kind == "binary" else np.uint8)
    for name in ("trunks.filters.0", "common.filters.0", "heads.weights.0"):
        assert not torch.equal(one.models.state_dict()[name], before[name])
    resumed = ImtLearner(tasks(), config=config, seed=1, val_tasks=tasks(2))
    resumed.load_state_dict(state)
    resumed.round()
    for name, value in one.models.state_dict().items():
        assert torch.equal(value, resumed.models.state_dict()[name]), name
    adapted = one.adapt(tasks(2), steps=300)
    for how in ("soup", "weighted", "vote"):
        returns, lengths = one.play(adapted, how, episodes=2)
        assert returns.shape == lengths.shape == (2, 2)
    assert play_each(one, adapted.tasks, 1, 0).shape == (4, 2)
    one.close()
    resumed.close()


def test_images_can_be_flattened():
    with ImtLearner(rooms(), config=ImtConfig(**{**SMALL, "image_encoding": "flat"})) as one:
        assert one.models.trunks.weights[0].shape == (4, 147, 16)
        assert one.train()[-1].number == 2


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match=r"conv_filters=\(4, 4, 4, 4\), conv_kernel=3: need 9 x 9 or more"):
        ImtLearner(rooms(), config=ImtConfig(**{**SMALL, "conv_filters": (4, 4, 4, 4)}))
    with pytest.raises(ConfigError, match="image_encoding='colours': choose one of auto, symbols, bytes, flat"):
        ImtConfig(image_encoding="colours")
