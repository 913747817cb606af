import os
from pathlib import Path

from wherry import contexts


def tree(root: Path) -> Path:
    (root / "a" / "__pycache__").mkdir(parents=True)
    (root / "a" / "one.py").write_text("1")
    (root / "a" / "__pycache__" / "one.pyc").write_text("compiled")
    (root / "b").mkdir()
    (root / "b" / "two.py").write_text("2")
    (root / "three.txt").write_text("3")
    return root


def test_files_come_sorted_and_without_what_is_made_of_them(tmp_path: Path) -> None:
    assert [name for name, _ in contexts.files(tree(tmp_path))] == ["a/one.py", "b/two.py", "three.txt"]


def test_only_the_named_entries_are_taken(tmp_path: Path) -> None:
    assert [name for name, _ in contexts.files(tree(tmp_path), "b", "three.txt")] == ["b/two.py", "three.txt"]


def test_an_archive_depends_on_contents_not_on_times(tmp_path: Path) -> None:
    first = contexts.archive(contexts.files(tree(tmp_path)))
    os.utime(tmp_path / "three.txt", (1, 1))
    assert contexts.archive(contexts.files(tmp_path)) == first
    (tmp_path / "three.txt").write_text("4")
    assert contexts.archive(contexts.files(tmp_path)) != first


def test_a_digest_knows_where_parts_end() -> None:
    assert contexts.digest("ab", "c") != contexts.digest("a", "bc")
    assert contexts.digest("ab", b"c") == contexts.digest(b"ab", "c")
