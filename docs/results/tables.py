"""Writes each ``docs/results/NAME.json`` into the README, between the markers ``results:NAME``.

python docs/results/tables.py
"""

import re
from pathlib import Path

from neurosparse import report
from neurosparse.events.storage import write_atomically

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"


def block(path: Path) -> str:
    """Verdict, table and origin of one file of results."""
    results = report.load(path)
    split = ", ".join(f"{size} {name}" for name, size in results.get("split", {}).items())
    budget = results.get("budget", {})
    origin = (
        f"`{results['command']}`: {split} images, {budget.get('epochs')} epochs, {budget.get('trials')} tuning trials"
    )
    origin += f", seeds {', '.join(map(str, results['seeds']))}; mean ± standard deviation where there are several."
    return "\n\n".join([report.headline.answer(results), report.markdown(results), origin])


def filled(readme: str) -> str:
    """The README with every table made anew; a marker without its JSON is an error."""

    def replace(match: re.Match[str]) -> str:
        return f"{match[1]}\n{block(HERE / f'{match[2]}.json')}\n{match[3]}"

    return re.sub(r"(<!-- results:(\S+) -->).*?(<!-- /results -->)", replace, readme, flags=re.DOTALL)


if __name__ == "__main__":
    write_atomically(README, filled(README.read_text(encoding="utf-8")).encode())
