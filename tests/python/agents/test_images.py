"""Image observations: how they are stored, how they become planes, ensembles of convolutions against single ones."""

import numpy as np
import pytest
import torch

gymnasium = pytest.importorskip("gymnasium")

from metarl_core.agents import ConfigError, resolve_config  # noqa: E402
from metarl_core.agents.common.critic import CriticEnsemble  # noqa: E402
from metarl_core.agents.common.images import (  # noqa: E402
    MINIGRID_CARDINALITIES,
    EnsembleConvNet,
    ImageFeatures,
    make_ensemble,
    stored_observation,
)
from metarl_core.agents.common.networks import EnsembleMLP  # noqa: E402
from metarl_core.agents.common.observations import ObservationEncoder  # noqa: E402
from metarl_core.agents.loop import Trainer  # noqa: E402
from metarl_core.agents.parts import make_encoder  # noqa: E402
from metarl_core.runs import RunWriter  # noqa: E402

MINATAR = ImageFeatures((10, 10, 4), "binary", (), (5,), 3)
MINIGRID = ImageFeatures((7, 7, 3), "symbols", MINIGRID_CARDINALITIES, (6, 4), 3)
SMALL = ["total_steps=200", "learning_starts=64", "batch_size=16", "hidden=8", "signal_hidden=8", "members=3"]
SMALL += ["signal_members=2", "conv_filters=4", "z_max=50", "evaluation_episodes=1"]


def of(features, **changes):
    return ImageFeatures(**{**features.__dict__, **changes})


def images(features, count, seed=0):
    rng = np.random.default_rng(seed)
    if features.kind == "binary":
        return torch.from_numpy(rng.random((count, *features.shape)) < 0.3)
    high = features.cardinalities or (256,) * features.shape[2]
    return torch.from_numpy(np.stack([rng.integers(h, size=(count, 7, 7)) for h in high], -1).astype(np.uint8))


@pytest.mark.parametrize("features", [MINATAR, MINIGRID, of(MINIGRID, kind="bytes", cardinalities=())], ids=str)
@pytest.mark.parametrize("trunk", ["own", "shared"])
@pytest.mark.parametrize("hidden", [(8,), (8, 6)])
def test_the_batched_ensemble_equals_a_loop_over_members(generator, features, trunk, hidden):
    net = make_ensemble(3, of(features, trunk=trunk), hidden, 5, generator, gain=2.0)
    x = images(features, 9)
    got = net(x)
    assert got.shape == (3, 9, 5)
    torch.testing.assert_close(got, torch.stack([net.member(e, x) for e in range(3)]), atol=1e-5, rtol=1e-5)
    assert (got[0] - got[1]).abs().max() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(net(x), got.detach(), atol=1e-6, rtol=1e-5)


def test_members_with_trunks_of_their_own_do_not_mix(generator):
    net = EnsembleConvNet(3, of(MINIGRID, trunk="own"), (8,), 2, generator)
    net(images(MINIGRID, 4))[1].square().sum().backward()
    for weight in (*net.filters, *net.filter_biases):
        parts = weight.grad.reshape(3, -1).abs().sum(dim=1)
        assert parts[1] > 0
        assert parts[0] == parts[2] == 0
    for weight in (*net.weights, *net.biases):
        assert weight.grad[1].abs().sum() > 0
        assert weight.grad[0].abs().sum() == weight.grad[2].abs().sum() == 0


def test_a_shared_trunk_gets_the_mean_of_the_members_gradients(generator):
    net = EnsembleConvNet(4, MINATAR, (8,), 2, generator)
    x = images(MINATAR, 6)
    net(x).square().sum().backward()
    got = [w.grad.clone() for w in net.filters]
    for weight in net.parameters():
        weight.grad = None
    sum(net.member(e, x).square().sum() for e in range(4)).backward()
    for mean, weight in zip(got, net.filters, strict=True):
        torch.testing.assert_close(mean, weight.grad / 4, atol=1e-5, rtol=1e-4)


