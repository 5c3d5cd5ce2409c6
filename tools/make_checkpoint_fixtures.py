"""Write tests/data/replay-v1-*.ckpt: one small checkpoint of every kind of buffer, which later versions must load.

They are written once per format version and never again: `tools/make_checkpoint_fixtures.py` refuses to replace one.
Beside each lies what the buffer's next batch is, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))

from checkpoint_helpers import KINDS, fill, make  # noqa: E402


def main() -> None:
    """Write the fixtures that do not exist yet."""
    for kind in KINDS:
        path = ROOT / "tests" / "data" / f"replay-v1-{kind}.ckpt"
        if path.exists():
            continue
        buffer = fill(make(kind), 70)
        buffer.save(path)
        size = len(buffer)
        batch = buffer.sample(8)
        expected = {name: batch[name].ravel().tolist() for name in sorted(batch)}
        path.with_suffix(".json").write_text(json.dumps({"size": size, "batch": expected}) + "\n")
        print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
