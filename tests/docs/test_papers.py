"""Every citation in a docstring resolves in docs/papers.md."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BRACKET = re.compile(r"\[([A-Z][^\[\]]*?\b(?:19|20)\d\d[^\[\]]*)\]")
CITATION = re.compile(
    r"\s*([A-Z][\w'’-]+(?:(?:,| &| and|) (?:[A-Z][\w'’-]+|et al\.))* (?:19|20)\d\d[a-z]?)\b"
)


def citations(text: str) -> list[str]:
    """The ``Author Year`` of each citation: [Sun et al. 2019, eq. 7; Petrov 2025] gives two."""
    parts = [
        part for bracket in BRACKET.findall(" ".join(text.split())) for part in bracket.split(";")
    ]
    return [found[1] for part in parts if (found := CITATION.match(part))]


def docstrings(path: Path) -> str:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return "\n".join(
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kinds)
    )


def test_citations_are_found():
    text = "as in [Petrov & Macdonald\n2023b, eq. 8; Sun et al. 2019] and [Petrov 2025]"
    text += ", not [1, 2000] nor [Any]"
    assert citations(text) == ["Petrov & Macdonald 2023b", "Sun et al. 2019", "Petrov 2025"]


def first_author(citation: str) -> str:
    """Kotkov, Veijalainen & Wang 2017 and Kotkov et al. 2017 are one paper."""
    return f"{re.split('[ ,]', citation)[0]} {citation.split()[-1]}"


def test_citations_resolve():
    known = re.findall(r"^- \*\*(.+?)\*\*", (ROOT / "docs" / "papers.md").read_text(), re.MULTILINE)
    folders = [ROOT / folder for folder in ("genrec", "envs", "agents")]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    cited = {name: path.name for path in sources for name in citations(docstrings(path))}
    assert "Petrov 2025" in cited
    resolved = {first_author(name) for name in known}
    assert len(resolved) == len(known)
    assert {
        name: where for name, where in cited.items() if first_author(name) not in resolved
    } == {}
