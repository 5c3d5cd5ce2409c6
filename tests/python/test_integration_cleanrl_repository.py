"""What CleanRL's repository has and its release has not: Rainbow, and the other scripts as they are now.

`make test-cleanrl-repository` runs it. METARL_CLEANRL_REPOSITORY names a checkout; the scripts need Gymnasium 0.29 and
tyro, Rainbow ale-py and OpenCV too.
"""

import importlib.util
import re
from pathlib import Path

import pytest
from cleanrl_scripts import QUICK, REPOSITORY, change, import_changed, run

if REPOSITORY is None:
    pytest.skip("METARL_CLEANRL_REPOSITORY is not set; make test-cleanrl-repository", allow_module_level=True)


@pytest.mark.parametrize("name", ["dqn", "c51", "td3_continuous_action", "sac_continuous_action"])
def test_the_repositorys_scripts(name, tmp_path):
    script = import_changed(Path(REPOSITORY) / "cleanrl" / f"{name}.py", tmp_path)
    if name == "c51":
        change(script, "C51: the loss")
    more = {"env_id": "Pendulum-v1", "total_timesteps": 300, "learning_starts": 200} if "continuous" in name else QUICK
    result = run(script, tmp_path, **more)
    assert result["told"] == []
    assert result["spread"] > 0.01


def test_the_repositorys_ppo_on_our_environments(tmp_path):
    script = tmp_path / "ppo.py"
    text = (Path(REPOSITORY) / "cleanrl" / "ppo.py").read_text(encoding="utf-8")
    made = re.compile(r"    envs = gym\.vector\.SyncVectorEnv\(\n.*\n    \)\n")
    import_line = "from metarl_core.integrations.cleanrl import make_envs\n"
    text, count = made.subn("    envs = make_envs(args.env_id, args.num_envs, args.seed)\n", import_line + text)
    assert count == 1
    script.write_text(text, encoding="utf-8")
    result = run(script, tmp_path, total_timesteps=40_000, num_envs=8, seed=1, learning_rate=1e-3)
    assert sum(result["returns"][-20:]) / 20 > 100


@pytest.mark.skipif(importlib.util.find_spec("ale_py") is None, reason="ale_py is not installed")
@pytest.mark.parametrize("frame_stack", [False, True])
def test_rainbow_on_atari(frame_stack, tmp_path):
    script = tmp_path / "rainbow_atari.py"
    script.write_text((Path(REPOSITORY) / "cleanrl" / script.name).read_text(encoding="utf-8"), encoding="utf-8")
    change(script, "Rainbow")
    if frame_stack:
        text = script.read_text(encoding="utf-8").replace(
            "args.prioritized_replay_eps,\n", "args.prioritized_replay_eps,\n        frame_stack=4,\n"
        )
        script.write_text(text, encoding="utf-8")
    result = run(script, tmp_path, total_timesteps=260, learning_starts=220, buffer_size=1000)
    assert result["size"] == 260
    assert result["spread"] > 0.01
    assert (result["bytes"] < 7_100) == frame_stack
