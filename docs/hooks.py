"""What the site takes from the rest of the repository.

Pages link to files beside docs/, such as ../configs/demo.yaml, as readers of the repository need.
The site carries those files below its own root, and its links lead there. Its home is the README.
"""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
CARRIED = (
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "benchmarks/*.md",
    "benchmarks/**/*.py",
    "benchmarks/*.sbatch",
    "configs/*.yaml",
    "configs/*.json",
    "configs/slurm/*.sbatch",
)


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link to."""
    for pattern in CARRIED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    files.append(File.generated(config, "index.md", abs_src_path=str(ROOT / "README.md")))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Lead links to files beside docs/ into the site."""
    if page.file.src_uri == "index.md":  # the README, one directory up
        return markdown.replace("](docs/", "](")
    if page.file.generated_by is None:  # a page in docs/
        up = "../" * page.file.src_uri.count("/")
        markdown = markdown.replace(f"](../{up}", f"]({up}")
    return markdown
