"""Notebooks in a browser, as their user sees them, and their kernels, to ask what really happened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from playwright.async_api import Browser, Locator, Page, expect

PATIENCE = 20.0
"""Seconds that anything may take to appear; nobody waits so long unless a test is about to fail."""

expect.set_options(timeout=1000 * PATIENCE)

# In the page. `evaluate` asks the kernel, past all cells: the value of an expression, as JSON.
PAGE = """
window.dgnb = {
  panel() { return window.jupyterapp.shell.currentWidget; },
  ready() {
    const kernel = window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel;
    return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
  },
  kernel() { return this.panel().sessionContext.session.kernel; },
  async ask(code, expression) {
    const future = this.kernel().requestExecute({
      code: code, silent: false, store_history: false,
      user_expressions: expression ? {value: `__import__('json').dumps(${expression}, default=bool)`} : {},
    });
    const reply = (await future.done).content;
    if (reply.status !== 'ok') throw new Error([reply.ename, reply.evalue, ...(reply.traceback ?? [])].join('\\n'));
    if (!expression) return null;
    const value = reply.user_expressions.value;
    if (value.status !== 'ok') throw new Error(`${expression}: ${value.ename}: ${value.evalue}`);
    return JSON.parse(value.data['text/plain'].slice(1, -1).replaceAll("\\\\'", "'").replaceAll('\\\\\\\\', '\\\\'));
  },
  clicked: 0,
  cells() { return this.panel().content.widgets; },
  set(sources) {
    const shared = this.panel().content.model.sharedModel;
    shared.deleteCellRange(0, shared.cells.length);
    shared.insertCells(0, sources.map(source => ({cell_type: 'code', source})));
  },
  begin(index) {
    this.panel().content.activeCellIndex = index;
    this.panel().content.deselectAll();
    window.jupyterapp.commands.execute('notebook:run-cell');
  },
  finished(index) {
    const cell = this.cells()[index].model;
    return cell.executionState === 'idle' && cell.executionCount !== null;
  },
};
document.addEventListener('click', () => { dgnb.clicked = Date.now(); }, true);
"""


@dataclass(frozen=True)
class Place:
    """A front end and a kernel."""

    app: str
    kernel: str

    def __str__(self) -> str:
        return f"{self.app}-{self.kernel}"


LAB, LAB_73, LAB_6 = Place("lab", "python3"), Place("lab", "ipykernel-7.3"), Place("lab", "ipykernel-6")
NOTEBOOK = Place("notebook", "python3")
PLACES = [LAB, LAB_73, LAB_6, NOTEBOOK]


@dataclass
class Jupyter:
    """A running server."""

    url: str
    token: str
    folder: Path

    def address(self, place: Place, name: str) -> str:
        return f"{self.url}/{'doc/tree' if place.app == 'lab' else 'notebooks'}/{name}?token={self.token}"


class Notebook:
    """An open notebook, as its user sees it; and its kernel, to ask what really happened."""

    def __init__(self, page: Page, jupyter: Jupyter, place: Place, name: str) -> None:
        self.page = page
        self.place = place
        self.path = jupyter.folder / name
        self._address = jupyter.address(place, name)
        self.errors: list[str] = []
        """What the page told its console of, and no test expected."""

    async def open(self) -> None:
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        await self.page.add_init_script(PAGE)
        await self.page.goto(self._address)
        await self.page.wait_for_function("dgnb.ready()")
        self.errors.clear()  # of the front end, before it shows anything of ours

    async def reload(self) -> None:
        await self.page.reload()
        await self.page.wait_for_function("dgnb.ready()")
        self.errors.clear()

    async def ask(self, expression: str, code: str = "") -> Any:
        """The value of an expression in the kernel, after some code of which nothing shows."""
        async with asyncio.timeout(PATIENCE):
            return await self.page.evaluate("([code, expression]) => dgnb.ask(code, expression)", [code, expression])

    async def wait_for(self, expression: str) -> None:
        """Wait until an expression is true in the kernel."""
        async with asyncio.timeout(PATIENCE):
            while not await self.ask(expression):  # noqa: ASYNC110 (the kernel can't call us)
                await asyncio.sleep(0.02)

    async def set_cells(self, *sources: str) -> None:
        await self.page.evaluate("sources => dgnb.set(sources)", list(sources))

    async def begin(self, index: int) -> None:
        await self.page.evaluate("index => dgnb.begin(index)", index)

    async def end(self, index: int) -> None:
        await self.page.wait_for_function("index => dgnb.finished(index)", arg=index)

    async def run(self, *sources: str) -> None:
        """Replace all cells by these, and run them one after another."""
        await self.set_cells(*sources)
        for index in range(len(sources)):
            await self.begin(index)
            await self.end(index)

    def find(self, css: str) -> Locator:
        return self.page.locator(css)

    def button(self, name: str) -> Locator:
        return self.page.locator(".dgnb-panel").get_by_role("button", name=name, exact=True)

    async def save(self) -> str:
        """Save the notebook, and give what stands in the file."""
        await self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        await self.page.wait_for_function("() => !dgnb.panel().context.model.dirty")
        return self.path.read_text()


@dataclass
class Desk:
    """The notebooks that lie open, one for each place: a test puts its cells into that of its place."""

    browser: Browser
    jupyter: Jupyter
    opened: dict[Place, Notebook] = field(default_factory=dict)
    count: int = 0

    async def take(self, place: Place, setup: str) -> Notebook:
        """The notebook of a place, whose kernel has run `setup`."""
        try:
            return await self._prepared(place, setup)
        except TimeoutError:
            # Jupyter chooses a kernel's ports before the kernel opens them, and other tests open ports meanwhile: such
            # a kernel never answers. The next one gets others.
            await self.close(place)
            return await self._prepared(place, setup)

    async def _prepared(self, place: Place, setup: str) -> Notebook:
        if place not in self.opened:
            self.opened[place] = await self.open(place)
        await self.opened[place].ask("None", setup)
        return self.opened[place]

    async def open(self, place: Place, copy: Path | None = None) -> Notebook:
        """A notebook with a kernel of its own: an empty one, or a copy."""
        self.count += 1
        name = f"{place}-{self.count}.ipynb"
        notebook = nbformat.read(copy, as_version=4) if copy else nbformat.v4.new_notebook()
        notebook.metadata.kernelspec = {"name": place.kernel, "display_name": place.kernel, "language": "python"}
        nbformat.write(notebook, self.jupyter.folder / name)
        context = await self.browser.new_context()
        context.set_default_timeout(1000 * PATIENCE)
        notebook = Notebook(await context.new_page(), self.jupyter, place, name)
        await notebook.open()
        return notebook

    async def close(self, place: Place) -> None:
        await self.opened.pop(place).page.context.close()
