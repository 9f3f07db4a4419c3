"""`allow_nested()`: apply nest-asyncio. It is the only place in dgnb that does."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.metadata
import sys
import warnings

from dgnb.exceptions import DgnbError
from dgnb.notices import host

__all__ = ["allow_nested"]


def allow_nested() -> str:
    """Patch asyncio with nest-asyncio, so that `asyncio.run()` and `run_until_complete()` work in a cell.

    Use it for code that calls them and that you can't change. For your own code use `dgnb.run()`, which needs no patch.
    The patch changes the whole process until the kernel restarts. dgnb never applies it by itself. It takes
    nest-asyncio2 where that is installed, else nest-asyncio 1.x, its archived forerunner. In a script,
    call it before the loop is made or inside the loop. Calling it again does nothing.

    Measured on ipykernel 6.29 to 7.4 and Python 3.11 to 3.14: nest-asyncio 1.6 on ipykernel 7 **loses messages** that
    arrive during a nested run, so later cells stay `[*]` for ever, and on Python 3.14 it breaks `asyncio.timeout()`.
    nest-asyncio2 before 1.7.3 fails on ipykernel 7, too. Tasks become 30 to 50 % slower in the whole process.

    Returns:
        What was applied, such as `"nest-asyncio2 1.7.4"`.

    Raises:
        DgnbError: The loop can't be patched (uvloop), or neither package is installed. Nothing was patched.

    Warns:
        RuntimeWarning: The package that was applied loses messages or breaks timeouts here.

    Example:
        ```python
        dgnb.allow_nested()
        asyncio.run(main())  # in a cell, in code that you can't change
        ```
    """
    name, version = _nest_asyncio()
    again = hasattr(asyncio, "_nest_patched")
    _patch(name)
    kernel = getattr(sys.modules.get("ipykernel"), "version_info", (0,)) if host() == "notebook" else (0,)
    if not again and name == "nest-asyncio" and (kernel >= (7,) or sys.version_info >= (3, 14)):
        warnings.warn(
            f"nest-asyncio {version} loses messages on ipykernel 7: cells and clicks that arrive during a nested run "
            "are never handled. On Python 3.14 it breaks asyncio.timeout(). Use dgnb.run(…), or "
            "pip install nest-asyncio2 and restart the kernel.",
            RuntimeWarning,
            stacklevel=2,
        )
    return f"{name} {version}"


def _nest_asyncio() -> tuple[str, str]:
    """The package to apply and its version. nest-asyncio is chosen again where it was applied already."""
    former = hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2")
    for name in ("nest-asyncio",) if former else ("nest-asyncio2", "nest-asyncio"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return name, importlib.metadata.version(name)
    raise DgnbError("Neither nest-asyncio2 nor nest-asyncio is installed: pip install nest-asyncio2.")


def _patch(name: str) -> None:
    with contextlib.ExitStack() as stack:
        try:
            loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        except RuntimeError:
            # The packages patch the loop's class: a loop that is made later is patched too, and this one can be closed.
            loop = stack.enter_context(contextlib.closing(asyncio.new_event_loop()))
        # Check first: on another kind of loop the packages fail half-way.
        if not isinstance(loop, asyncio.BaseEventLoop):
            kind = f"{type(loop).__module__}.{type(loop).__name__}"
            raise DgnbError(
                f"The loop here is a {kind}, which can't be patched. Use dgnb.run(…), which needs no patch, or run on "
                "asyncio's own loop."
            )
        importlib.import_module(name.replace("-", "_")).apply(loop)
