"""The wheel: everything that is shipped is in it, and works from where it lies."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    from hatchling.build import build_wheel

    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / build_wheel(str(folder))


def files_below(folder: str, *names: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for name in names for path in (ROOT / folder).rglob(name)}


def test_the_wheel_holds_everything_once(wheel):
    with zipfile.ZipFile(wheel) as box:
        names = box.namelist()
        metadata = [name for name in names if ".dist-info/" in name]
        entry_points = box.read(next(name for name in metadata if name.endswith("entry_points.txt"))).decode()
    wanted = files_below("uniaudio_cli", "*.py", "py.typed", "weights/*", "suites/**/*.yaml", "templates/*", "static/*")
    wanted |= {f"uniaudio_cli/{name}" for name in files_below("tasks", "*") | files_below("prompts", "*")}
    for name in ("sounds", "digits", "enhance"):
        wanted |= {
            each.replace("examples/audio", "uniaudio_cli/examples")
            for each in files_below(f"examples/audio/{name}", "*.flac")
        }
    assert {"uniaudio_cli/py.typed", "uniaudio_cli/tasks/emotion.yaml", "uniaudio_cli/prompts/plain.yaml"} <= wanted
    assert sorted(set(names) - set(metadata)) == sorted(wanted)
    assert len(names) == len(set(names))
    assert "uniaudio = uniaudio_cli.cli.main:main" in entry_points
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_an_unpacked_wheel_finds_its_own_files(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as box:
        box.extractall(tmp_path)
    code = """
import uniaudio_cli
from uniaudio_cli.core.paths import data_folder
from uniaudio_cli.models.registry import SHIPPED
from uniaudio_cli.prompting.task import list_tasks, load_task
from uniaudio_cli.prompting.template import load_template
for name in sorted(task.template for task in list_tasks()): load_template(name)
folders = data_folder("tasks"), data_folder("prompts"), SHIPPED
print(uniaudio_cli.__file__, *folders, load_task("emotion").name, sep="\\n")
"""
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    package = tmp_path / "uniaudio_cli"
    wanted = [package / "__init__.py", package / "tasks", package / "prompts", package / "weights"]
    assert done.stdout.splitlines() == [*map(str, wanted), "emotion"]
