"""Tables of the pages that are made from the code: ``python docs/tables.py`` writes them anew.

A table stands between ``<!-- keys NAME -->`` and ``<!-- end -->``; a test holds it current.
"""

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from picket_gpu.config.s1 import Copick, S1Config, TomogramInput
from picket_gpu.files.masks import Mask
from picket_gpu.method.features import FFTs, Gabor
from picket_gpu.particles.settings import ParticleSettings

PAGES = Path(__file__).parent
MODELS = {
    model.__name__: model
    for model in (S1Config, TomogramInput, Mask, Copick, FFTs, Gabor, ParticleSettings)
}


def filled(page: str) -> str:
    """A page with its tables as they should be."""
    return re.sub(
        r"(<!-- keys (\w+) -->\n).*?(<!-- end -->)",
        lambda match: f"{match[1]}\n{keys(match[2])}\n\n{match[3]}",
        page,
        flags=re.DOTALL,
    )


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


if __name__ == "__main__":
    for path in PAGES.glob("*.md"):
        page = path.read_text(encoding="utf-8")
        path.write_text(filled(page), encoding="utf-8")
