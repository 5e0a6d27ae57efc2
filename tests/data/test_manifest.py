import os
from pathlib import Path

import pytest

from uniaudio_cli.core.errors import UsageError
from uniaudio_cli.data.demonstrations import choose, load_demonstrations
from uniaudio_cli.data.episodes import load_items
from uniaudio_cli.data.manifest import listing, read_manifest

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def clips(folder: Path, *names: str) -> Path:
    """Files of one size that all differ."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(str(folder / name).rjust(999).encode("utf-8", "surrogateescape"))
    return folder


def labels(folder: Path) -> list[tuple[str, str]]:
    return [(row.path.name, row.label) for row in read_manifest(folder, "label")]


HEADER = "file_name,label\n"
GOOD_CSV = {
    "mark and CRLF": "\ufeff" + HEADER.replace("\n", "\r\n") + "a.wav,rain\r\nb.wav,siren\r\n",
    "spaces round names": "file_name , label\n a.wav , rain \nb.wav,siren\n",
    "blank rows and columns": "\n\nfile_name,label,,\na.wav,rain,,\n,,,\n\nb.wav,siren,,\n,,,\n",
    "quoted comma": HEADER + 'a.wav,"rain"\nb.wav,"siren"\n',
    "old Macintosh": (HEADER + "a.wav,rain\nb.wav,siren\n").replace("\n", "\r"),
}


@pytest.mark.parametrize("case", GOOD_CSV)
def test_csv_as_spreadsheets_save_it(tmp_path, case):
    clips(tmp_path, "a.wav", "b.wav")
    (tmp_path / "metadata.csv").write_bytes(GOOD_CSV[case].encode())
    assert labels(tmp_path) == [("a.wav", "rain"), ("b.wav", "siren")]


def test_labels_that_look_like_numbers_stay_text(tmp_path):
    clips(tmp_path, "a.wav", "b.wav")
    (tmp_path / "metadata.csv").write_text(HEADER + "a.wav,007\nb.wav,no\n")
    assert labels(tmp_path) == [("a.wav", "007"), ("b.wav", "no")]


BAD_CSV = {
    HEADER + "a.wav,rain, heavy\nb.wav,siren": r"csv:2: 'heavy' lies in no named column; a cell with a comma .* quotes",
    "file_name,label,\na.wav,rain,heavy": "csv:2: 'heavy' lies in no named column",
    "file_name,label,label\na.wav,rain,old": "csv:1: 2 columns are named 'label'",
    "file_name,label,Label\na.wav,rain,old": "csv:1: 2 columns are named 'label'",
    "file_name,label\na.wav,ra\0in": r"csv:2: 'ra\\x00in' holds a NUL",
    "file_name;label\na.wav;rain": "no column 'file_name' among file_name;label; columns are separated by commas",
    "file_name\tlabel\na.wav\train": "columns are separated by commas, not '.t'",
    HEADER + 'a.wav,"rain\nb.wav,siren\n': "csv:2: a quote is not closed",
    HEADER + 'a.wav,"rain\nb.wav,siren"\n': "csv:2: 'label' goes over several lines; is a quote not closed",
    HEADER + 'a.wav,"rain"x\n': r"csv:2: ',' expected after '\"'",
    "File,Label\na.wav,rain": "no column 'file_name'",
    "file_name,Label\na.wav,rain": r"no column 'label' among file_name, Label \(did you mean 'Label'\?\)",
}


@pytest.mark.parametrize("content", BAD_CSV)
def test_broken_csv_is_one_line(tmp_path, content):
    clips(tmp_path, "a.wav", "b.wav")
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(UsageError, match=BAD_CSV[content]) as caught:
        read_manifest(tmp_path, "label")
    assert str(caught.value).isprintable()


def test_other_encodings_and_doubled_keys(tmp_path):
    clips(tmp_path, "a.wav")
    (tmp_path / "metadata.csv").write_bytes((HEADER + "a.wav,rain").encode("utf-16"))
    with pytest.raises(UsageError, match=r"is UTF-16 text; save it as UTF-8"):
        read_manifest(tmp_path, "label")
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.wav", "label": "a", "label": "b"}')
    with pytest.raises(UsageError, match=r"jsonl:1: 2 values are named 'label'"):
        read_manifest(tmp_path, "label")


@pytest.mark.parametrize(
    ("one", "other"),
    [("Rain", "rain"), ("dog bark", "dogbark"), ("dog bark", "Dog  Bark"), ("stra\u00dfe", "STRASSE"), ("\u2460", "1")],
)
@pytest.mark.parametrize("kind", ["folders", "csv"])
def test_labels_alike_but_for_their_spelling_are_refused(tmp_path, one, other, kind):
    if kind == "folders":
        clips(tmp_path, f"{one}/a.wav", f"{other}/b.wav")
    else:
        clips(tmp_path, "a.wav", "b.wav")
        (tmp_path / "metadata.csv").write_text(f"{HEADER}a.wav,{one}\nb.wav,{other}\n")
    with pytest.raises(UsageError, match=r"differs from .* alone; name them alike"):
        read_manifest(tmp_path, "label")


def test_unicode_forms_of_a_label_are_one(tmp_path):
    clips(tmp_path / "csv", "a.wav", "b.wav", "c.wav")
    (tmp_path / "csv" / "metadata.csv").write_text(f"{HEADER}a.wav,{COMPOSED}\nb.wav,{DECOMPOSED}\nc.wav,tea\n")
    assert {label for _, label in labels(tmp_path / "csv")} == {COMPOSED, "tea"}
    clips(tmp_path / "folders", f"{DECOMPOSED}/a.wav", "tea/b.wav")
    found = load_demonstrations(tmp_path / "folders", "label")
    assert {each.label for each in found} == {COMPOSED, "tea"}
    assert len(choose(found, 1, 0, labels=[DECOMPOSED, "tea"])) == 2
    clips(tmp_path / "folders", f"{COMPOSED}/c.wav")
    with pytest.raises(UsageError, match=r"'cafe.u0301'.*'caf.xe9'|'caf.xe9'.*'cafe.u0301'"):
        load_demonstrations(tmp_path / "folders", "label")


def test_file_names_of_another_unicode_form_are_found(tmp_path):
    clips(tmp_path, f"{COMPOSED}.wav", "b.wav")
    (tmp_path / "metadata.csv").write_text(f"{HEADER}{DECOMPOSED}.wav,rain\nb.wav,siren\n")
    assert labels(tmp_path)[0] == (f"{COMPOSED}.wav", "rain")


@pytest.mark.parametrize("names", [["train", "test"], ["Train", "Val"], ["train"]])
def test_splits_are_no_labels(tmp_path, names):
    for split in names:
        clips(tmp_path, *(f"{split}/{label}/{n}.wav" for label in ("rain", "siren") for n in range(2)))
    for read in (load_demonstrations, lambda folder, _: load_items(folder)):
        with pytest.raises(UsageError, match=r"splits, not labels; name one of them, such as .*[tT]"):
            read(tmp_path, "label")
    found = load_demonstrations(tmp_path, "label", split=names[0])
    assert [each.label for each in found] == ["rain", "rain", "siren", "siren"]
    with pytest.raises(UsageError, match="holds no split 'x'"):
        load_demonstrations(tmp_path, "label", split="x")


def test_a_label_may_be_called_as_a_split(tmp_path):
    clips(tmp_path, "train/a.wav", "siren/b.wav")
    assert {label for _, label in labels(tmp_path)} == {"train", "siren"}


def test_splits_of_a_metadata_file(tmp_path):
    clips(tmp_path, "a.wav", "b.wav", "c.wav")
    (tmp_path / "metadata.csv").write_text("file_name,label,split\na.wav,x,train\nb.wav,y,train\nc.wav,x,test\n")
    notes: list[str] = []
    assert len(load_demonstrations(tmp_path, "label", note=notes.append)) == 3
    assert notes == [f"note: {tmp_path}/metadata.csv has rows of test, train; all are used"]
    assert [each.audio.name for each in load_demonstrations(tmp_path, "label", "train")] == ["a.wav", "b.wav"]
    with pytest.raises(UsageError, match="holds no rows of split 'dev'"):
        load_demonstrations(tmp_path, "label", "dev")


def test_a_folder_of_label_folders_is_refused(tmp_path):
    clips(tmp_path, "digits/one/a.wav", "digits/two/b.wav", "sounds/rain/c.wav")
    with pytest.raises(UsageError, match=r"its folders \(digits, sounds\) hold folders of clips, not clips; name one"):
        read_manifest(tmp_path, "label")
    clips(tmp_path, "sounds/d.wav")
    assert len(read_manifest(tmp_path, "label")) == 4


def test_a_clip_counts_once(tmp_path):
    clips(tmp_path, "rain/a.wav", "rain/b.wav", "siren/c.wav")
    for n in range(3):
        (tmp_path / "rain" / f"copy {n}.wav").write_bytes((tmp_path / "rain" / "a.wav").read_bytes())
    (tmp_path / "rain" / "link.wav").symlink_to("b.wav")
    notes: list[str] = []
    found = load_demonstrations(tmp_path, "label", note=notes.append)
    assert [each.audio.name for each in found] == ["a.wav", "b.wav", "c.wav"]
    assert [note.split(": ")[1].split(" is ")[1][:14] for note in (f"x: {n[6:]}" for n in notes)] == [
        "there 4 times,",
        "there 2 times,",
    ]
    rows = ["rain/a.wav,rain"] * 5 + ["rain/b.wav,rain", "./rain/a.wav,rain", "siren/c.wav,siren"]
    (tmp_path / "metadata.csv").write_text(HEADER + "\n".join(rows))
    assert len(load_demonstrations(tmp_path, "label")) == 3


def test_a_clip_with_two_labels_is_refused(tmp_path):
    clips(tmp_path, "rain/a.wav", "siren/b.wav")
    (tmp_path / "siren" / "a.wav").write_bytes((tmp_path / "rain" / "a.wav").read_bytes())
    with pytest.raises(UsageError, match=r"siren/a\.wav is labelled 'siren' here, and the same clip 'rain' at .*rain"):
        read_manifest(tmp_path, "label")


def test_a_clip_may_answer_several_texts(tmp_path):
    clips(tmp_path, "a.wav", "b.wav")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.wav,2 + 3\na.wav,1 + 4\nb.wav,1 + 1\nb.wav,1 + 1\n")
    assert [each.text for each in load_demonstrations(tmp_path, "text")] == ["1 + 1", "1 + 4", "2 + 3"]


def test_litter_and_links(tmp_path):
    clips(tmp_path / "demos", "rain/a.wav", "rain/._a.wav", "__MACOSX/rain/a.wav", ".git/a.wav", "rain/notes.txt")
    clips(tmp_path / "elsewhere", "b.m4a", "deep/c.wav")
    (tmp_path / "demos" / "siren").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "deep" / "loop").symlink_to(tmp_path / "demos" / "siren")
    notes: list[str] = []
    rows = read_manifest(tmp_path / "demos", "label", note=notes.append)
    assert [(row.path.name, row.label) for row in rows] == [("a.wav", "rain"), ("b.m4a", "siren"), ("c.wav", "siren")]
    assert notes == [f"note: {tmp_path}/demos: passed over 1 file: 1 .txt"]


def test_listings_for_training(tmp_path):
    clips(tmp_path, "x/a.wav", "y/b.wav")
    assert [(row.path.name, row.kind, row.group) for row in listing(tmp_path)] == [
        ("a.wav", "sound", f"{tmp_path}/x"),
        ("b.wav", "sound", f"{tmp_path}/y"),
    ]
    (tmp_path / "metadata.csv").write_text("file_name,group,text,seconds\nx/a.wav,7,hello,1.5\ny/b.wav,,,\n")
    assert [(row.group, row.split, row.text) for row in listing(tmp_path)] == [
        ("7", "train", "hello"),
        ("", "train", ""),
    ]
    (tmp_path / "metadata.csv").write_text("name\nx/a.wav\n")
    with pytest.raises(UsageError, match="csv:2: no column 'file_name' among name"):
        listing(tmp_path)


def test_names_that_are_not_utf8(tmp_path):
    clips(tmp_path, os.fsdecode(b"rain/caf\xe9.wav"), "siren/b.wav")
    assert len(read_manifest(tmp_path, "label")) == 2
