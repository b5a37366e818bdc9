"""A Dockerfile as its instructions, and the build's context as `.dockerignore` leaves it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docker.utils.build import exclude_paths

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its lines joined: `RUN`, and what is run."""

    name: str
    value: str


def instructions(text: str) -> list[Instruction]:
    """Every instruction of a Dockerfile, in order, without comments. Here-documents are not understood."""
    assert "<<" not in text, "this reader knows no here-documents"
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name.upper(), " ".join(value.split())) for name, value in found]


def stages(text: str) -> list[list[Instruction]]:
    """The instructions of each stage; every stage begins with its FROM."""
    parted: list[list[Instruction]] = []
    for each in instructions(text):
        if each.name == "FROM":
            parted.append([])
        parted[-1].append(each)
    return parted


def context(root: Path) -> set[str]:
    """The files that a build of `root` is given, as paths relative to it."""
    patterns = (root / ".dockerignore").read_text().splitlines()
    given = exclude_paths(str(root), [line for line in patterns if line and not line.startswith("#")])
    return {str(path) for path in given if (root / path).is_file()}
