"""The three presets: what they set, what wins over them, and step 2's reward and step 4's alpha in their readings."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from metarl_core.agents import ConfigError, RunConfig, resolve_config
from metarl_core.agents.cder.config import CderConfig
from metarl_core.agents.cder.presets import PRESETS
from metarl_core.agents.cder.signal import stored_reward
from metarl_core.agents.loop import Trainer
from metarl_core.cli import main
from metarl_core.runs import RunWriter

FIELDS = {f.name: f.default for f in dataclasses.fields(CderConfig)}


def test_corrected_is_the_defaults():
    assert PRESETS["corrected"] == {}
    assert CderConfig.from_preset("corrected") == CderConfig()
    for env_id in ("DeepSea-v0", "MountainCar-v0"):
        plain = resolve_config("cder", env_id)
        assert resolve_config("cder", env_id, None, ["preset=corrected"]) == plain
        assert plain.hyperparameters.preset == "corrected"


@pytest.mark.parametrize("preset", ["as_written", "intended"])
def test_a_preset_wins_over_shipped_values_and_loses_to_given_ones(preset, tmp_path):
    config = resolve_config("cder", "DeepSea-v0", None, [f"preset={preset}"]).hyperparameters
    for name, value in PRESETS[preset].items():
        assert getattr(config, name) == value, name
    assert config.optimizer == "sgd"  # DeepSea's shipped configuration says adam
    assert config.hidden == (32,)  # what a preset does not name stays as shipped
    file = tmp_path / "c.toml"
    file.write_text(f'preset = "{preset}"\nkappa = 0.25\nmembers = 7\n')
    mixed = resolve_config("cder", "DeepSea-v0", file, ["members=3", "imagined=false"]).hyperparameters
    assert (mixed.preset, mixed.kappa, mixed.members, mixed.imagined) == (preset, 0.25, 3, False)
    assert mixed.reward_form == preset
    assert resolve_config("cder", "DeepSea-v0", file, ["preset=corrected"]).hyperparameters.reward_form == "corrected"


def test_the_preset_is_in_the_configuration_of_the_run(tmp_path):
    config = resolve_config("cder", "DeepSea-v0", None, ["preset=intended", "kappa=0.5"])
    with RunWriter(tmp_path / "run", config.to_dict()):
        pass
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["hyperparameters"]["preset"] == "intended"
    assert RunConfig.from_dict(stored) == config
    short = {"algorithm": "cder", "env_id": "DeepSea-v0", "hyperparameters": {"preset": "as_written", "kappa": 2.0}}
    hyper = RunConfig.from_dict(short).hyperparameters
    assert (hyper.reward_form, hyper.kappa) == ("as_written", 2.0)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_presets_name_switches_that_exist_and_differ_from_the_default(preset):
    for name, value in PRESETS[preset].items():
        assert name in FIELDS
        if name not in ("optimizer", "lr", "signal_lr", "tau_start", "epsilon_start", "epsilon_end"):
            assert FIELDS[name] != value, f"{name} is the default already"


@pytest.mark.parametrize("preset", list(PRESETS))
@pytest.mark.parametrize("name", sorted({name for values in PRESETS.values() for name in values}))
def test_every_switch_of_a_preset_can_be_set_alone(preset, name):
    """One preset's value of one switch on top of any other preset: a configuration, or an error that names a field."""
    for values in PRESETS.values():
        wanted = values.get(name, FIELDS[name])
        # The one pair that cannot be: an epsilon-greedy policy whose epsilon was set to 0 at both ends.
        config = CderConfig.from_preset(preset, **{"epsilon_start": 1.0, name: wanted})
        assert getattr(config, name) == wanted


@pytest.mark.parametrize("value", ["as_writen", "5", "none"])
def test_unknown_presets(value):
    with pytest.raises(ConfigError, match=r"unknown preset .*valid: as_written, corrected, intended"):
        resolve_config("cder", "DeepSea-v0", None, [f"preset={value}"])
    with pytest.raises(ConfigError, match="unknown preset"):
        CderConfig.from_preset(value)
    with pytest.raises(ConfigError, match="unknown option 'preset'"):
        resolve_config("ddqn", "DeepSea-v0", None, ["preset=corrected"])


def test_the_reward_in_its_three_readings():
    rng = np.random.default_rng(0)
    r, phi, next_phi, bonus = rng.normal(size=(4, 8)).astype(np.float32)
    discount = np.where(rng.random(8) < 0.5, 0.0, 0.9).astype(np.float32)
    expected = {
        "as_written": 0.7 * bonus,
        "intended": next_phi + 0.7 * bonus - phi,
        "corrected": r + discount * next_phi - phi + 0.7 * bonus,
    }
    tensors = [torch.from_numpy(x) for x in (r, discount, phi, next_phi, bonus)]
    for form, values in expected.items():
        np.testing.assert_allclose(stored_reward(form, *tensors, 0.7), values, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "alpha", "taus"),
    [
        (["alpha=0.6", "tau_start=0.4"], 0.6, (0.4, 1.0)),
        (["alpha_reading=exponent", "n_step=4"], 1 / 5, (0.0, 1.0)),
        (["alpha_reading=time", "n_step=4", "tau_start=0.3", "tau_end=0.3"], 1.0, (0.3, 0.3)),
    ],
)
def test_the_readings_of_alpha_reach_the_replay(tmp_path, options, alpha, taus):
    """P(j) = p_j^alpha / sum and w_j = (n P(j))^-tau, normalised to sum 1, of what the loop samples."""
    common = ["size=5", "learning_starts=80", "train_every=4", "total_steps=400", "hidden=8", "signal_hidden=8"]
    config = resolve_config("cder", "DeepSea-v0", None, [*common, *options])
    assert config.hyperparameters.priority_exponent == pytest.approx(alpha)
    assert config.hyperparameters.importance_exponents == taus
    with RunWriter(tmp_path / "run", config.to_dict()) as run:
        trainer = Trainer(config, run)
        while trainer.step < 200:
            trainer.act()
            trainer.learn()
        p = np.asarray(trainer.replay.priorities(), np.float64) ** alpha
        batch = trainer.replay.sample(64, beta=trainer.beta)
        probability = p[batch.indices] / p.sum()
        np.testing.assert_allclose(batch.probabilities, probability, rtol=1e-4)
        weight = (len(p) * probability) ** -trainer.beta
        np.testing.assert_allclose(batch.weights, weight / weight.sum(), rtol=1e-4)
        assert trainer.beta == pytest.approx(taus[0] + (taus[1] - taus[0]) * 200 / 400)
        trainer.envs.close()


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_preset_on_the_command_line(tmp_path, capsys, preset):
    out = tmp_path / "run"
    words = [
        "size=4",
        "epochs=1",
        "batch_size=16",
        "kappa=0.7",
        "n_step=2",
        "evaluation_episodes=1",
        f"preset={preset}",
    ]
    assert main(["train", "cder", "--env", "DeepSea-v0", "--steps", "400", "--out", str(out), *words]) == 0
    stored = json.loads((out / "config.json").read_text())["hyperparameters"]
    assert (stored["preset"], stored["kappa"], stored["n_step"]) == (preset, 0.7, 2)
    assert stored["imagined"] == (preset != "corrected")
    capsys.readouterr()
    assert main(["train", "cder", "--help"]) == 0
    assert "preset=corrected" in capsys.readouterr().out
