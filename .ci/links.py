"""Check that every relative link in the Markdown files leads somewhere, headings included."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^\s)>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


def main() -> int:
    """Print every link that leads nowhere; return how the process should end."""
    root = Path(__file__).resolve().parent.parent
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],  # noqa: S607
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    pages = [root / line for line in listed.stdout.splitlines() if (root / line).is_file()]
    broken = [line for page in pages for line in problems(root, page)]
    sys.stdout.writelines(line + "\n" for line in broken)
    sys.stdout.write(f"links: {len(pages)} pages, {len(broken)} broken\n")
    return 1 if broken else 0


def problems(root: Path, page: Path) -> list[str]:
    """Return what is wrong with the links of one page."""
    text = CODE.sub("", FENCE.sub("", page.read_text("utf-8")))
    found = []
    for match in LINK.finditer(text):
        target = unquote(match[1])
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        where = f"{page.relative_to(root)}: {match[1]}"
        if not place.exists():
            found.append(f"{where}: no such file")
        elif anchor and place.suffix == ".md" and anchor not in anchors(place):
            found.append(f"{where}: no such heading")
    return found


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get where it is shown."""
    names: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text("utf-8"))):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower())
        name = plain.replace(" ", "-")
        number = 1
        while name in names:
            name = f"{plain.replace(' ', '-')}-{number}"
            number += 1
        names.add(name)
    return names


if __name__ == "__main__":
    sys.exit(main())
