"""Bodies of the API, as its OpenAPI description has them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class SetInfo(BaseModel):
    """A demonstration set. `labels`: clips of each label or text."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "0123456789abcdef", "kind": "label", "task": "sound-event", "labels": {"rain": 3, "siren": 3}}
            ]
        }
    )
    id: str
    kind: str
    task: str
    labels: dict[str, int]


class Label(BaseModel):
    """The label of one clip, or the `error` that it gave. `scores`: probabilities, likeliest first."""

    file: str
    label: str | None = None
    scores: dict[str, float] | None = None
    margin: float | None = None
    error: str | None = None


class Labels(BaseModel):
    """One result a file, in order."""

    results: list[Label]


class Speech(BaseModel):
    """A question or a text, and the set that has the voice and the words."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"text": "2 + 3"}]})
    text: Annotated[str, Field(min_length=1)]
    set: str = "example-digits"


class Codes(BaseModel):
    """A clip in codes, a list per level of the codec, the coarsest first."""

    model_config = ConfigDict(extra="forbid")
    codec: str = ""
    samples: StrictInt
    gain: float | None
    codes: Annotated[list[list[StrictInt]], Field(min_length=1, max_length=8)]


class TaskInfo(BaseModel):
    """A shipped task."""

    name: str
    kind: str
    description: str


class ModelInfo(BaseModel):
    """A preset, and whether its files are on this server."""

    name: str
    kind: str
    about: str
    licence: str
    here: bool


class Health(BaseModel):
    """`waiting`: requests in the queue."""

    status: str = "ok"
    waiting: int


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemDetails, "content": {"application/problem+json": {}}}
    for status in (401, 403, 404, 408, 413, 422, 429, 503, 504)
}
