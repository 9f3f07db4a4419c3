"""Counts how large the package and its parts are, and names what is over a limit: `python tools/house.py`.

It exits with 1 when something is over a limit and not in `EXCEPTIONS`, and when an exception is no longer needed.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "dgnb"

PACKAGE_LINES: Final = 16_500
CLIENT_LINES: Final = 11_000  # without loopback
LOOPBACK_LINES: Final = 3_800
MEDIAN_LINES: Final = 150
MODULE_LINES: Final = 450
ATTRIBUTES: Final = 18
METHODS: Final = 25
FUNCTION_LINES: Final = 50
BRANCHES: Final = 12

EXCEPTIONS: Final = {
    "dgnb/session/link.py Link attributes": (19, "the budget of a stream is counted where its audio is sent"),
    "dgnb/recordings/__init__.py transcribe_file lines": (73, "Shift-Tab shows its arguments and what each one means"),
    "dgnb/session/stream.py Stream attributes": (19, "it makes what its connections share, the budget too"),
    "package": (20_882, "sound, recordings, Flux and comparing are larger than what went for them"),
    "package without loopback": (
        17_932,
        "what real stations, films and servers send, and what people see, asked for more than the new house saved",
    ),
}
"""What is over its limit: the name that this program prints, how far it may go, and the reason."""

_BRANCHES: Final = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.match_case,
    ast.comprehension,
)


class Count(NamedTuple):
    """A figure and its limit. `name` is what the figure counts, `where` is a file and a line."""

    name: str
    where: str
    figure: float
    limit: int


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def sizes(modules: list[Path]) -> list[Count]:
    """The size of the package, of its two halves, of the median module and of each module."""
    loopback = {path for path in modules if "loopback" in path.relative_to(PACKAGE).parts}
    counts = [
        Count("package", "dgnb", sum(map(lines, modules)), PACKAGE_LINES),
        Count(
            "package without loopback",
            "dgnb",
            sum(lines(path) for path in modules if path not in loopback),
            CLIENT_LINES,
        ),
        Count("loopback", "dgnb/loopback", sum(lines(path) for path in loopback), LOOPBACK_LINES),
        Count("median module", "dgnb", statistics.median(lines(path) for path in modules), MEDIAN_LINES),
    ]
    for path in modules:
        where = str(path.relative_to(ROOT))
        counts.append(Count(f"{where} lines", where, lines(path), MODULE_LINES))
    return counts


def own_attributes(node: ast.ClassDef) -> set[str]:
    """The attributes that a class sets on `self`, and the annotated fields of its body."""
    fields = {
        item.target.id
        for item in node.body
        if isinstance(item, ast.AnnAssign)
        and isinstance(item.target, ast.Name)
        and "ClassVar" not in ast.unparse(item.annotation)
    }
    set_on_self = {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)
        if isinstance(inner.value, ast.Name) and inner.value.id == "self"
    }
    return fields | set_on_self


def is_record(node: ast.ClassDef) -> bool:
    """Whether a class is a table of data: its body holds annotated fields, and it is frozen or a message."""
    said = " ".join(ast.unparse(part) for part in [*node.decorator_list, *node.bases, *node.keywords])
    return "frozen=True" in said or "TypedDict" in said or "Message" in said


def branches(node: ast.AST) -> Iterator[ast.AST]:
    """The branches of a function, without those of the functions in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if isinstance(child, _BRANCHES):
            yield child
        yield from branches(child)


def parts(path: Path) -> Iterator[Count]:
    """The classes and functions of a module."""
    where = str(path.relative_to(ROOT))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        at = f"{where}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ClassDef):
            methods = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            yield Count(f"{where} {node.name} methods", at, len(methods), METHODS)
            if not is_record(node):
                yield Count(f"{where} {node.name} attributes", at, len(own_attributes(node)), ATTRIBUTES)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Count(f"{where} {node.name} lines", at, length, FUNCTION_LINES)
            yield Count(f"{where} {node.name} branches", at, sum(1 for _ in branches(node)), BRANCHES)


def main() -> int:
    modules = sorted(PACKAGE.rglob("*.py"))
    counts = sizes(modules) + [count for path in modules for count in parts(path)]
    print(f"{'':34}figure  limit")
    for count in counts[:4]:
        print(f"{count.name:34}{count.figure:6g}{count.limit:7}")
    for kind in ("lines", "attributes", "methods", "branches"):
        largest = max((count for count in counts[4:] if count.name.endswith(kind)), key=lambda count: count.figure)
        print(f"{'most ' + kind:34}{largest.figure:6g}{largest.limit:7}  {largest.where}")
    over = {count.name: count for count in counts if count.figure > count.limit}
    failed = False
    for name, count in over.items():
        limit = EXCEPTIONS.get(name, (count.limit,))[0]
        if count.figure > limit:
            failed = True
            print(f"{count.where}: {name}: {count.figure:g}; the limit is {limit}")
    for name in EXCEPTIONS.keys() - over.keys():
        failed = True
        print(f"tools/house.py: the exception {name!r} is no longer needed")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
