#!/usr/bin/env python3
"""A folder of src includes only from itself and from folders above it in the table of docs/architecture.md."""

import pathlib
import re
import sys


def main():
    root = pathlib.Path(sys.argv[1])
    table = (root / "docs/architecture.md").read_text()
    order = re.findall(r"^\| `src/([a-z0-9_]+)` \|", table, re.MULTILINE)
    folders = sorted(p.name for p in (root / "src").iterdir() if p.is_dir())
    problems = [f"src/{name} is not in the table of docs/architecture.md" for name in folders if name not in order]
    for path in sorted((root / "src").glob("*/**/*.[ch]")):
        inside = path.relative_to(root / "src").parts[0]
        for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
            if not (root / "src" / included).exists():
                problems.append(f"{path.relative_to(root)}: \"{included}\" is no path below src")
            elif inside in order and order.index(included.split("/")[0]) > order.index(inside):
                problems.append(f"{path.relative_to(root)} includes {included}, which is below it in the table")
    for problem in problems:
        print(f"# {problem}")
    print(f"{'not ok' if problems else 'ok'} 1 - layers")
    print("1..1")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
