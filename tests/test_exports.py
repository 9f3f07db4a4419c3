"""Every name in an `__all__` exists, and the public names are exactly those of `dgnb.__all__`."""

from __future__ import annotations

import importlib
import pkgutil
import types

import pytest

import dgnb

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(dgnb.__path__, "dgnb.") if not module.name.endswith("__main__")
)
PUBLIC = [name for name in MODULES if hasattr(importlib.import_module(name), "__all__")]
"""The modules whose names users see. In the others, the linter checks the docstrings."""


@pytest.mark.parametrize("name", MODULES)
def test_each_module_has_a_docstring(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", PUBLIC)
def test_each_module_has_the_names_in_its_all(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert hasattr(module, public), f"{name}.__all__ names {public!r}, which does not exist"


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_class_and_function_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        thing = getattr(module, public)
        if isinstance(thing, type | types.FunctionType):
            assert thing.__doc__, f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", dgnb.__all__)
def test_each_public_name_exists_and_is_public_in_its_module(name: str) -> None:
    thing = getattr(dgnb, name)
    if not isinstance(thing, types.ModuleType):
        assert name in importlib.import_module(thing.__module__).__all__


def test_dir_shows_the_public_names_and_the_version() -> None:
    assert dir(dgnb) == sorted([*dgnb.__all__, "__version__"])


@pytest.mark.parametrize("name", ["exports", "loopback", "plots", "tables"])
def test_dir_of_a_public_module_shows_its_public_names_only(name: str) -> None:
    module = getattr(dgnb, name)
    assert dir(module) == sorted(module.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dgnb' has no attribute 'nonsense'"):
        _ = dgnb.nonsense
    assert not hasattr(dgnb, "pandas")


def test_every_exception_is_a_public_name_of_dgnb() -> None:
    from dgnb import exceptions

    assert set(exceptions.__all__) <= set(dgnb.__all__)
