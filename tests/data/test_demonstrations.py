import json
import os
from collections import Counter
from pathlib import Path

import pytest

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.demonstrations import Demonstration, choose, load_demonstrations


def touch(folder: Path, *names: str) -> Path:
    """Empty files: demonstrations are listed, never opened."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def relative(folder: Path, found: list[Demonstration]) -> list[tuple]:
    targets = [each.target.relative_to(folder).as_posix() if each.target else None for each in found]
    return [
        (each.audio.relative_to(folder).as_posix(), each.label, each.text, target)
        for each, target in zip(found, targets, strict=True)
    ]


def test_label_folders(tmp_path):
    touch(tmp_path, "mouse click/b.wav", "mouse click/deep/a.flac", "dog/2.wav", "dog/1.wav", "dog/notes.md")
    touch(tmp_path, "README.md", ".git/x.wav", ".hidden.wav")
    assert relative(tmp_path, load_demonstrations(tmp_path, "label")) == [
        ("dog/1.wav", "dog", None, None),
        ("dog/2.wav", "dog", None, None),
        ("mouse click/b.wav", "mouse click", None, None),
        ("mouse click/deep/a.flac", "mouse click", None, None),
    ]


def test_the_folder_name_is_the_text(tmp_path):
    touch(tmp_path, "1/a.wav")
    assert relative(tmp_path, load_demonstrations(tmp_path, "text")) == [("1/a.wav", "1", "1", None)]


def test_any_white_space_in_a_label_is_one_space(tmp_path):
    touch(tmp_path, "two\n lines/a.wav", 'it\'s "quoted"/b.wav')
    assert [each.label for each in load_demonstrations(tmp_path, "label")] == ['it\'s "quoted"', "two lines"]


def test_pairs(tmp_path):
    touch(tmp_path, "noisy/b/1.wav", "noisy/a.v2.wav", "clean/a.v2.flac", "clean/b/1.wav", "clean/notes.txt")
    assert relative(tmp_path, load_demonstrations(tmp_path, "pair")) == [
        ("noisy/a.v2.wav", None, None, "clean/a.v2.flac"),
        ("noisy/b/1.wav", None, None, "clean/b/1.wav"),
    ]


ROWS = {
    "label": (
        [{"file_name": "dog/a.wav", "label": "wolf", "speaker": 3}, {"file_name": "it's, b.wav", "label": 7}],
        [("it's, b.wav", "7", None, None), ("dog/a.wav", "wolf", None, None)],
    ),
    "text": (
        [{"file_name": "dog/a.wav", "text": " two\tplus 2"}, {"file_name": "it's, b.wav", "text": "1+1"}],
        [("it's, b.wav", None, "1+1", None), ("dog/a.wav", None, "two plus 2", None)],
    ),
    "text, labelled": (
        [
            {"file_name": "dog/a.wav", "label": "b", "text": "c"},
            {"file_name": "it's, b.wav", "label": "b", "text": "a"},
        ],
        [("it's, b.wav", "b", "a", None), ("dog/a.wav", "b", "c", None)],
    ),
    "text from labels": (
        [{"file_name": "dog/a.wav", "label": "4"}, {"file_name": "it's, b.wav", "label": "5"}],
        [("dog/a.wav", "4", "4", None), ("it's, b.wav", "5", "5", None)],
    ),
    "pair": (
        [{"file_name": "it's, b.wav", "target": "dog/a.wav"}, {"file_name": "dog/a.wav", "target": "dog/a.wav"}],
        [("dog/a.wav", None, None, "dog/a.wav"), ("it's, b.wav", None, None, "dog/a.wav")],
    ),
}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_metadata_wins(tmp_path, case, kind, mark):
    rows, expected = ROWS[case]
    touch(tmp_path, "dog/a.wav", "it's, b.wav", "cat/unlisted.wav")
    if kind == "csv":
        quoted = [",".join('"{}"'.format(str(cell).replace('"', '""')) for cell in row.values()) for row in rows]
        lines = [
            ", ".join(rows[0]),
            *(line + "," * (len(rows[0]) - len(row)) for line, row in zip(quoted, rows, strict=True)),
        ]
    else:
        lines = [json.dumps(row) for row in rows] + [""]
    (tmp_path / f"metadata.{kind}").write_text(mark + "\n".join(lines), encoding="utf-8")
    wants = case.split()[0].strip(",")
    assert relative(tmp_path, load_demonstrations(tmp_path, wants)) == expected


@pytest.mark.parametrize(
    ("wants", "names", "message"),
    [
        ("label", [], "holds no clips"),
        ("label", ["README.md"], "holds no clips"),
        ("label", ["dog/a.wav"], "holds the one label 'dog'"),
        ("label", ["dog/a.wav", "cat/notes.md"], "cat: this folder holds no audio"),
        ("label", ["dog/a.wav", "cat/a.wav", "loose.wav"], r"loose\.wav: lies in no label's folder"),
        ("label", ["dog/a.wav", os.fsdecode(b"caf\xe9/a.wav")], r"'caf\\xe9' is not UTF-8"),
        ("label", ["metadata.csv", "metadata.jsonl"], "keep one of them"),
        ("pair", [], "noisy: no such folder"),
        ("pair", ["noisy/a.wav"], "clean: no such folder"),
        ("pair", ["noisy/a.wav", "clean/notes.md"], "clean: this folder holds no audio"),
        ("pair", ["noisy/a.wav", "noisy/b.wav", "clean/b.wav"], r"noisy/a\.wav: has no partner in .*clean"),
        ("pair", ["noisy/a.wav", "clean/b.wav", "clean/a.wav"], r"clean/b\.wav: has no partner in .*noisy"),
        ("pair", ["noisy/a.wav", "noisy/a.flac", "clean/a.wav"], r"noisy/a\.wav: another a\.flac lies beside it"),
    ],
)
def test_bad_folders(tmp_path, wants, names, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_demonstrations(touch(tmp_path, *names), wants)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("wants", "name", "content", "message"),
    [
        ("label", "metadata.csv", "", "holds no rows"),
        ("label", "metadata.csv", "file_name,label\n", "holds no rows"),
        ("label", "metadata.csv", "file,label\na.wav,dog", r"metadata\.csv:2: no column 'file_name' among file, label"),
        ("label", "metadata.csv", "file_name,lable\na.wav,dog", "no column 'label' among file_name, lable"),
        (
            "label",
            "metadata.csv",
            "file_name,label\na.wav,dog\nb.wav,cat",
            r"csv:3: 'file_name' is .*b\.wav: no such file",
        ),
        ("label", "metadata.csv", "file_name,label\n,dog", "'file_name' is empty"),
        ("label", "metadata.csv", "file_name,label\na.wav", "'label' is empty"),
        ("label", "metadata.csv", "file_name,label\na.wav,dog\na.wav,dog", "the one label 'dog'"),
        ("label", "metadata.csv", "file_name,label\n" + "x" * 200_000, r"metadata\.csv:2: field larger"),
        ("label", "metadata.csv", "file_name,label\n" + "x" * 5000 + ",dog", "no such file"),
        ("text", "metadata.csv", "file_name,words\na.wav,dog", "no column 'text' among"),
        ("pair", "metadata.csv", "file_name,label\na.wav,dog", "no column 'target' among"),
        ("pair", "metadata.csv", "file_name,target\na.wav,b.wav", r"'target' is .*b\.wav: no such file"),
        ("label", "metadata.jsonl", "\n \n", "holds no rows"),
        ("label", "metadata.jsonl", "\n{", r"metadata\.jsonl:2: is not JSON"),
        ("label", "metadata.jsonl", "[1]", "is not a JSON object"),
        ("label", "metadata.jsonl", '{"label": "dog"}', "no column 'file_name' among label"),
        ("label", "metadata.jsonl", '{"file_name": "a.wav", "label": null}', "'label' is empty or not text"),
        ("label", "metadata.jsonl", '{"file_name": "a.wav", "label": true}', "'label' is empty or not text"),
        ("label", "metadata.jsonl", '{"file_name": "a.wav", "label": "\\ud800"}', "is not UTF-8 text"),
        ("label", "metadata.jsonl", '{"file_name": "\\u0000\\n", "label": "dog"}', "no such file"),
    ],
)
def test_bad_metadata(tmp_path, wants, name, content, message):
    (touch(tmp_path, "a.wav") / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        load_demonstrations(tmp_path, wants)
    assert str(caught.value).isprintable()


def test_metadata_that_is_not_text_or_not_a_file(tmp_path):
    (tmp_path / "metadata.csv").write_bytes(b"file_name,label\ncaf\xe9.wav,dog")
    with pytest.raises(UsageError, match=r"metadata\.csv: is not UTF-8 text"):
        load_demonstrations(tmp_path, "label")
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "metadata.csv").mkdir()
    with pytest.raises(UsageError, match=r"metadata\.csv: cannot be read"):
        load_demonstrations(tmp_path, "label")


@pytest.mark.parametrize(
    ("name", "message"), [("a.wav", "is a file"), ("none", "no such folder"), ("x" * 999, "no such")]
)
def test_not_a_folder(tmp_path, name, message):
    with pytest.raises(UsageError, match=message):
        load_demonstrations(touch(tmp_path, "a.wav") / name, "label")


LABELLED = [
    Demonstration(Path(f"{label}/{n}.wav"), label)
    for label, size in (("a", 5), ("b", 3), ("c", 1))
    for n in range(size)
]


def test_choose_takes_shots_of_each_label_in_rounds():
    chosen = choose(LABELLED, shots=3, seed=0)
    assert Counter(each.label for each in chosen) == {"a": 3, "b": 3, "c": 1}
    assert len(set(chosen)) == len(chosen)
    assert [{each.label for each in chosen[start:end]} for start, end in ((0, 3), (3, 5), (5, 7))] == [
        {"a", "b", "c"},
        {"a", "b"},
        {"a", "b"},
    ]


def test_choose_is_seeded_and_fresh_rounds_differ():
    assert (
        choose(LABELLED, 2, seed=1)
        == choose(LABELLED, 2, seed=1)
        == choose(LABELLED[::1], 2, seed=1, labels=["b", "c", "a"])
    )
    assert len({tuple(choose(LABELLED, 2, seed)) for seed in range(20)}) > 10
    orders = {tuple(each.label for each in choose(LABELLED, 2, seed)[:3]) for seed in range(50)}
    assert len(orders) == 6


def test_choose_draws_a_label_whatever_else_is_asked():
    def drawn(shots: int, labels: list[str] | None) -> list[Demonstration]:
        return [each for each in choose(LABELLED, shots, 4, labels) if each.label == "a"]

    assert drawn(3, ["a"]) == drawn(3, None) == drawn(5, ["a", "c"])[:3]


@pytest.mark.parametrize(
    ("demonstrations", "count"),
    [
        ([Demonstration(Path(f"{n}.wav"), None, f"text {n % 2}") for n in range(6)], 4),
        ([Demonstration(Path(f"{n}.wav"), target=Path("clean.wav")) for n in range(6)], 2),
        ([], 0),
    ],
)
def test_choose_groups_texts_and_pairs(demonstrations, count):
    assert len(choose(demonstrations, shots=2, seed=0)) == count


def test_choose_refuses_an_unknown_label():
    with pytest.raises(UsageError, match=r"no demonstration of 'B' \(did you mean 'b'\?\); there are a, b, c"):
        choose(LABELLED, 1, 0, labels=["a", "B"])
