"""The tests that docs/reliability.md names exist, and every promise and every bad input names one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
TITLES = ("Every promise and its test", "Environments, training and its files", "Every bad input and its test")
NAMED = re.compile(r"`((?:tests|tools)/[\w./-]+)?(?:::(\w+))?`")


def rows(title: str) -> list[list[str]]:
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def defines(file: Path, name: str) -> bool:
    text = file.read_text(encoding="utf-8")
    return re.search(rf"^(def {name}\(|class {name}\b|{name} = |TEST\({name}\))", text, re.MULTILINE) is not None


def test_named_tests_exist() -> None:
    count = 0
    for title in TITLES:
        for row in rows(title):
            file, found = None, 0
            for path, name in NAMED.findall(row[-1]):
                file = ROOT / path if path else file
                if file is None or not (path or name):
                    continue  # code that is no test
                assert file.is_file(), f"{path} does not exist"
                if name:
                    assert defines(file, name), f"{file.relative_to(ROOT)} has no {name}"
                found += 1
            assert found > 0, f"no test in the row {row[:2]}"
            count += found
    assert count > 60


def test_all_promises_are_there() -> None:
    assert [row[0] for row in rows("Every promise and its test")] == [str(k) for k in range(1, 21)]
    assert len(rows("Every bad input and its test")) >= 16
