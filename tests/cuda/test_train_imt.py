"""Training IMT with environments, replay and networks on a GPU: no host copy between two looks, resuming."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from metarl_core.agents import resolve_config, train  # noqa: E402
from metarl_core.agents.imt.comparison import SHUFFLES, compare  # noqa: E402
from metarl_core.agents.imt.device.actors import DeviceTaskActors  # noqa: E402
from metarl_core.agents.imt.device.collecting import DeviceCollection  # noqa: E402
from metarl_core.agents.imt.run import ImtTrainer  # noqa: E402
from metarl_core.agents.imt.updates import AloneUpdates, HeadUpdates, SubmodelUpdates  # noqa: E402
from metarl_core.runs import RunWriter  # noqa: E402

sys.path.append(str(Path(__file__).parents[1] / "python" / "agents"))
from run_helpers import StopInRound, contents  # noqa: E402
from watching import no_copy_and_no_wait  # noqa: E402

CURIOUS = ["exploration=curiosity", "scale_rewards=false", "val_tasks=0", "keep=last"]
CASES = {
    "robots": ("PointRobot-v0", ["val_tasks=2"]),
    "as_written": ("PointRobot-v0", ["preset=as_written", "lambda_rl=1"]),
    "others": ("FrozenLake-v1", ["td_tasks=others", "start=own", "target_update=hard", "val_tasks=0"]),
    "alone": ("CartPole-v1", ["sharing=none", "val_tasks=0"]),
    "curious": ("DeepSea-v0", [*CURIOUS, "size=8", "one_hot_obs=true"]),
    "symbols": ("MiniGrid-FourRooms-v0", ["val_tasks=0", "max_episode_steps=50"]),
}
SMALL = ["env_tasks=4", "envs_per_task=16", "test_tasks=2", "reference_steps=512", "pretrain_updates=20", "rounds=2"]
SMALL += ["steps_per_round=640", "submodel_updates=20", "head_updates=20", "evaluation_episodes=1", "tolerance=0"]


def config_of(case, *more):
    env_id, options = CASES[case]
    return resolve_config("imt", env_id, None, ["device=cuda", *SMALL, *options, *more])


@pytest.mark.parametrize("case", CASES)
def test_no_copy_and_no_wait_between_two_looks(case, tmp_path):
    config = config_of(case)
    with (
        RunWriter(tmp_path / "run", config.to_dict()) as writer,
        ImtTrainer(config, writer, None, "cuda").learner as learner,
    ):
        learner.pretrain()
        learner.collect(learner.actors, learner.replay, 0.5)
        phases = [DeviceCollection(learner, learner.tuning_actors, learner.tuning_replay, 0.5)]
        if learner.config.sharing == "none":
            phases += [AloneUpdates(learner)]
        else:
            phases += [SubmodelUpdates(learner), HeadUpdates(learner)]
        for phase in phases:
            phase.run(8)  # allocates batches and the optimiser's state
            phase.begin(10)
            with no_copy_and_no_wait():
                for at in range(10):
                    phase.step(at)
            phase.look(10)
        assert learner.tuning_actors.steps >= 18 * 16


@pytest.mark.parametrize("case", CASES)
def test_no_copy_and_no_wait_in_a_stretch_of_the_comparison(case, tmp_path, monkeypatch):
    config, played = config_of(case), []

    def watched(actors, policy, length):
        if length > 8:  # the first stretch is watched: whoever plays before has allocated and loaded
            return stretch(actors, policy, length)
        with no_copy_and_no_wait():
            for at in range(length):
                actors.play(policy, at)
        played.append(actors)
        return actors._read(length)

    stretch = DeviceTaskActors._stretch
    with (
        RunWriter(tmp_path / "run", config.to_dict()) as writer,
        ImtTrainer(config, writer, None, "cuda").learner as learner,
    ):
        adapted = learner.adapt(learner.train_tasks)
        compare(learner, adapted, 2)
        monkeypatch.setattr(DeviceTaskActors, "_stretch", watched)
        compare(learner, adapted, 2)
    assert len(played) == 10 + SHUFFLES


@pytest.mark.parametrize("case", ["robots", "curious"])
def test_a_run_finishes_and_resumes(case, tmp_path):
    config = config_of(case)

    def run_to_end(name, progress=None, resume=False):
        with RunWriter(tmp_path / name, config.to_dict(), resume=resume) as run:
            return train(config, run, progress)

    whole = run_to_end("whole")
    stopped = run_to_end("parts", StopInRound(2))
    assert stopped["status"] == "interrupted"
    assert stopped["rounds"] == 1  # the checkpoint has replays, episodes under way and, of the curious, heads
    parts = run_to_end("parts", resume=True)
    assert parts["environment_steps"] == whole["environment_steps"] == config.total_steps
    # Sums of gradients may be taken in another order from run to run; what is counted is the same.
    assert [row["updates"] for row in contents(tmp_path / "parts")[0]] == [
        row["updates"] for row in contents(tmp_path / "whole")[0]
    ]
