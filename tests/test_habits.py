"""Workflows, templates and tool settings agree with the Makefile and with pyproject.toml."""

import re
import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import genrec

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TEMPLATES = GITHUB / "ISSUE_TEMPLATE"
FORMS = [path for path in sorted(TEMPLATES.glob("*.yml")) if path.name != "config.yml"]
VERBS = re.findall(r"^(\w+):", MAKEFILE, flags=re.MULTILINE)


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, and reads ``on`` as a string, as GitHub does."""


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [loader.construct_scalar(key) for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"twice in {node.start_mark}: {keys}"
    values = [loader.construct_object(value, deep=True) for _, value in node.value]
    return dict(zip(keys, values, strict=True))


StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(path: Path) -> Any:
    """The content of a YAML file."""
    return yaml.load(path.read_text(), StrictLoader)


def steps(workflow: Path) -> list[dict[str, Any]]:
    """The steps of all jobs."""
    return [step for job in read(workflow)["jobs"].values() for step in job["steps"]]


def supported() -> list[str]:
    """Python versions of the classifiers."""
    found = (re.fullmatch(r".*:: (3\.\d+)", each) for each in PROJECT["classifiers"])
    return [match[1] for match in found if match]


def commands_of(verb: str) -> list[str]:
    """What ``make VERB`` would run, in the project's environment."""
    made = subprocess.run(
        ["make", "--dry-run", "--always-make", verb, "PYTHON=python3", "VENV=/nowhere"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()


def test_a_key_that_stands_twice_is_noticed(tmp_path):
    (tmp_path / "twice.yml").write_text("on: push\njobs: 1\njobs: 2\n")
    with pytest.raises(AssertionError, match="jobs"):
        read(tmp_path / "twice.yml")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_and_has_a_limit(path):
    content = read(path)
    assert content["permissions"] == {"contents": "read"}
    assert {"on", "jobs", "name"} <= set(content)
    assert all(job["timeout-minutes"] <= 60 for job in content["jobs"].values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_verbs_of_the_makefile(path):
    ran = [step["run"] for step in steps(path) if "run" in step]
    assert ran
    assert {command.removeprefix("make ") for command in ran} <= set(VERBS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_those_of_github_and_have_a_version(path):
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"actions/[\w-]+@v\d+", name)] == []


def test_every_supported_python_is_tested():
    matrix = read(GITHUB / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python-version"] == supported() == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"


def test_the_lowest_versions_are_tried_on_the_oldest_python():
    (setup,) = [
        step["with"]
        for step in steps(GITHUB / "workflows" / "lowest.yml")
        if step.get("uses", "").startswith("actions/setup-python")
    ]
    assert setup["python-version"] == supported()[0]


def test_the_workflow_does_what_ci_run_does():
    (loop,) = re.findall(r"^for verb in (.*); do$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    ran = [step["run"] for step in steps(GITHUB / "workflows" / "ci.yml") if "run" in step]
    assert ran == [f"make {verb}" for verb in loop.split()]


def test_every_verb_is_declared_and_listed():
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony.split() == VERBS
    listed = MAKEFILE.splitlines()[0].split(".")[0].removeprefix("# make ").split(" | ")
    assert ["python", *listed] == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_can_be_expanded(verb):
    commands_of(verb)


def test_commits_pass_the_checks_of_the_makefile():
    """Each hook of pre-commit is a command of ``make check``, for the files of the commit."""
    config = read(ROOT / ".pre-commit-config.yaml")
    (hooks,) = [repo["hooks"] for repo in config["repos"] if repo["repo"] == "local"]
    checks = {" ".join(line.split()[:2]) for line in commands_of("check")}
    tools = {check.split("/")[-1].split()[0] for check in checks}
    for hook in hooks:
        words = hook["entry"].removeprefix(".venv/bin/").split()
        assert words[0] in tools
        assert len(words) == 1 or f"/nowhere/bin/{words[0]} {words[1]}" in checks
        assert any(each.startswith(words[0]) for each in PROJECT["optional-dependencies"]["dev"])


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_asks_for_something(path):
    form = read(path)
    assert {"name", "description", "body"} <= set(form)
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    names = [part["id"] for part in fields]
    assert len(names) == len(set(names))
    assert all(part["attributes"]["label"] for part in fields)
    assert any(part.get("validations", {}).get("required") for part in fields)


def test_there_is_a_form_for_bugs_features_and_plugins():
    names = [path.stem for path in FORMS]
    assert names == ["bug_report", "feature_request", "reward_plugin"]
    assert read(TEMPLATES / "config.yml") == {"blank_issues_enabled": True}


@pytest.mark.parametrize("name", ["PULL_REQUEST_TEMPLATE.md", "ISSUE_TEMPLATE/bug_report.yml"])
def test_templates_name_commands_and_files_that_exist(name):
    text = (GITHUB / name).read_text()
    assert set(re.findall(r"`make (\w+)`", text)) <= set(VERBS)
    missing = [path for path in re.findall(r"[\w/-]+\.md", text) if not (ROOT / path).is_file()]
    assert missing == []


def test_security_names_how_to_report_and_what_is_code():
    text = (ROOT / "SECURITY.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Supported versions",
        "Reporting a vulnerability",
        "What is code, what is data",
        "What a checksum can and cannot do",
    ]
    assert "private security advisory" in text


def test_the_citation_is_of_the_last_release():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (version, date), *_ = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - ([\d-]+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert cited["version"] == version
    assert str(cited["date-released"]) == date
    assert cited["license"] == PROJECT["license"]


def test_the_version_has_one_place():
    assert "version" in PROJECT["dynamic"]
    said = re.compile(rf"(?<![\d.]){re.escape(genrec.__version__)}(?![\d.])")
    assert "version" not in PROJECT
    files = [*ROOT.glob("*.py"), *(ROOT / "genrec").rglob("*.py"), ROOT / "CITATION.cff"]
    found = [path.relative_to(ROOT) for path in files if said.search(path.read_text())]
    assert found == [Path("genrec/__init__.py")]


def test_the_lowest_requirements_are_all_direct_dependencies():
    lowest = runpy.run_path(str(ROOT / "tests" / "lowest_versions.py"))
    found = lowest["lowest_requirements"]((ROOT / "pyproject.toml").read_text())
    names = {requirement.split("==")[0] for requirement in found}
    extras = PROJECT["optional-dependencies"]
    assert set(extras) - set(lowest["EXTRAS"]) == {"dev", "docs"}
    direct = [
        *PROJECT["dependencies"],
        *(each for name in lowest["EXTRAS"] for each in extras[name]),
    ]
    assert names == {each.split(">=")[0] for each in direct} | set(lowest["TOOLS"])


@pytest.mark.parametrize("requirement", ["torch", "torch==2.13", "torch>2", "torch>=2.13,!=2.14"])
def test_a_dependency_without_a_plain_lower_bound_is_refused(requirement):
    split = runpy.run_path(str(ROOT / "tests" / "lowest_versions.py"))["split"]
    with pytest.raises(ValueError, match=re.escape(requirement)):
        split(requirement)


def test_constraints_fit_the_declared_bounds():
    """``make setup`` installs exactly the constraints, so each dependency has one that fits."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    declared = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    for requirement in declared:
        name, low = re.match(r"([\w.-]+)>=([\d.]+)", requirement).groups()
        assert _numbers(pins[name.lower()]) >= _numbers(low), requirement


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
