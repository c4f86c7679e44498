"""``genrec doctor``: looks, says, changes nothing."""

import json
import os

import pytest
import typer
from typer.testing import CliRunner

from genrec.cli import doctor


@pytest.fixture
def app():
    app = typer.Typer()
    app.command()(doctor.doctor)
    return app


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))


def test_json_names_versions_and_devices(app, tmp_path):
    result = CliRunner().invoke(app, ["--json"])
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["devices"].split(", ")[-1] == "cpu"
    assert facts["dataset cache"] == f"{tmp_path / 'cache'} (will be made when needed)"
    assert facts["rewards"].endswith("usable")
    assert list(tmp_path.iterdir()) == []


def test_table_has_a_line_for_every_fact(app):
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0
    assert {"genrec", "python", "torch", "bfloat16", "gymnasium", "runs", "rewards"} <= {
        line.split()[0] for line in result.stdout.splitlines() if line.strip()
    }


def test_a_missing_package_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("surely-not-there",))
    assert doctor.examine()["surely-not-there"] == "not installed"


def test_a_runs_folder_is_judged(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "file").touch()
    assert doctor.examine(tmp_path / "here")["runs folder"] == f"{tmp_path / 'here'} (writable)"
    assert "cannot be written" in doctor.examine(tmp_path / "file" / "runs")["runs folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_noticed(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "cannot be written" in doctor.examine(tmp_path / "locked" / "runs")["runs folder"]
