"""The pages quote messages that the package has, and link to files that are there."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# Code that is no message.
OTHER = re.compile(
    r"python |-e |cp |rsync |if |run_s1\(|NOT |(scores|outside_is_padding|storage_options): |--|"
    r"device: (auto|gpu)$"
)


def texts():
    """All texts in the source, with … for what is filled in."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", None) for part in node.values)
                yield "".join(part if isinstance(part, str) else "…" for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def quoted(text):
    """Messages in a page: code of more than one word."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))
    return [span for span in spans if " " in span and not OTHER.match(span)]


def test_messages_in_troubleshooting_are_those_of_the_package():
    source = "\n".join(texts())
    messages = quoted((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(messages) > 50
    missing = [
        (message, piece)
        for message in messages
        for piece in (part.strip(" ():?") for part in re.split("…|; ", message))
        if piece and piece not in source
    ]
    assert missing == []


def test_the_tables_of_keys_are_current():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.filled(text) == text, f"{page.name}: run python docs/tables.py"
    parameters = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert all(f"<!-- keys {name} -->" in parameters for name in tables.MODELS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_a_page_links_to_exists(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("https://")]
    assert [link for link in local if not (page.parent / link).exists()] == []
