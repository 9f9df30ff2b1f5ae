"""`make measure`: the figures of the house style that can be read off the code, as it lies in the working tree.

They never fail a build; a figure that improves while the code reads worse is a false gain. What has to be run to be known is
named at the end and not guessed. The ugliest file is the one whose budgets are overdrawn most: lines of the module beyond 400
(of the domain 250) and of a function beyond 40, ten more for each suppression, fifty for each broad `except` and `assert`.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ("images/services/readingroom", "images/*.py", "infra", "hub_config")
PACKAGES = ("readingroom", "infra", "hub_config")
SUPPRESSION = re.compile(r"# (?:noqa|type: ignore|pragma: no cover)")
WITH_REASON = re.compile(r"# (?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\]) *[(#]")
MOCK = re.compile(r"Mock\(|mocker\.|\bpatch\(|\bpatch\.|\.setattr\(")
ERRORS = frozenset({"Refused", "Rejected", "Held", "TryAgain", "WrongSetUp"})
# What a pure module does not touch; the linter holds the same.
WORLD = frozenset(
    {"os", "subprocess", "socket", "logging", "random", "time", "pathlib", "io", "sys", "tempfile", "shutil"}
)
NOT_READ = "coverage, writers of a state, settings read once, what a cluster refuses, which pages are generated"


def is_broad(kind: ast.expr | None) -> bool:
    """Whether an `except` of this kind takes everything."""
    if isinstance(kind, ast.Tuple):
        return any(map(is_broad, kind.elts))
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})


def called(node: ast.AST) -> str:
    """The name of what is called, if it is a call of a name or of an attribute."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


@dataclass
class Module:
    """What one file adds up to."""

    path: Path
    text: str = ""
    functions: dict[str, int] = field(default_factory=dict)
    returns: list[bool] = field(default_factory=list)
    docstrings: list[bool] = field(default_factory=list)
    causes: list[bool] = field(default_factory=list)
    next_steps: list[bool] = field(default_factory=list)
    imports: set[str] = field(default_factory=set)
    asserts: int = 0
    broad: int = 0

    def __post_init__(self) -> None:
        self.text = self.path.read_text(encoding="utf-8")
        tree = ast.parse(self.text)
        self.docstrings = [ast.get_docstring(node) is not None for node in public(tree.body)]
        for node in ast.walk(tree):
            self._look(node)

    def _look(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.functions[node.name] = max(self.functions.get(node.name, 0), (node.end_lineno or 0) - node.lineno + 1)
            self.returns.append(node.returns is not None)
        elif isinstance(node, ast.ExceptHandler):
            self.broad += is_broad(node.type)
            raised = [each for each in ast.walk(node) if isinstance(each, ast.Raise) and each.exc is not None]
            self.causes += [each.cause is not None for each in raised]
        elif isinstance(node, ast.Import):
            self.imports |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            self.imports.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Call):
            self.broad += called(node) == "suppress" and any(map(is_broad, node.args))
            if called(node) in ERRORS:
                self.next_steps.append(any(keyword.arg == "next_step" for keyword in node.keywords))
        self.asserts += isinstance(node, ast.Assert)

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @property
    def suppressions(self) -> list[str]:
        return [line for line in self.text.splitlines() if SUPPRESSION.search(line)]

    @property
    def ugliness(self) -> dict[str, int]:
        """Points by cause."""
        budget = 250 if "/domain/" in self.name else 400
        points = {f"{self.lines} lines": max(0, self.lines - budget)}
        points |= {f"{name} of {lines} lines": lines - 40 for name, lines in self.functions.items() if lines > 40}
        points[f"{len(self.suppressions)} suppressions"] = 10 * len(self.suppressions)
        points[f"{self.broad} broad excepts, {self.asserts} asserts"] = 50 * (self.broad + self.asserts)
        return {cause: number for cause, number in points.items() if number}


