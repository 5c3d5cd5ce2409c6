"""Print the requirements of the named extras, with references to the project's own extras resolved.

The build happens without isolation, so that it uses the pinned tools; its requirements must therefore be installed
before the package itself.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]


def requirements(project: dict, extra: str) -> list[str]:
    """Return the requirement strings of one extra, following ``metarl-core[other]``."""
    found = []
    for requirement in project["optional-dependencies"][extra]:
        own = re.fullmatch(r"metarl-core\[([\w,]+)\]", requirement)
        if own:
            for name in own.group(1).split(","):
                found += requirements(project, name)
        else:
            found.append(requirement)
    return found


if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = project["dependencies"] + [r for extra in sys.argv[1:] for r in requirements(project, extra)]
    print("\n".join(dict.fromkeys(names)))
