"""`allow_nested()`, in processes of their own, because it patches them."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from tests.test_blocking import python

NEST_1 = """
import importlib.metadata
_version = importlib.metadata.version
def version(name):
    if name == "nest-asyncio2":
        raise importlib.metadata.PackageNotFoundError(name)
    return _version(name)
importlib.metadata.version = version
"""
"""Hides the nest-asyncio2 that ipykernel installs."""

IN_A_CELL = """
import asyncio, sys, warnings, dgnb

async def answer():
    async with asyncio.timeout(5):
        await asyncio.sleep(0.01)
    return 42

async def cell():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        print(dgnb.allow_nested().rpartition(" ")[0])
        assert dgnb.allow_nested() == dgnb.allow_nested()
        print(len([w for w in caught if w.category is RuntimeWarning]))
    print(asyncio.run(answer()), asyncio.get_running_loop().run_until_complete(answer()))
"""
RUN_THE_CELL = """
with asyncio.Runner() as runner:
    runner.run(cell())
"""


def fake_nest_2(folder: Path, version: str) -> Path:
    """A nest-asyncio2 that only prints that it was applied."""
    info = folder / f"nest_asyncio2-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: nest-asyncio2\nVersion: {version}\n")
    (folder / "nest_asyncio2.py").write_text("def apply(loop): print('applied to', type(loop).__name__)\n")
    return folder


def test_importing_applies_nothing() -> None:
    code = "import asyncio, dgnb.nested, sys; print(hasattr(asyncio, '_nest_patched'), 'nest_asyncio' in sys.modules)"
    assert python(code) == "False False"


def test_asyncio_run_works_in_a_running_loop_afterwards() -> None:
    warned = str(int(sys.version_info >= (3, 14)))
    assert python(NEST_1 + IN_A_CELL + RUN_THE_CELL).split("\n") == ["nest-asyncio", warned, "42 42"]


@pytest.mark.parametrize("version", ["1.7.3", "1.7.10", "2.0"])
def test_nest_asyncio_2_is_preferred(tmp_path: Path, version: str) -> None:
    said = python("import dgnb; print(dgnb.allow_nested())", fake_nest_2(tmp_path, version))
    assert said.split("\n")[-1] == f"nest-asyncio2 {version}"
    assert "applied to" in said


def test_without_either_package_the_error_says_what_to_install() -> None:
    code = """
    import importlib.metadata
    import dgnb
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)
    importlib.metadata.version = version
    try:
        dgnb.allow_nested()
    except dgnb.DgnbError as error:
        print(error)
    """
    assert "pip install nest-asyncio2" in python(code)


def test_a_loop_that_can_not_be_patched_is_an_error_and_nothing_is_patched() -> None:
    code = """
    import asyncio, dgnb
    class Loop(asyncio.AbstractEventLoop):  # like uvloop's: not a subclass of asyncio's own
        pass
    asyncio._set_running_loop(Loop())
    try:
        dgnb.allow_nested()
    except dgnb.DgnbError as error:
        print(error, hasattr(asyncio, "_nest_patched"))
    asyncio._set_running_loop(None)
    """
    said = python(code)
    assert "__main__.Loop, which can't be patched" in said
    assert "dgnb.run(…)" in said
    assert said.endswith("False")


def test_in_a_script_it_can_be_called_before_there_is_a_loop() -> None:
    code = """
    import warnings
    dgnb.allow_nested()
    async def outer():
        return asyncio.run(answer())
    with asyncio.Runner() as runner:
        print(runner.run(outer()))
    """
    assert python(NEST_1 + IN_A_CELL + textwrap.dedent(code)) == "42"


def test_run_works_before_and_after_the_patch() -> None:
    code = """
    async def both():
        print(dgnb.run(answer()))
        await cell()
        print(dgnb.run(answer()))
    with asyncio.Runner() as runner:
        runner.run(both())
    """
    said = python(NEST_1 + IN_A_CELL + textwrap.dedent(code)).split("\n")
    assert said[0] == said[-1] == "42"


@pytest.mark.parametrize(("version", "warnings"), [((6, 31, 0), int(sys.version_info >= (3, 14))), ((7, 0, 0), 1)])
def test_it_warns_where_the_package_does_harm(version: tuple[int, ...], warnings: int) -> None:
    code = f"""
    import sys, types, dgnb
    shell = types.SimpleNamespace(kernel=object())
    sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
    sys.modules["ipykernel"] = types.SimpleNamespace(version_info={version})
    """
    said = python(NEST_1 + textwrap.dedent(code) + IN_A_CELL + RUN_THE_CELL)
    assert said.split("\n") == ["nest-asyncio", str(warnings), "42 42"]
