"""A JupyterLab and Notebook 7 server with three kernels, and Chromium to look at it with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.support.front_ends import PATIENCE, Desk, Jupyter, Notebook, Place

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
KERNELS = Path(sys.prefix) / "kernels"
"""Where `make test` puts the older ipykernels, each in a folder of its own beside what the environment has."""


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    home = tmp_path_factory.mktemp("jupyter")
    folder = home / "notebooks"
    folder.mkdir()
    for older in KERNELS.iterdir():
        spec = home / "data" / "kernels" / older.name
        spec.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        path = os.pathsep.join([str(older), *filter(None, [os.environ.get("PYTHONPATH")])])
        described = {"argv": argv, "display_name": older.name, "language": "python", "env": {"PYTHONPATH": path}}
        (spec / "kernel.json").write_text(json.dumps(described))
    (home / "config" / "labconfig").mkdir(parents=True)
    # It asks about news, in a corner where it may cover what a test wants to click.
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (home / "config" / "labconfig" / "page_config.json").write_text(json.dumps(quiet))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    token = uuid.uuid4().hex
    arguments = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "ServerApp.root_dir": folder,
        "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": True,
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
        "JupyterNotebookApp.expose_app_in_browser": True,
    }
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "DEEPGRAM", "DGNB"))},
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in arguments.items())],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_it_answers(f"{url}/api/status?token={token}", server, home / "log")
        yield Jupyter(url, token, folder)
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(url, timeout=PATIENCE).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def desk(browser: Browser, jupyter: Jupyter) -> AsyncIterator[Desk]:
    desk = Desk(browser, jupyter)
    yield desk
    for place in list(desk.opened):
        await desk.close(place)


SETUP = """
import asyncio, dgnb
from dgnb.loopback import Script
from tests.support.faulty import FaultyServer
server = await FaultyServer(
    Script("one two three four five six", repeat=True, words_per_second=6, start=0.1, gap=0.4)
).__aenter__()
silence = dgnb.BufferSource(bytes(32_000 * 300), encoding="linear16", sample_rate=16_000)
"""
CLEANUP = """
import contextlib
for session in dgnb.sessions():
    with contextlib.suppress(dgnb.DgnbError):
        await session.stop()
await server.__aexit__(None, None, None)
import ipywidgets
ipywidgets.Widget.close_all()
"""


@pytest_asyncio.fixture(loop_scope="session")
async def notebook(place: Place, desk: Desk, request: pytest.FixtureRequest) -> AsyncIterator[Notebook]:
    """An open notebook without cells, whose kernel has a `server` to listen to `silence`, in which it hears words."""
    failed = request.session.testsfailed
    notebook = await desk.take(place, SETUP)
    try:
        yield notebook
    finally:
        if request.session.testsfailed > failed:
            await desk.close(place)  # the next test gets a kernel and a page that nobody broke
        else:
            await notebook.ask("None", CLEANUP)
            told, notebook.errors = notebook.errors, []
            assert told == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()
