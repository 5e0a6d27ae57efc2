"""The generated reference of keys is current and complete."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from uniaudio_cli.core.schema import Schema, nested
from uniaudio_cli.training.recipe import Recipe

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def made() -> dict:
    return runpy.run_path(str(DOCS / "make_task_reference.py"))


def test_the_reference_is_current(made):
    page = (DOCS / "task-reference.md").read_text(encoding="utf-8")
    assert page == made["reference"](), "run `python docs/make_task_reference.py`"


def test_the_json_schema_file_is_current(made):
    assert made["SCHEMA"].read_text(encoding="utf-8") == made["schema_text"]()


def test_every_key_has_a_description_and_an_example(made):
    def check(model: type[Schema]) -> None:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            if (section := nested(field)) is not None:
                check(section)
            elif field.is_required() and model is not Recipe:
                assert field.examples, f"{model.__name__}.{name}"

    for model, _ in made["SECTIONS"].values():
        check(model)
