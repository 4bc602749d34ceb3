"""The README's lines of Python, as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRAIN = (
    *("--env-name", "envs.toys:Bandit-v0", "--num-processes", "1", "--num-env-steps", "400"),
    *("--eval-interval", "0", "--eval-episodes", "1", "--video-interval", "0", "--save-dir", ""),
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def run(*command: str, folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_policy_is_loaded_and_acts_as_the_readme_says(tmp_path):
    run(sys.executable, str(ROOT / "main.py"), *TRAIN, folder=tmp_path)
    run(sys.executable, "-c", blocks("python")[-1], folder=tmp_path)


def test_the_loop_that_is_quoted_is_the_programs():
    quoted = [line.strip() for line in blocks("python")[0].splitlines()]
    source = [line.strip() for line in (ROOT / "workers" / "trainer.py").read_text().splitlines()]
    start = source.index(quoted[0])
    assert source[start : start + len(quoted)] == quoted
    design = re.findall(r"```python\n(.*?)```", (ROOT / "DESIGN.md").read_text(), re.DOTALL)
    assert design[0] == blocks("python")[0]


def test_links_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *(ROOT / "results").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"
