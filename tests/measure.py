"""`make measure`: figures that make us look again.

They never fail a build; a figure that improves while the code reads worse is a false gain.
"""

from __future__ import annotations

import ast
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ("images/services/readingroom", "infra", "hub_config", "images/build.py")


@dataclass
class Figures:
    """What one tree of Python files adds up to."""

    modules: dict[str, int] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)
    returns: list[bool] = field(default_factory=list)
    docstrings: list[bool] = field(default_factory=list)
    asserts: int = 0
    broad: int = 0
    suppressions: int = 0

    def read(self, path: Path) -> None:
        text = path.read_text()
        name = str(path.relative_to(ROOT))
        self.modules[name] = len(text.splitlines())
        self.suppressions += len(re.findall(r"# noqa|# type: ignore|pragma: no cover", text))
        tree = ast.parse(text)
        public = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
        self.docstrings += [ast.get_docstring(node) is not None for node in public if not node.name.startswith("_")]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions[f"{name}:{node.name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
                self.returns.append(node.returns is not None)
            self.asserts += isinstance(node, ast.Assert)
            self.broad += isinstance(node, ast.ExceptHandler) and (
                node.type is None
                or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
            )


def tracked(*folders: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in listed.splitlines() if line.endswith(".py") and "/migrations/" not in line]


def percentile(values: dict[str, int], share: float) -> int:
    ordered = sorted(values.values()) or [0]
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def largest(values: dict[str, int]) -> str:
    name = max(values, key=lambda key: values[key], default="-")
    return f"{values.get(name, 0)} ({name})"


def per_cent(flags: list[bool]) -> str:
    return f"{100 * sum(flags) / max(1, len(flags)):.0f} %"


def main() -> None:
    source, tests = Figures(), Figures()
    for path in tracked(*SOURCE):
        source.read(path)
    for path in tracked("tests"):
        tests.read(path)
    lines, test_lines = sum(source.modules.values()), sum(tests.modules.values())
    mocks = sum(
        len(re.findall(r"Mock\(|mocker\.|@patch|monkeypatch\.setattr", path.read_text())) for path in tracked("tests")
    )
    contracts = (ROOT / "pyproject.toml").read_text().count("[[tool.importlinter.contracts]]")
    rows = [
        ("source lines / test lines", f"{lines} / {test_lines}", ""),
        ("import contracts", str(contracts), "at least 6"),
        ("module lines, 90th percentile", str(percentile(source.modules, 0.9)), "250"),
        ("largest module", largest(source.modules), "400"),
        ("function lines, 90th percentile", str(percentile(source.functions, 0.9)), "28"),
        ("largest function", largest(source.functions), "40"),
        ("test lines per source line", f"{test_lines / max(1, lines):.2f}", "at least 1.3"),
        ("mocks per 1,000 test lines", f"{1000 * mocks / max(1, test_lines):.1f}", "at most 3"),
        ("return annotations", per_cent(source.returns), "100 %"),
        ("public docstrings", per_cent(source.docstrings), "95 %"),
        ("assert in source", str(source.asserts), "0"),
        ("broad except", str(source.broad), "one per process edge"),
        ("suppressions per 1,000 lines", f"{1000 * source.suppressions / max(1, lines):.1f}", "at most 2"),
        ("decision records", str(len(list((ROOT / "policies/decisions").glob("[0-9]*.md")))), "one per decision"),
    ]
    width = max(len(row[0]) for row in rows)
    for name, value, target in rows:
        print(f"{name:<{width}}  {value:<70}  {target}".rstrip())  # noqa: T201 (this is the table people asked for)


if __name__ == "__main__":
    main()
