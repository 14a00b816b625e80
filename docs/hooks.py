"""What the site takes from the rest of the repository.

Pages link to files beside docs/, such as ../configs/demo.yaml, as readers of the repository need.
The site carries those files below its own root, and its links lead there. What can be had from the
repository, tables and the keys of the parameter file, is put in place of comments in the pages.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from picket_gpu.config.s1 import Copick, S1Config, TomogramInput
from picket_gpu.method.features import FFTs, Gabor

ROOT = Path(__file__).parents[1]
CARRIED = (
    "CHANGELOG.md",
    "benchmarks/*.md",
    "benchmarks/**/*.py",
    "benchmarks/*.sbatch",
    "configs/*.yaml",
    "configs/*.json",
    "configs/slurm/*.sbatch",
)
MODELS = {model.__name__: model for model in (S1Config, TomogramInput, Copick, FFTs, Gabor)}


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link to."""
    for pattern in CARRIED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Lead links to files beside docs/ into the site, and fill in what comments ask for."""
    if page.file.generated_by is None:  # a page in docs/
        up = "../" * page.file.src_uri.count("/")
        markdown = markdown.replace(f"](../{up}", f"]({up}")
    parts: dict[str, Callable[[str], str]] = {"measured": measured, "keys": keys, "readme": readme}
    return re.sub(
        r"<!-- (measured|keys|readme) ?(\w*) -->", lambda match: parts[match[1]](match[2]), markdown
    )


def measured(_: str) -> str:
    """The tables of benchmarks/README.md."""
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    return text.partition("<!-- tables")[2].partition("-->")[2].partition("<!-- end of")[0]


def readme(heading: str) -> str:
    """A section of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition(f"### {heading}\n")[2].partition("\n### ")[0]


def keys(name: str) -> str:
    """The keys of one part of the parameter file, as a table."""
    model: type[BaseModel] = MODELS[name]
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for attribute, field in model.model_fields.items():
        if attribute == "mode":
            continue
        default = "required" if field.is_required() else f"`{_yaml(field.get_default())}`"
        lines.append(f"| `{field.alias or attribute}` | {default} | {field.description} |")
    return "\n".join(lines)


def _yaml(value: Any) -> str:
    """A default, much as one would write it in the file."""
    if isinstance(value, list) and isinstance(value[0], BaseModel):
        value = [{"mode": entry.mode} for entry in value]  # type: ignore[attr-defined]
    text = json.dumps(to_jsonable_python(value))
    return "none" if text == "null" else text.replace('"', "")
