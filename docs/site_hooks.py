"""What MkDocs calls while it builds the site: it puts in the README's beginning and pictures, and runs notebooks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import pictures  # noqa: E402

# MkDocs calls a hook more than once when it serves a site that is being edited: a notebook runs again if it has changed
_converted: dict[str, tuple[str, dict[str, bytes]]] = {}


def readme_beginning() -> str:
    """Return the README up to 'What it can do', with links that hold in this folder."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    beginning = text.partition("\n## What it can do")[0]
    beginning = re.sub(r'(\]\(|(?:src|srcset|href)=")docs/', r"\1", beginning)
    return re.sub(r"(?<!!)\[([^\[\]]+)\]\(((?!https?:|#)[^)]*)\)", _link_within_site, beginning)


def _link_within_site(link: re.Match) -> str:
    """Return a link as it is, or as text if it leads to a file that is not part of the site."""
    return link[0] if (DOCS / link[2].partition("#")[0]).is_file() else link[1]


def run_notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """Run a notebook in its folder; return it as Markdown, and the pictures that it drew, by file name."""
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    kernel = NotebookClient(notebook, timeout=300, coalesce_streams=True, resources=where)
    try:
        kernel.execute()
    except CellExecutionError as error:
        raise PluginError(f"{path.name} fails: {error}") from None
    exporter = MarkdownExporter()
    body, resources = exporter.from_notebook_node(notebook, {"output_files_dir": path.stem})
    return body, resources["outputs"]


def on_files(files, config):
    """Add a page, and its pictures, for every notebook."""
    for path in sorted((DOCS / "notebooks").glob("*.ipynb")):
        if not config.extra["run_notebooks"]:
            files.append(File.generated(config, f"notebooks/{path.stem}.md", content=f"# {path.stem}"))
            continue
        source = path.read_text(encoding="utf-8")
        if source not in _converted:
            _converted[source] = run_notebook(path)
        body, outputs = _converted[source]
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=body))
        for name, content in outputs.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Put the README's beginning and the pictures where pages ask for them."""
    markdown = markdown.replace("<!-- README -->", readme_beginning())
    return re.sub(r"<!-- picture: (\w+) -->", lambda match: pictures.PICTURES[match[1]](), markdown)
