"""Claims about the documents at the root: they are short, match results/, and have no broken links."""

import re
import sys

import pytest
from documents import DOCUMENTS, REPOSITORY, name

sys.path.insert(0, str(REPOSITORY / "docs"))
import readme

TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)")


def test_the_readme_is_at_most_6_kb():
    assert len(TEXT.encode()) <= 6 * 1024


def test_the_readme_answers_before_its_table():
    assert (
        TEXT.index("## Answer") < TEXT.index("adaptation gains little or nothing") < TEXT.index("\n| Method")
    )


def test_the_tables_of_the_readme_are_those_of_the_results():
    rows = [line for line in TEXT.splitlines() if line.startswith("|")]
    included = "".join(match[0] for match in readme.INCLUDED.finditer(TEXT))
    assert len(rows) > 5 and all(row in included for row in rows)
    assert readme.refreshed(TEXT) == TEXT, "python docs/readme.py brings README.md up to date"


def test_an_included_table_is_the_block_of_its_title(tmp_path, monkeypatch):
    (tmp_path / "t.md").write_text(
        "**a**\n\n| A |\n|---|\n| 1 |\n\n**b**\n\n| B |\n|---|\n| 2 |\n\nCaption.\n"
    )
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    old = "x\n<!-- t.md: b -->\n| old |\n<!-- end -->\ny\n"
    assert readme.refreshed(old) == "x\n<!-- t.md: b -->\n| B |\n|---|\n| 2 |\n<!-- end -->\ny\n"
    with pytest.raises(ValueError, match=r"t\.md: no table 'c'"):
        readme.refreshed(old.replace(": b", ": c"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_to_a_file_of_the_repository_leads_somewhere(document):
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = {target for target, _ in LINK.findall(text) if "://" not in target}
    # The reference pages are generated; `mkdocs build --strict` checks the links to them.
    missing = [t for t in targets if not (document.parent / t).exists() and "reference/" not in t]
    assert not missing


def test_the_numbers_of_the_answer_stand_in_the_results():
    costs = (REPOSITORY / "results/tables/parameter_efficiency.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")] for line in costs.splitlines() if line.startswith("| ")
    ]
    trained = [row for row in rows if len(row) == 13 and row[1] in ("full", "lora", "prefix", "adapter")]
    assert len(trained) == 8
    full = [row for row in trained if row[1] == "full"]
    for reference, others in zip(full, (trained[1:4], trained[5:8])):
        for other in others:
            assert float(reference[5]) / float(other[5]) > 100 or float(reference[6]) / float(other[6]) > 100
            assert 2.5 < float(reference[10].split()[0]) / float(other[10].split()[0]) < 4.1
