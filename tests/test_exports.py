"""What is offered exists, what is public is offered, and nothing else is."""

from __future__ import annotations

import importlib
import pkgutil
import types

import pytest

import dgnb

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(dgnb.__path__, "dgnb.") if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_says_what_it_offers_and_has_it(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert hasattr(module, public), f"{name}.__all__ names {public!r}, which is not there"


@pytest.mark.parametrize("name", MODULES)
def test_each_class_and_function_on_offer_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    for public in module.__all__:
        thing = getattr(module, public)
        if isinstance(thing, type | types.FunctionType):
            assert thing.__doc__, f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", dgnb.__all__)
def test_each_public_name_is_there(name: str) -> None:
    thing = getattr(dgnb, name)
    if not isinstance(thing, types.ModuleType):
        assert name in importlib.import_module(thing.__module__).__all__


def test_tab_offers_the_public_names_and_the_version() -> None:
    assert dir(dgnb) == sorted([*dgnb.__all__, "__version__"])


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dgnb' has no attribute 'nonsense'"):
        _ = dgnb.nonsense
    assert not hasattr(dgnb, "pandas")


def test_every_error_is_at_the_top() -> None:
    from dgnb import exceptions

    assert set(exceptions.__all__) <= set(dgnb.__all__)
