"""Adds the README to the package's metadata, with links that work on a package index.

Links of the README are relative, so that they work in a checkout and wherever the repository is
shown. A package index has no files beside the README: where ``[project.urls]`` in pyproject.toml
names a ``Repository``, links and pictures lead there. Everything else is in pyproject.toml.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")


def readme(text: str, repository: str | None) -> str:
    """The README, with absolute links if there is a repository."""
    if not repository:
        return text
    address = repository.rstrip("/")

    def absolute(found: re.Match[str]) -> str:
        mark, label, target = found.groups()
        kind = "raw" if mark else "blob"
        return f"{mark}[{label}]({address}/{kind}/main/{target})"

    return LINK.sub(absolute, text)


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=readme(text, project.get("urls", {}).get("Repository")),
        long_description_content_type="text/markdown",
    )
