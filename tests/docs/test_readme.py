"""The README: its reward is a reward, its links exist, the slow tier runs its demo."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genrec.data import leave_one_out, load
from genrec.metrics import Context
from genrec.rewards import checked, resolve

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_it_is_short():
    assert len(README.read_text().splitlines()) <= 130


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)", README.read_text()))
def test_links_lead_to_files(link: str):
    assert link.startswith("https://") or (ROOT / link).exists()


def test_the_reward_is_a_reward(tmp_path: Path):
    (source,) = blocks("python")
    (tmp_path / "my_reward.py").write_text(source)
    reward = checked(resolve(f"{tmp_path / 'my_reward.py'}:long_tail"))
    split = leave_one_out(load("demo").dataset)
    counts = split.catalogue.counts
    rarest, commonest = np.argsort(counts[1:])[:10] + 1, np.argsort(counts[1:])[-10:] + 1
    context = Context(
        split.test.histories.take([0, 1]), split.test.targets[:2], split.catalogue, 10
    )
    earned = reward(np.stack([rarest, commonest]), context).sum(axis=1)
    assert earned.tolist() == pytest.approx([1.0, 0.0])


def test_links_are_absolute_where_the_package_has_a_repository():
    spec = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = "![a](docs/a.png) [b](docs/b.md#c) [d](https://e.org) [f](#g)"
    assert script.readme(text, None) == text
    assert script.readme(text, "https://e.org/x/") == (
        "![a](https://e.org/x/raw/main/docs/a.png) [b](https://e.org/x/blob/main/docs/b.md#c)"
        " [d](https://e.org) [f](#g)"
    )


@pytest.mark.slow
def test_the_demo(tmp_path: Path):
    commands = [line for line in blocks("bash")[0].splitlines() if line.startswith("genrec ")]
    for line in commands:
        words = shlex.split(line, comments=True)
        subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, check=True)
    assert (tmp_path / "runs/demo/comparison.png").stat().st_size > 10_000
