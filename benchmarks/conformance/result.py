"""Results of the conformance scripts: docs/results/NAME.json with the command that makes it again."""

import json
from pathlib import Path
from typing import Any

from neurosparse.atomic import write_atomically

FOLDER = Path(__file__).parents[2] / "docs" / "results"


def keep(name: str, facts: dict[str, Any], command: str | None = None) -> None:
    """Write a result. It is not stale: ``"stale"`` is set by hand, when a later change of the code alters its numbers.

    Args:
        name: of the file, and of the make target unless ``command`` is another one.
    """
    content = {"command": command or f"make {name}", "stale": None, **facts}
    write_atomically(FOLDER / f"{name}.json", f"{json.dumps(content, indent=1)}\n".encode())
