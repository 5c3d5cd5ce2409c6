"""Configurations: where values come from, and what bad ones are told."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from metarl_core.agents import ALGORITHMS, ConfigError, RunConfig, resolve_config
from metarl_core.agents.common.options import field_docs, parse_text


def test_later_sources_win(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(
        "seed = 3\nkappa = 0.7\nsize = 6\n[hyperparameters]\nbatch_size = 32\n[env_params]\nmapping_seed = 1\n"
    )
    config = resolve_config("cder", "DeepSea-v0", file, ["seed=4", "size=7", "hidden=16,8", "shaping=off"])
    assert config.seed == 4
    assert config.env_params == {"size": 7, "mapping_seed": 1}
    assert config.hyperparameters.kappa == 0.7
    assert config.hyperparameters.batch_size == 32
    assert config.hyperparameters.hidden == (16, 8)
    assert config.hyperparameters.shaping is False


def test_json_file_and_round_trip(tmp_path):
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"env_id": "CartPole-v1", "total_steps": 123, "gamma": 0.9}))
    config = resolve_config("ddqn", None, file)
    assert (config.env_id, config.total_steps, config.hyperparameters.gamma) == ("CartPole-v1", 123, 0.9)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


# IMT is for families of tasks: see test_imt_runs.py.
ONE_TASK = {name: spec for name, spec in ALGORITHMS.items() if name != "imt"}
CONTINUOUS = ["Pendulum-v1", "MountainCarContinuous-v0", "PointRobot-v0"]


@pytest.mark.parametrize("algorithm", [name for name, spec in ONE_TASK.items() if spec.continuous is not None])
@pytest.mark.parametrize("env_id", CONTINUOUS)
def test_shipped_configurations_for_continuous_actions_resolve(algorithm, env_id):
    config = resolve_config(algorithm, env_id)
    assert type(config.hyperparameters) is ALGORITHMS[algorithm].continuous.config_class
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("algorithm", [name for name, spec in ONE_TASK.items() if spec.discrete is not None])
@pytest.mark.parametrize(
    "env_id", ["DeepSea-v0", "MountainCar-v0", "CartPole-v1", "Acrobot-v1", "FrozenLake-v1", "metarl_core/DeepSea-v0"]
)
def test_shipped_configurations_resolve(algorithm, env_id):
    config = resolve_config(algorithm, env_id)
    assert config.env_id == env_id
    assert RunConfig.from_dict(config.to_dict()) == config
    if env_id.endswith("DeepSea-v0"):
        assert config.max_episodes == 2500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cdre", "DeepSea-v0"), r"unknown algorithm 'cdre'; did you mean 'cder'\? valid: bootdqn, cder, ddqn"),
        (("cder", "DeepSee-v0"), r"unknown environment 'DeepSee-v0'; did you mean 'DeepSea-v0'\? valid: .*CartPole"),
        (("cder", "DeepSea-v0", None, ["kapa=1"]), r"unknown option 'kapa'; did you mean 'kappa'\? valid: "),
        (("ddqn", "DeepSea-v0", None, ["kappa=1"]), r"unknown option 'kappa'"),
        (("cder", "DeepSea-v0", None, ["device=tpu"]), r"device='tpu': choose one of cpu, cuda"),
        (("cder", "DeepSea-v0", None, ["members=2.5"]), r"members=2.5: expected an integer"),
        (("cder", "DeepSea-v0", None, ["members=0"]), r"members=0: must be >= 1"),
        (("cder", "DeepSea-v0", None, ["bonus=noise"]), r"bonus='noise': choose one of epistemic, aleatoric"),
        (("cder", "DeepSea-v0", None, ["z_min=2", "z_max=1"]), r"z_max=1.0: must be > z_min=2.0"),
        (("cder", "DeepSea-v0", None, ["lr=nan"]), r"lr=nan: must be finite"),
        (("cder", "DeepSea-v0", None, ["seed"]), r"'seed': expected key=value"),
        (("cder", "DeepSea-v0", None, ["total_steps=0"]), r"total_steps=0: must be >= 1"),
        (("cder", "DeepSea-v0", None, ["size=0"]), r"DeepSea-v0: .*size"),
        (("cder", "DeepSea-v0", None, ["size=big"]), r"DeepSea-v0: .*size"),
        (("ddqn", "Pendulum-v1"), r"Pendulum-v1 has continuous actions; ddqn needs discrete ones"),
        (("sac", "CartPole-v1"), r"CartPole-v1 has discrete actions; sac needs continuous ones"),
        (
            ("cder", "DeepSea-v0", None, ["candidates=8"]),
            r"candidates=8: an option of cder for another kind of actions",
        ),
        (("cder", "Pendulum-v1", None, ["candidates=0"]), r"candidates=0: must be >= 1"),
        (("cder", "Pendulum-v1", None, ["candidate=8"]), r"unknown option 'candidate'; did you mean 'candidates'"),
        (("cder", "Pendulum-v1", None, ["behaviour=distilled"]), r"behaviour='distilled': choose one of thompson, ucb"),
        (("cder", "CartPole-v1", None, ["behaviour=proposal"]), r"behaviour='proposal': choose one of thompson, opt"),
        (("cder", "Pendulum-v1", None, ["preset=as_written"]), r"imagined=True: needs discrete actions"),
        (
            (
                "cder",
                "Pendulum-v1",
                None,
                ["n_step=3", "critic_n_step=true", "importance_ratios=truncated"],
            ),
            r"importance_ratios='truncated': needs discrete actions",
        ),
        (
            ("cder", "Pendulum-v1", None, ["behaviour=epsilon_greedy"]),
            r"behaviour='epsilon_greedy': needs epsilon_start > 0",
        ),
        (("sac", "Pendulum-v1", None, ["entropy=-1"]), r"entropy=-1: expected auto, or a number >= 0"),
        (("sac", "Pendulum-v1", None, ["entropy=much"]), r"entropy='much': expected auto, or a number >= 0"),
        (("td3", "Pendulum-v1", None, ["noise=pink"]), r"noise='pink': choose one of none, normal, ou"),
        (("cder", "DeepSea-v0", None, ["reward_threshold=nan"]), r"reward_threshold=nan: must be finite"),
        (("cder", "DeepSea-v0", "nowhere.toml"), r"cannot read nowhere.toml"),
    ],
)
def test_bad_values_are_one_line_errors(arguments, message):
    with pytest.raises(ConfigError, match=message) as error:
        resolve_config(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "text"), [("a.toml", "x = ["), ("a.json", "{"), ("a.ini", "x=1"), ("b.json", "[1]")])
def test_bad_files(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=name):
        resolve_config("cder", "DeepSea-v0", tmp_path / name)


def test_a_file_with_an_unknown_key_names_it(tmp_path):
    (tmp_path / "a.toml").write_text("[env_params]\nsise = 3\n")
    with pytest.raises(ConfigError, match="unknown parameter of DeepSea-v0 'sise'; did you mean 'size'"):
        resolve_config("cder", "DeepSea-v0", tmp_path / "a.toml")


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_every_option_is_documented(algorithm):
    for variant in ALGORITHMS[algorithm].variants:
        for name, (_, doc) in field_docs(variant.config_class).items():
            assert len(doc) > 10, name


def test_every_field_of_a_run_is_documented():
    for name, (_, doc) in field_docs(RunConfig).items():
        assert doc or name == "hyperparameters"
    assert {f.name for f in dataclasses.fields(RunConfig)} >= {"algorithm", "env_id", "seed", "total_steps", "num_envs"}


def test_every_field_of_a_run_is_in_the_documentation_of_its_files():
    text = (Path(__file__).parents[3] / "docs" / "result-schema.md").read_text(encoding="utf-8")
    table = text.partition("## config.json")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(field_docs(RunConfig))


def test_none_is_a_choice_like_any_other():
    hyper = resolve_config("cder", "DeepSea-v0", None, ["bonus=none", "weight_normalization=none"]).hyperparameters
    assert (hyper.bonus, hyper.weight_normalization) == ("none", "none")
    with pytest.raises(ConfigError, match="optimizer=None"):
        resolve_config("cder", "DeepSea-v0", None, ["optimizer=none"])


def test_parse_text():
    texts = ["1", "1.5", "1e-3", "true", "off", "none", "64,64", "mean", "(3,)"]
    assert [parse_text(t) for t in texts] == [1, 1.5, 1e-3, True, False, None, (64, 64), "mean", (3,)]
