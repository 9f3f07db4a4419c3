"""Pages that are made from other files (README, changelog, notebooks, options), and cross references.

`make docs EXECUTE=1` executes the notebooks, which takes minutes, and keeps the outputs in `build/executed`. A notebook
is shown with its outputs as long as neither it nor dgnb has changed since, else without.
"""

from __future__ import annotations

import dataclasses
import hashlib
import html
import inspect
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import log
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter
from traitlets.config import Config

import dgnb

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTED = ROOT / "build" / "executed"

PAGES = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
"""Page of the site -> the file of the repository that it shows."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the notebooks into the navigation."""
    for entry in config.nav or []:
        if "Notebooks" in entry:
            entry["Notebooks"] = [f"notebooks/{path.stem}.md" for path in NOTEBOOKS]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose files are elsewhere in the repository."""
    for page, origin in PAGES.items():
        files.append(File.generated(config, page, content=_relinked((ROOT / origin).read_text(encoding="utf-8"))))
    for path in NOTEBOOKS:
        text, pictures = _notebook(path)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        files.append(File.generated(config, f"notebooks/{path.name}", abs_src_path=str(path)))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the tables of options into their page."""
    if page.file.src_uri == "reference/options.md":
        for kind in (dgnb.LiveOptions, dgnb.FluxOptions, dgnb.PrerecordedOptions):
            markdown = markdown.replace(f"<!-- {kind.__name__} -->", _options(kind))
    return markdown


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link each public name in code type to its entry in the reference."""
    parts = re.split(r"(<(a|pre|h[1-6]|autoref|nav)\b.*?</\2>)", content, flags=re.DOTALL)
    # The parts come in threes: text, an element that stays as it is, and the name of that element.
    return "".join(_NAME.sub(_link, part) if i % 3 == 0 else part for i, part in enumerate(parts) if i % 3 < 2)


def _public() -> dict[str, str]:
    """A name as texts write it -> the anchor of its entry. Lower-case names count with brackets only, as in `run()`."""
    names = {}
    for name in dgnb.__all__:
        anchor = f"dgnb.{name}"
        thing = getattr(dgnb, name)
        names[anchor] = names[f"{anchor}()"] = names[f"{name}()"] = anchor
        if name[0].isupper():
            names[name] = anchor
        members = thing.__all__ if inspect.ismodule(thing) else vars(thing) if inspect.isclass(thing) else ()
        for member in members:
            if not member.startswith("_"):
                for spelling in (f"{name}.{member}", f"{anchor}.{member}"):
                    names[spelling] = names[f"{spelling}()"] = f"{anchor}.{member}"
    return names


_PUBLIC = _public()
_NAME = re.compile(r"<code>([A-Za-z_.]+(?:\(\))?)</code>")


def _link(match: re.Match[str]) -> str:
    anchor = _PUBLIC.get(match[1])
    return f'<autoref optional identifier="{anchor}">{match[0]}</autoref>' if anchor else match[0]


def _relinked(markdown: str, up: str = "") -> str:
    """The text, with links to files of the repository turned into links to their pages."""
    for page, origin in PAGES.items():
        markdown = re.sub(rf"\]\({re.escape(up + origin)}(#[^)]*)?\)", rf"]({up}{page}\1)", markdown)
    markdown = markdown.replace("](docs/pages/", f"]({up}")
    return re.sub(r"(\]\([\w/.]+)\.ipynb\)", r"\1.md)", markdown)


def _notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by name."""
    executed = _executed(path)
    if os.environ.get("EXECUTE") and not executed.exists():
        _execute(path, executed)
    notebook = nbformat.read(executed if executed.exists() else path, as_version=4)
    exporter = MarkdownExporter(
        template_file=str(HERE / "notebook.md.j2"),
        config=Config({"NbConvertBase": {"display_data_priority": _SHOWN}}),
    )
    text, resources = exporter.from_notebook_node(notebook, {"output_files_dir": path.stem})
    title, _, rest = text.lstrip().partition("\n")
    download = f'<a href="{path.name}" download>Download this notebook</a>'
    return _relinked(f"{title}\n\n{download}\n{rest}", up="../"), resources["outputs"]


_SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
"""The formats of an output, best first. An ipywidget works in a notebook only; here its text is shown."""


def _executed(path: Path) -> Path:
    """Where the outputs of this version of the notebook with this version of dgnb are kept."""
    digest = hashlib.sha256(path.read_bytes())
    for module in sorted((ROOT / "dgnb").rglob("*.py")):
        digest.update(module.read_bytes())
    return EXECUTED / f"{path.stem}-{digest.hexdigest()[:16]}.ipynb"


def _execute(path: Path, executed: Path) -> None:
    log.info(f"Executing {path.name} …")
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            store_widget_state=False,
            extra_arguments=["--IPKernelApp.log_level=40"],
        )
        try:
            client.execute()
        except CellExecutionError as error:
            raise PluginError(f"{path.name} failed: {error.ename}: {error.evalue}") from None
    EXECUTED.mkdir(parents=True, exist_ok=True)
    for old in EXECUTED.glob(f"{path.stem}-*.ipynb"):
        old.unlink()
    nbformat.write(notebook, executed)


def _options(kind: type[Any]) -> str:
    """One table of options for each group, made from the fields of a class."""
    prefix = "option" if kind is dgnb.LiveOptions else kind.__name__
    groups: dict[str, list[str]] = {}
    for field in dataclasses.fields(kind):
        rows = groups.setdefault(field.metadata["group"], [])
        default = {} if field.default is dataclasses.MISSING else field.default
        kind = html.escape(str(field.type)).replace("|", "&#124;")
        cells = (
            f'<span id="{prefix}-{field.name}">`{field.name}`</span>',
            f"<code>{kind}</code>",
            f"`{default!r}`",
            field.metadata["help"] + _limits(field.metadata),
        )
        rows.append(f"| {' | '.join(cells)} |")
    head = "| option | type | default | |\n| --- | --- | --- | --- |\n"
    return "\n\n".join(f"### {group.capitalize()}\n\n{head}" + "\n".join(rows) for group, rows in groups.items())


def _limits(metadata: Any) -> str:
    least, most, length = metadata.get("minimum"), metadata.get("maximum"), metadata.get("max_length")
    said = []
    if choices := metadata.get("choices"):
        said.append("One of " + ", ".join(f"`{choice}`" for choice in choices) + ".")
    if least is not None:
        said.append(f"At least {least}." if most is None else f"{least} to {most}.")
    elif most is not None:
        said.append(f"Up to {most} of them.")
    if length is not None:
        said.append(f"Up to {length} characters each.")
    return " " + " ".join(said) if said else ""
