"""The pages of the documentation and their fenced blocks, so that tests can run them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r"^(?:[ ]*<!--\ not\ run:\ (?P<reason>[^\n]+?)\ -->\n\n?)?"
    r"(?P<indent>[ ]*)```(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: The word after the fence; `{name}` for a directive of the site.
        code: The lines, without the indentation of the fence.
        reason: Why the block is not run, from the comment `<!-- not run: REASON -->` before it;
            empty for a block that is run or parsed.
        line: The number of the line of the fence, for messages.
    """

    language: str
    code: str
    reason: str
    line: int


def pages() -> list[Path]:
    """Return every page of the repository; pages that only include another file are left out."""
    found = [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *ROOT.glob("examples/*.md"),
        ROOT / "models" / "README.md",
    ]
    return sorted(page for page in found if not included_file(page))


def included_file(page: Path) -> str:
    """Return the path that a page shows instead of a text of its own; empty for other pages."""
    found = re.match(r"```\{include\} (\S+)\n", page.read_text("utf-8"))
    return found.group(1) if found else ""


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order."""
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        indent = found["indent"]
        code = re.sub(f"^{indent}", "", found["code"], flags=re.MULTILINE)
        line = text.count("\n", 0, found.start("code"))
        yield Block(found["language"].strip(), code, found["reason"] or "", line)


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text)


def python_blocks(page: str) -> list[str]:
    """Return the blocks of Python of a page under docs/ that run, in order."""
    blocks = blocks_of(DOCS / page)
    return [block.code for block in blocks if block.language == "python" and not block.reason]


def lines_after(page: str, command: str) -> list[str]:
    """Return the output that a page under docs/ shows after a command.

    Args:
        page: Path of the page, such as "tutorials/timm.md".
        command: How the command begins.

    Returns:
        The lines of the block that follows the command; `...` stands for lines that are left out.
    """
    blocks = list(blocks_of(DOCS / page))
    place = next(i for i, block in enumerate(blocks) if block.code.startswith(command))
    shown = blocks[place + 1]
    assert shown.language == "text", f"{page}:{shown.line}"
    return [line for line in shown.code.splitlines() if line != "..."]


def shell_lines(block: Block) -> list[str]:
    """Return the lines of a shell block; a line that ends with a backslash goes on in the next."""
    return block.code.replace("\\\n", " ").split("\n")


def command_line(line: str) -> list[str] | None:
    """Return the words after `adcc-onnx`; None for a line that runs another program."""
    words = shlex.split(line, comments=True)
    return words[1:] if words and Path(words[0]).name == "adcc-onnx" else None


def external_links() -> dict[str, set[str]]:
    """Return every address on the web with the pages that link to it."""
    found: dict[str, set[str]] = {}
    for page in pages():
        for address in re.findall(r"(?<![\w(])\(?(https?://[^\s)>`\"']+)", page.read_text("utf-8")):
            found.setdefault(address.rstrip(".,;"), set()).add(str(page.relative_to(ROOT)))
    return found


if __name__ == "__main__":  # the list of all addresses, to be visited by hand
    for address, names in sorted(external_links().items()):
        print(address, *sorted(names))
