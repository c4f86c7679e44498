"""Commands that are killed at random moments, and data that is damaged or hostile.

The tries are those of benchmarks/faults.py, few of them; ``-m slow`` makes more, with other seeds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEW = {
    "kills": 3,
    "terms": 2,
    "hups": 1,
    "pairs": 1,
    "logs": 12,
    "settings": 4,
    "runs": 6,
    "archives": 8,
}
MORE = {
    "kills": 28,
    "terms": 14,
    "hups": 7,
    "pairs": 4,
    "logs": 150,
    "settings": 60,
    "runs": 100,
    "archives": 50,
}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")


def faults(folder: Path, seed: int, sizes: dict[str, int]) -> dict[str, object]:
    """The result of benchmarks/faults.py."""
    arguments = [f"--{part}={size}" for part, size in sizes.items()]
    file = folder / "faults.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "faults.py"), f"--seed={seed}"]
    found = subprocess.run(
        [*command, "--jobs=1", f"--json={file}", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert file.exists(), found.stderr
    return json.loads(file.read_text())


def test_a_few_faults_of_every_kind(tmp_path: Path):
    found = faults(tmp_path, seed=100, sizes=FEW)
    assert found["faults"] == []
    assert [row["tries"] for row in found["rows"]] == list(FEW.values())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [200, 201])
def test_many_faults_of_every_kind(tmp_path: Path, seed: int):
    assert faults(tmp_path, seed=seed, sizes=MORE)["faults"] == []
