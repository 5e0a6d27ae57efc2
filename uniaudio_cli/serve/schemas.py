"""Bodies of the API, as its OpenAPI description has them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt


def _example(**members: Any) -> ConfigDict:
    """The settings of a model that is described with this example."""
    return ConfigDict(json_schema_extra={"examples": [members]})


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    model_config = _example(
        type="about:blank", title="Unprocessable Entity", status=422, detail="c.wav: cannot be read as audio"
    )
    type: str = "about:blank"
    title: str
    status: int
    detail: str


class SetInfo(BaseModel):
    """A demonstration set. `labels`: clips of each label or text."""

    model_config = _example(id="0123456789abcdef", kind="label", task="sound-event", labels={"rain": 3, "siren": 3})
    id: str
    kind: str
    task: str
    labels: dict[str, int]


class Label(BaseModel):
    """The label of one clip, or the `error` that it gave.

    `scores`: probabilities, likeliest first. `words`: what the LLM is given of the clip, "" for nothing.
    """

    file: str
    label: str | None = None
    scores: dict[str, float] | None = None
    margin: float | None = None
    words: str | None = None
    error: str | None = None


class Labels(BaseModel):
    """One result a file, in order."""

    results: list[Label]


class Span(BaseModel):
    """From `start` to `end` seconds a label is heard. `score`: its mean probability."""

    start: float
    end: float
    label: str
    score: float


class Recording(BaseModel):
    """The segments of one recording of `seconds`, or the `error` that it gave; what lies between is background."""

    file: str
    seconds: float | None = None
    segments: list[Span] | None = None
    error: str | None = None


class Recordings(BaseModel):
    """One result a file, in order."""

    results: list[Recording]


class Speech(BaseModel):
    """A question or a text, and the set that has the voice and the words."""

    model_config = ConfigDict(extra="forbid", **_example(text="2 + 3", set="example-digits"))
    text: Annotated[str, Field(min_length=1)]
    set: str = "example-digits"


class Codes(BaseModel):
    """A clip in codes, a list per level of the codec, the coarsest first."""

    model_config = ConfigDict(
        extra="forbid",
        **_example(codec="small", samples=3200, gain=1.2, codes=[[3, 141], [59, 26, 53, 58], [97, 93, 23, 84, 62, 64]]),
    )
    codec: str = ""
    samples: StrictInt
    gain: float | None
    codes: Annotated[list[list[StrictInt]], Field(min_length=1, max_length=8)]


class TaskInfo(BaseModel):
    """A shipped task."""

    model_config = _example(name="sound-event", kind="classify", description="Which sound is heard")
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

    model_config = _example(status="ok", waiting=0)
    status: str = "ok"
    waiting: int


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemDetails, "content": {"application/problem+json": {}}}
    for status in (401, 403, 404, 408, 413, 422, 429, 503, 504)
}
WAV: dict[int | str, dict[str, Any]] = {200: {"content": {"audio/wav": {}}, "description": "A 16-bit WAV."}}
AUDIO: dict[int | str, dict[str, Any]] = {
    200: {"content": {"audio/wav": {}, "audio/flac": {}}, "description": "16-bit audio, as it is made."}
}
LABELS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Labels of clips, or with `segments` where in each recording they are heard.",
        "content": {
            "application/json": {
                "examples": {
                    "labels": {
                        "value": {
                            "results": [
                                {"file": "c.wav", "label": "rain", "scores": {"rain": 0.9, "siren": 0.1}, "margin": 0.8}
                            ]
                        }
                    },
                    "segments": {
                        "value": {
                            "results": [
                                {
                                    "file": "hour.flac",
                                    "seconds": 600.0,
                                    "segments": [{"start": 12.3, "end": 15.8, "label": "siren", "score": 0.93}],
                                }
                            ]
                        }
                    },
                }
            }
        },
    }
}
