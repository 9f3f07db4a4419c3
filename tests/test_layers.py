"""A module imports only modules below it, and heavy packages stay in their rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dgnb

ROOT = Path(dgnb.__file__).parent
FLOORS = [
    {"_version", "exceptions", "cells", "values", "notices", "files"},
    {"options", "messages", "audio", "offline"},
    {"writing", "completion", "pricing"},
    {"endpoints", "connection", "frames", "tables", "captions"},
    {"exports"},
    {"transcript"},
    {"session"},
    {"account", "recordings"},
    {"comparison"},
    {"blocking", "nested"},
    {"plots", "widgets"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
ANYWHERE = {"samples"}
"""It imports nothing, so every room may import it."""

LOOPBACK_MAY = {"_version", "exceptions", "options", "messages", "offline", "samples", "loopback", "values"}
# Pairs on the same floor: the first may import the second.
WITHIN = {
    ("values", "exceptions"),
    ("notices", "exceptions"),
    ("cells", "exceptions"),
    ("files", "exceptions"),
    ("audio", "options"),
    ("connection", "endpoints"),
    ("tables", "frames"),
}
HEAVY = {
    "pandas": {"exports", "frames", "tables", "transcript", "comparison", "plots"},
    "matplotlib": {"plots"},
    "anywidget": {"widgets"},
    "ipywidgets": {"session"},
    "av": {"audio", "loopback"},
    "aiohttp": {"audio", "connection", "loopback"},
    "numpy": {"audio", "frames", "tables", "comparison", "plots", "loopback"},
    "websockets": {"connection", "endpoints"},
    "faster_whisper": {"loopback"},
    "sounddevice": {"audio"},
    "nest_asyncio": {"nested"},
    "nest_asyncio2": {"nested"},
}
EAGER = {
    "pandas": {"frames", "tables", "comparison", "plots"},
    "matplotlib": {"plots"},
    "numpy": {"frames", "tables", "comparison", "plots", "loopback"},
    "av": {"loopback"},
    "aiohttp": {"loopback"},
    "websockets": {"connection"},
    "anywidget": {"widgets"},
}
"""The rooms that import such a package at import time. The other rooms import it on first use."""


def room(path: Path) -> str:
    """The room of a file: `dgnb/audio/url/feed.py` is in `audio`."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Every module that a file imports, the line, and whether it is imported together with the file.

    Imports inside functions are included. Imports for type checking are not.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    in_functions = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        eager = node not in in_functions and node not in types_only
        if node in types_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, eager) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            assert node.module is not None
            if node.module == "dgnb":
                yield from ((f"dgnb.{alias.name}", node.lineno, eager) for alias in node.names)
            else:
                yield node.module, node.lineno, eager


def offence(place: str, module: str) -> str | None:
    """Why a room must not import a module of dgnb; None if it may."""
    target = module.removeprefix("dgnb").removeprefix(".").partition(".")[0]
    if not target:
        return "dgnb itself is above every room: import the module that defines the name"
    if target in (place, *ANYWHERE):
        return None
    if place == "loopback":
        return None if target in LOOPBACK_MAY else "loopback must not know the client"
    if place in ANYWHERE:
        return f"{place} imports nothing"
    if target not in FLOOR:
        return f"{target} is on no floor"
    if FLOOR[target] < FLOOR[place] or (place, target) in WITHIN:
        return None
    return f"{target} is not below {place}"


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    place = room(path)
    assert place in FLOOR or place in ANYWHERE or place == "loopback", f"{place} is on no floor"
    found = [
        f"{path.name}:{line} imports {module}: {why}"
        for module, line, _ in imports(path)
        if module.partition(".")[0] == "dgnb" and (why := offence(place, module))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    place = room(path)
    found = []
    for module, line, eager in imports(path):
        package = module.partition(".")[0]
        if package in HEAVY and place not in HEAVY[package]:
            found.append(f"{path.name}:{line} imports {package}, which belongs to {', '.join(sorted(HEAVY[package]))}")
        elif package in HEAVY and eager and place not in EAGER.get(package, ()):
            found.append(f"{path.name}:{line} imports {package} at once, not on first use")
    assert not found, "\n".join(found)


def test_an_offence_names_the_reason() -> None:
    assert offence("captions", "dgnb.messages") is None
    assert offence("captions", "dgnb.transcript") == "transcript is not below captions"
    assert offence("frames", "dgnb.captions") == "captions is not below frames"
    assert offence("connection", "dgnb") == "dgnb itself is above every room: import the module that defines the name"
    assert offence("audio", "dgnb.nonsense") == "nonsense is on no floor"
    assert offence("loopback", "dgnb.connection") == "loopback must not know the client"
    assert offence("session", "dgnb.loopback") == "loopback is on no floor"


def test_imports_inside_functions_are_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def later():\n    import dgnb\n    from dgnb import session\n")
    assert list(imports(module)) == [("dgnb", 2, False), ("dgnb.session", 3, False)]