def test_planes_of_symbols_are_one_hot():
    net = EnsembleConvNet(1, MINIGRID, (8,), 2, torch.Generator().manual_seed(0))
    x = images(MINIGRID, 3)
    planes = net.planes(x).numpy()
    assert planes.shape == (3, 21, 7, 7)
    for b, i, j in np.ndindex(3, 7, 7):
        expected = np.zeros(21)
        kind, colour, state = x[b, i, j].tolist()
        expected[[kind, 11 + colour, 17 + state]] = 1
        np.testing.assert_array_equal(planes[b, :, i, j], expected)


def test_planes_of_bits_and_bytes():
    bits = images(MINATAR, 2)
    net = EnsembleConvNet(1, MINATAR, (8,), 2, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(net.planes(bits), np.moveaxis(bits.numpy(), 3, 1).astype(np.float32))
    bytes_ = of(MINIGRID, kind="bytes", cardinalities=())
    x = images(bytes_, 2)
    net = EnsembleConvNet(1, bytes_, (8,), 2, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(net.planes(x), np.moveaxis(x.numpy(), 3, 1) / 255, atol=1e-7)


def test_vectors_still_get_perceptrons(generator):
    assert isinstance(make_ensemble(2, 7, (8,), 3, generator), EnsembleMLP)


@pytest.mark.parametrize("trunk", ["own", "shared"])
def test_priors_and_targets_of_a_critic_on_images(generator, trunk):
    critic = CriticEnsemble(3, of(MINATAR, trunk=trunk), (8,), 2, 3.0, generator)
    x = images(MINATAR, 5)
    torch.testing.assert_close(critic(x), critic.online(x) + 3.0 * critic.prior_net.net(x).detach())
    torch.testing.assert_close(critic.target(x), critic.online(x).detach(), atol=1e-6, rtol=1e-5)
    assert {id(p) for p in critic.parameters() if p.requires_grad} == {id(p) for p in critic.online.parameters()}


def test_the_ensemble_learns_a_pattern_that_needs_translation(generator):
    """Whether two neighbouring pixels are lit somewhere: found by a convolution in a few hundred steps."""
    rng = np.random.default_rng(0)
    features = ImageFeatures((10, 10, 1), "binary", (), (8,), 3)
    net = EnsembleConvNet(2, features, (16,), 1, generator)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

    def batch(n):
        x = np.zeros((n, 10, 10, 1), bool)
        label = rng.random(n) < 0.5
        for i in range(n):
            r, c = rng.integers(9, size=2)
            x[i, r, c] = True
            x[i, (r, (r + 5) % 10)[int(not label[i])], (c + 1, (c + 5) % 10)[int(not label[i])]] = True
        return torch.from_numpy(x), torch.from_numpy(label.astype(np.float32))

    for _ in range(200):
        x, label = batch(64)
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x)[..., 0], label.expand(2, -1))
        loss.backward()
        optimizer.step()
    x, label = batch(500)
    accuracy = ((net(x)[..., 0] > 0) == (label > 0)).float().mean(dim=1)
    assert accuracy.min() > 0.95


def test_the_encoder_keeps_bytes_and_copies(generator):
    space = gymnasium.spaces.Box(0, 255, (7, 7, 3), np.uint8)
    encoder = ObservationEncoder(space, image=MINIGRID)
    obs = images(MINIGRID, 4).numpy()
    encoded = encoder(obs)
    assert (encoded.dtype, encoded.shape, encoder.shape, encoder.size) == (np.uint8, (4, 7, 7, 3), (7, 7, 3), 147)
    np.testing.assert_array_equal(encoded, obs)
    obs[:] = 0
    assert encoded.any()
    assert stored_observation(encoder.features, encoder.one_hot) == ((7, 7, 3), np.uint8)
    bits = ObservationEncoder(gymnasium.spaces.Box(0, 1, (10, 10, 4), np.bool_), image=MINIGRID)
    assert (bits.features.kind, bits.dtype) == ("binary", np.bool_)
    assert stored_observation(bits.features, False) == ((10, 10, 4), np.bool_)
    assert stored_observation(5, False) == ((5,), np.float32)
    assert stored_observation(5, True) == ((), np.int32)
    flat = ObservationEncoder(space)
    assert (flat.shape, flat.dtype, flat.features) == ((147,), np.float32, 147)


