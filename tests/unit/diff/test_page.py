"""docs/diff.md lists the rules, fields and causes as the tables in the code have them.

`python tests/unit/diff/test_page.py` writes the lists anew.
"""

from pathlib import Path

import pytest

from pcaptool.diff import CAUSES, FIELDS, RULES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "diff.md"


def rules() -> str:
    rows = [f"| `{r.name}` | {r.what} | {r.why} | {', '.join(r.relations)} |" for r in RULES]
    return "\n".join(["| rule | what it makes equal | why | on in |", "| --- | --- | --- | --- |", *rows])


def fields() -> str:
    rows = [f"| {f.layer} | `{f.name}` | {', '.join(f'`{r}`' for r in f.rules)} |" for f in FIELDS]
    return "\n".join(["| layer | field | rule |", "| --- | --- | --- |", *rows])


def causes() -> str:
    rows = [f"| `{c.name}` | {c.about} |" for c in CAUSES]
    return "\n".join(["| cause | what it is |", "| --- | --- |", *rows])


LISTS = {"rules": rules, "fields": fields, "causes": causes}


@pytest.mark.parametrize("name", LISTS)
def test_the_page_holds_the_list(name):
    text = PAGE.read_text(encoding="utf-8")
    found = text.split(f"<!-- {name}: begin -->\n")[1].split(f"\n<!-- {name}: end -->")[0]
    assert found == LISTS[name](), "run: python tests/unit/diff/test_page.py"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    for key, made in LISTS.items():
        head, rest = page.split(f"<!-- {key}: begin -->\n", 1)
        tail = rest.split(f"<!-- {key}: end -->", 1)[1]
        page = f"{head}<!-- {key}: begin -->\n{made()}\n<!-- {key}: end -->{tail}"
    PAGE.write_text(page, encoding="utf-8")
