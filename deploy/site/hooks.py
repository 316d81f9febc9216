"""What MkDocs calls when it builds the site: generated pages, and links that leave the site."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path

from deploy.site import commands, error_list, manifests, python_names  # noqa: E402

with contextlib.suppress(
    ImportError
):  # by which Material's search parts Chinese, with a log of its own
    import jieba

    jieba.setLogLevel(logging.WARNING)

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s:]+)(#[^)]*)?\)")


def generated_pages() -> dict[str, str]:
    """Return the pages that are made of the code: their Markdown by their place below docs."""
    return {
        **{f"reference/commands/{name}.md": commands.page(name) for name in commands.names()},
        "reference/python.md": python_names.page(),
        "reference/errors.md": error_list.page(),
        "reference/manifest.md": manifests.page(),
    }


def outside_as_code(markdown: str, page: str) -> str:
    """Name files outside of docs as code: they are on GitHub, and not on the site.

    Args:
        markdown: of a page.
        page: its place below docs.
    """

    def named(link: re.Match[str]) -> str:
        path = (ROOT / "docs" / PurePosixPath(page).parent / link[2]).resolve()
        if path.is_relative_to(ROOT / "docs") or not path.is_relative_to(ROOT):
            return link[0]
        if not path.exists():
            return link[0]  # a broken link stays one, and ends the build
        name = f"`{path.relative_to(ROOT)}`"
        return name if link[1].strip("`") == name.strip("`") else f"{link[1]} ({name})"

    return _LINK.sub(named, markdown)


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    for place, content in generated_pages().items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Mend the links of a page."""
    return outside_as_code(markdown, page.file.src_uri)
