"""The documentation site: public names are documented, and it builds without a warning."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sphinx = pytest.importorskip("sphinx", reason="the site needs the extra docs")


@pytest.fixture(scope="module")
def public_api():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "_ext"))
        import public_api

        yield public_api


def test_public_names_are_documented(public_api):
    assert list(public_api.undocumented()) == []


def test_every_exported_name_has_one_home(public_api):
    symbols = [each for room in public_api.rooms() for each in public_api.exports(room)]
    homes = {public_api.home(symbol).path for symbol in symbols}
    assert "genrec.rewards.Reward" in homes
    assert "genrec.agents.gptrec.GPTRec" in homes  # and not genrec.agents.GPTRec
    assert "genrec.agents.GPTRec" not in homes


def test_stubs_export_what_exists(public_api):
    for room in public_api.rooms():
        for symbol in public_api.exports(room):
            assert symbol.value is not None, symbol.path


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    source = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("_build", "api"))
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("examples", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q"]
    built = subprocess.run(
        [*command, str(source), str(tmp_path / "html")], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "html" / "api" / "genrec.rewards.html").exists()
    assert external_resources(tmp_path / "html") == []


def external_resources(site: Path) -> list[str]:
    """Scripts, styles, fonts and pictures that a page would load from another host."""
    loaded = re.compile(r'<(?:script|img|iframe)[^>]*src="(https?:[^"]+)"')
    linked = re.compile(r'<link[^>]*rel="(?:stylesheet|preload|icon)"[^>]*href="(https?:[^"]+)"')
    pages = (path.read_text() for path in site.rglob("*.html"))
    return [address for page in pages for address in (*loaded.findall(page), *linked.findall(page))]