@pytest.mark.parametrize(
    ("shape", "image", "message"),
    [
        ((7, 7, 2), MINIGRID, r"image_encoding='symbols': needs 3 channels .*the observations have 2"),
        ((4, 7, 3), MINIGRID, r"conv_filters=\(6, 4\), conv_kernel=3: need 5 x 5 or more; .* 4 x 7"),
    ],
)
def test_images_that_do_not_fit(shape, image, message):
    with pytest.raises(ConfigError, match=message):
        ObservationEncoder(gymnasium.spaces.Box(0, 255, shape, np.uint8), image=image)


def test_a_symbol_out_of_range():
    encoder = ObservationEncoder(gymnasium.spaces.Box(0, 255, (7, 7, 3), np.uint8), image=MINIGRID)
    obs = np.zeros((2, 7, 7, 3), np.uint8)
    obs[1, 3, 3, 1] = 6
    with pytest.raises(ConfigError, match=r"a symbol is outside its range \(11, 6, 4\); set image_encoding=bytes"):
        encoder(obs)


def test_auto_is_symbols_for_minigrid_and_bytes_elsewhere():
    space = gymnasium.spaces.Box(0, 255, (7, 7, 3), np.uint8)
    config = resolve_config("cder", "MinAtar/Breakout-v1", None, ["conv_filters=4,8", "trunk=own"])
    features = make_encoder(config, space).features
    assert (features.kind, features.filters, features.trunk) == ("bytes", (4, 8), "own")

    class Named:
        env_id, hyperparameters, env_tasks = "MiniGrid-DoorKey-8x8-v0", config.hyperparameters, 0

    assert make_encoder(Named, space).features.kind == "symbols"


@pytest.mark.parametrize(
    "options", [[], ["trunk=own"], ["preset=as_written", "n_step=2"], ["image_encoding=flat"]], ids=str
)
def test_cder_trains_on_minatar_from_compact_replay(tmp_path, options):
    config = resolve_config("cder", "MinAtar/Breakout-v1", None, [*SMALL, *options])
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        stored = trainer.replay.columns["obs"]
        flat = "image_encoding=flat" in options
        assert (tuple(stored[0]), np.dtype(stored[1])) == (((400,), np.float32) if flat else ((10, 10, 4), np.bool_))
        critic = trainer.agent.critic.online
        before = [p.detach().clone() for p in critic.parameters()]
        result = trainer.train()
        trainer.envs.close()
    assert result["evaluation_return"] is not None
    for old, new in zip(before, critic.parameters(), strict=True):
        assert not torch.equal(old, new)
    assert np.isfinite(trainer.agent.stats["loss"])


@pytest.mark.parametrize("trunk", ["own", "shared"])
def test_cder_trains_on_minigrid_from_symbols(tmp_path, trunk):
    config = resolve_config("cder", "MiniGrid-DoorKey-5x5-v0", None, [*SMALL, f"trunk={trunk}", "conv_filters=4,4"])
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        assert trainer.encoder.features.kind == "symbols"
        assert np.dtype(trainer.replay.columns["obs"][1]) == np.uint8
        trainer.train()
        net, seen = trainer.agent.critic.online, trainer.replay.sample(64, mode="uniform")["obs"]
        trainer.envs.close()
    planes = net.planes(torch.from_numpy(seen))
    assert planes.shape == (64, 21, 7, 7)
    assert (planes.sum(dim=1) == 3).all()
    assert np.isfinite(trainer.agent.stats["loss"])


def test_double_dqn_reads_images_too(tmp_path):
    config = resolve_config(
        "ddqn-per", "MinAtar/Freeway-v1", None, [*SMALL[:4], "conv_filters=4", "evaluation_episodes=0"]
    )
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        trainer.train()
        trainer.envs.close()
    assert isinstance(trainer.agent.critic.online, EnsembleConvNet)
    assert trainer.agent.updates > 50