def public(body: Sequence[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes that others may use, and methods of such classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def modules(*places: str) -> list[Module]:
    """The Python files that git knows or would add, migrations left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *places]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [ROOT / line for line in sorted(set(listed)) if line.endswith(".py") and "/migrations/" not in line]
    return [Module(path) for path in paths if path.is_file()]


def cycle() -> str:
    """One import cycle, type-only imports included, or 0."""
    graph = grimp.build_graph(*PACKAGES)
    try:
        graphlib.TopologicalSorter(
            {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
        ).prepare()
    except graphlib.CycleError as error:
        return f"at least 1 ({' → '.join(error.args[1])})"
    return "0"


def percentile(values: Sequence[int], share: float) -> int:
    ordered = sorted(values) or [0]
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def largest(values: dict[str, int]) -> str:
    name = max(values, key=lambda key: values[key], default="-")
    return f"{values.get(name, 0)} ({name})"


def share(flags: Sequence[bool]) -> str:
    """In per cent, rounded down: 100 % means all."""
    return f"{100 * sum(flags) // max(1, len(flags))} %"


def of_shape(source: Sequence[Module], tests: Sequence[Module]) -> list[tuple[str, str, str]]:
    """How the code is laid out."""
    lines, test_lines = sum(each.lines for each in source), sum(each.lines for each in tests)
    functions = {f"{each.name}:{name}": size for each in source for name, size in each.functions.items()}
    domain = [each for each in source if "/readingroom/domain/" in each.name]
    contracts = (ROOT / "pyproject.toml").read_text(encoding="utf-8").count("[[tool.importlinter.contracts]]")
    return [
        ("source lines / test lines", f"{lines} / {test_lines}", ""),
        ("import contracts / cycles", f"{contracts} / {cycle()}", "at least 6 / 0"),
        ("domain modules free of input and output", share([not each.imports & WORLD for each in domain]), "100 %"),
        ("module lines, 90th percentile", str(percentile([each.lines for each in source], 0.9)), "250"),
        ("largest module", largest({each.name: each.lines for each in source}), "400"),
        ("function lines, 90th percentile", str(percentile(list(functions.values()), 0.9)), "28"),
        ("largest function", largest(functions), "40"),
        ("test lines per source line", f"{test_lines / max(1, lines):.2f}", "at least 1.3"),
    ]


def of_care(source: Sequence[Module], tests: Sequence[Module]) -> list[tuple[str, str, str]]:
    """What the code says, and what it leaves unsaid."""
    thousand, tested = sum(each.lines for each in source) / 1000, sum(each.lines for each in tests) / 1000
    mocks = sum(len(MOCK.findall(each.text)) for each in tests if each.path != Path(__file__))
    adapters = [each for each in source if "/adapters/" in each.name]
    suppressed = [line for each in source for line in each.suppressions]
    bare = sum(not WITH_REASON.search(line) for line in suppressed)
    broad = {each.name: each.broad for each in source if each.broad}
    ugliest = max(source, key=lambda each: sum(each.ugliness.values()))
    return [
        ("mocks per 1,000 test lines", f"{mocks / max(0.001, tested):.1f}", "at most 3"),
        ("return annotations", share([flag for each in source for flag in each.returns]), "100 %"),
        ("public docstrings", share([flag for each in source for flag in each.docstrings]), "95 %"),
        ("causes kept in adapters", share([flag for each in adapters for flag in each.causes]), "100 %"),
        ("errors that say what to do next", share([flag for each in source for flag in each.next_steps]), "100 %"),
        ("assert in source", str(sum(each.asserts for each in source)), "0"),
        ("broad except", f"{sum(broad.values())} in {len(broad)} files", "one per process edge"),
        ("suppressions per 1,000 lines", f"{len(suppressed) / max(0.001, thousand):.1f}, {bare} without a reason",
         "at most 2, with reasons"),
        ("decision records", str(len(list((ROOT / "policies/decisions").glob("[0-9]*.md")))), "one per decision"),
        ("ugliest file", f"{ugliest.name} ({', '.join(ugliest.ugliness) or 'nothing is overdrawn'})", "shrinking"),
    ]  # fmt: skip


def main() -> None:
    source, tests = modules(*SOURCE), modules("tests")
    rows = [*of_shape(source, tests), *of_care(source, tests)]
    names, values = (max(len(row[place]) for row in rows) for place in (0, 1))
    for name, value, target in rows:
        print(f"{name:<{names}}  {value:<{min(values, 72)}}  {target}".rstrip())  # noqa: T201 (the table people asked for)
    print(f"not read off the code: {NOT_READ}")  # noqa: T201 (the same)


if __name__ == "__main__":
    main()
