"""Signatures for readers: values instead of the names of constants, and the fields of a message."""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe


class Signatures(griffe.Extension):
    """Fills in what griffe can't know, because it reads the source without running it."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Visit every member of the package."""
        self._visit(pkg)

    def _visit(self, parent: griffe.Module | griffe.Class) -> None:
        for member in list(parent.members.values()):
            if isinstance(member, griffe.Class) and _is_struct(member):
                member.set_member("__init__", _constructor(member))
            elif isinstance(member, griffe.Function):
                for parameter in member.parameters:
                    parameter.default = _value(parameter.default, member)
            if isinstance(member, griffe.Module | griffe.Class):
                self._visit(member)


def _value(default: Any, function: griffe.Function) -> Any:
    """The value of a constant; anything else unchanged."""
    name = str(default)
    if default is not None and re.fullmatch(r"_?[A-Z][A-Z_]*", name):
        try:
            value = str(function.module[name].value)
            ast.literal_eval(value)
        except (KeyError, ValueError, SyntaxError, griffe.GriffeError):
            return default
        return value
    return default


def _is_struct(kind: griffe.Class) -> bool:
    return any(str(base).endswith("Struct") for base in kind.bases) or any(map(_is_struct, kind.resolved_bases))


def _constructor(struct: griffe.Class) -> griffe.Function:
    usual = griffe.ParameterKind.positional_or_keyword
    fields = [
        griffe.Parameter(name, annotation=field.annotation, kind=usual, default=_default(field.value))
        for name, field in struct.members.items()
        if isinstance(field, griffe.Attribute) and "instance-attribute" in field.labels
    ]
    parameters = griffe.Parameters(griffe.Parameter("self", kind=usual), *fields)
    return griffe.Function("__init__", parameters=parameters, parent=struct)


def _default(value: Any) -> Any:
    made = re.search(r"default_factory=(?:lambda: (.+)|(\w+))\)$", str(value))
    return (made[1] or f"{made[2]}()") if made else value
