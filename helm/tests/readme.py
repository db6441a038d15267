"""Makes the table of values in the chart's README out of the comments of values.yaml.

python3 helm/tests/readme.py     rewrites it; needs nothing but PyYAML, so `.ci/chart`'s own Python will do
"""

import json
import re
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parent.parent
BEGIN = "<!-- values: made of values.yaml by tests/readme.py -->"
END = "<!-- end of values -->"

# A default longer than this is not shown: the file says it better.
DEFAULT_CHARS_MAX = 60

KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9_-]*):")


def comments(text):
    """Path of a key to the comment above it, for every key outside of lists; without a comment it is empty."""
    found, path, above = {}, [], []
    in_list = None
    for line in text.splitlines():
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if stripped.startswith("#"):
            above.append(stripped.lstrip("# "))
            continue
        if not stripped:
            above = []
            continue
        if in_list is not None and indent > in_list:
            continue
        in_list = None
        if stripped.startswith("- "):
            in_list = indent - 1
            continue
        key = KEY.match(line)
        assert key, f"neither key nor comment: {line!r}"
        path = [*path[: len(key[1]) // 2], key[2]]
        found[tuple(path)] = " ".join(above)
        above = []
    return found


def default_of(values, path):
    for key in path:
        values = values[key]
    shown = json.dumps(values, ensure_ascii=False)
    return f"`{shown}`" if len(shown) <= DEFAULT_CHARS_MAX else "see `values.yaml`"


def table(text):
    values = yaml.safe_load(text)
    rows = ["| value | default | what and why |", "|---|---|---|"]
    for path, comment in comments(text).items():
        if comment:
            rows.append(f"| `{'.'.join(path)}` | {default_of(values, path)} | {comment.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def made(readme, text):
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{table(text)}\n\n{END}{after}"


def undocumented(text):
    """Keys with a plain value of which nothing is said, neither above them nor above the map they belong to."""
    found = comments(text)
    values = yaml.safe_load(text)
    missing = []
    for path in found:
        value = values
        for key in path:
            value = value[key]
        above = [path[:depth] for depth in range(2, len(path))]
        if not isinstance(value, dict) and not any(found[one] for one in [path, *above]):
            missing.append(".".join(path))
    return missing


if __name__ == "__main__":
    file = CHART / "README.md"
    file.write_text(made(file.read_text(), (CHART / "values.yaml").read_text()))
