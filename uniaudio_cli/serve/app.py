"""The application: routes of the API and the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from uniaudio_cli import __version__
from uniaudio_cli.kit import Kit
from uniaudio_cli.serve import problems
from uniaudio_cli.serve.answers import Slices, Streamed, finished
from uniaudio_cli.serve.guard import Guard
from uniaudio_cli.serve.problems import Problem
from uniaudio_cli.serve.schemas import (
    AUDIO,
    LABELS,
    PROBLEMS,
    WAV,
    Codes,
    Health,
    Label,
    Labels,
    ModelInfo,
    Recording,
    Recordings,
    SetInfo,
    Speech,
    TaskInfo,
)
from uniaudio_cli.serve.service import Service
from uniaudio_cli.serve.sets import Clip, DemoSet, SetStore, clips_below_root, label_of, write_zip
from uniaudio_cli.serve.settings import Limits, Settings
from uniaudio_cli.serve.uploads import Inbox, samples_of

STATIC = Path(__file__).parent / "static"
Files = Annotated[list[UploadFile], File(description="Audio files.")]


def set_info(found: DemoSet) -> SetInfo:
    """A set as clients see it."""
    return SetInfo(id=found.id, kind=found.kind, task=found.task, labels=found.labels)


def create_app(kit: Kit, settings: Settings) -> FastAPI:
    """The application of loaded models. Its models' thread ends with it."""
    limits = settings.limits
    sets = SetStore(settings.state, limits)
    service, inbox = Service(kit, sets, limits), Inbox()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(service.worker.close, limits.work)
        inbox.close()

    app = FastAPI(title="uniaudio", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, settings=settings)
    problems.install(app)
    _add_sets(app, service, inbox, settings)
    _add_tasks(app, service, inbox, limits)
    _add_information(app, service)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", media_type="text/html")

    return app


def _add_sets(app: FastAPI, service: Service, inbox: Inbox, settings: Settings) -> None:
    sets, limits = service.sets, settings.limits

    def kind_of(task: str) -> tuple[Any, str]:
        # A set of texts or pairs belongs to no task in particular.
        return (task, "") if task in ("text", "pair") else ("label", service.task(task).name)

    @app.post("/v1/sets", status_code=201, responses=PROBLEMS, tags=["sets"])
    async def make_set(
        request: Request,
        response: Response,
        files: Annotated[list[UploadFile] | None, File(description="Audio files.")] = None,
        labels: Annotated[list[str] | None, Form(description="The label of each file, in order.")] = None,
        folder: Annotated[str | None, Form(description="In place of files: a folder below --root.")] = None,
        extends: Annotated[str | None, Form(description="A set whose clips come first.")] = None,
        task: Annotated[
            str, Form(description="A task that labels clips, or `text` for texts to speak, `pair` for noisy and clean.")
        ] = "sound-event",
    ) -> SetInfo:
        """Make a demonstration set; its id follows from its content, so the same set is kept once."""
        files, labels = files or [], labels or []
        if len(files) != len(labels):
            raise Problem(422, f"labels: there are {len(labels)} for {len(files)} files; each file takes one")
        if bool(files) == (folder is not None):
            raise Problem(422, "give files with labels, or a folder")
        kind, task = kind_of(task)

        def make() -> tuple[DemoSet, bool]:
            with ExitStack() as held:
                clips = []
                if extends is not None:
                    before = sets.get(extends)
                    if before.kind != kind:
                        raise Problem(422, "extends: that set is of another kind")
                    clips += sets.clips(before)
                if folder is not None:
                    if settings.root is None:
                        raise Problem(403, "this server reads no folders; it was started without --root")
                    clips += clips_below_root(settings.root, folder, kind, limits)
                uploads = inbox.keep(files, limits, held)
                clips += [Clip(each.path, each.name, label) for each, label in zip(uploads, labels, strict=True)]
                return sets.add(clips, kind, task)

        made, new = await run_in_threadpool(make)
        try:
            await finished(request, service.prepare(made), limits)
        except Problem as problem:
            if new and problem.status == 422:  # a clip that cannot be used
                sets.remove(made.id)
            raise
        response.status_code = 201 if new else 200
        return set_info(made)

    @app.get("/v1/sets", responses=PROBLEMS, tags=["sets"])
    def list_sets() -> list[SetInfo]:
        """All sets, the shipped examples first."""
        return [set_info(sets.get(each)) for each in sets.ids()]

    @app.get("/v1/sets/{id}", responses=PROBLEMS, tags=["sets"])
    def get_set(id: str) -> SetInfo:
        """One set."""
        return set_info(sets.get(id))

    @app.delete("/v1/sets/{id}", status_code=204, responses=PROBLEMS, tags=["sets"])
    def delete_set(id: str) -> None:
        """Delete a set and its clips."""
        found = sets.get(id)
        sets.remove(id)
        service.forget(found)

    @app.get("/v1/sets/{id}/zip", response_class=Response, responses=PROBLEMS, tags=["sets"])
    def export_set(id: str) -> Response:
        """A set as a .zip of a folder that `uniaudio classify --demos` takes."""
        with TemporaryFile() as file:
            write_zip(found := sets.get(id), file)
            file.seek(0)
            headers = {"Content-Disposition": f'attachment; filename="{found.id}.zip"'}
            return Response(file.read(), 200, headers, "application/zip")


def _add_tasks(app: FastAPI, service: Service, inbox: Inbox, limits: Limits) -> None:
    sets = service.sets

    @app.post("/v1/classify", responses={**PROBLEMS, **LABELS}, tags=["tasks"])
    async def classify(
        request: Request,
        files: Files,
        set: Annotated[str | None, Form(description="Id of a set of labelled clips.")] = None,
        labels: Annotated[
            list[str] | None, Form(description="In place of a set: names to choose among, by their meaning.")
        ] = None,
        segments: Annotated[bool, Form(description="Labels within long recordings, by a set.")] = False,
        words: Annotated[bool, Form(description="With what the LLM is given of each file.")] = False,
    ) -> Labels | Recordings:
        """A label for every file, by a set's demonstrations or by labels' names alone; or segments of every file."""
        if (set is None) == (not labels):
            raise Problem(422, "give a set, or labels to choose among")
        names = list(dict.fromkeys(label_of(each, "label", limits) for each in labels or ()))
        if labels and not 2 <= len(names) <= limits.files:
            raise Problem(422, f"labels: 2 to {limits.files} different names")
        found = sets.get(set) if set is not None else None
        with ExitStack() as held:
            uploads = await run_in_threadpool(inbox.keep, files, limits, held, limits.long if segments else None)
            if segments:
                if found is None:
                    raise Problem(422, "segments: take a set, as names alone find none")
                slices = Slices(request, service.worker, service.segments(found, uploads), limits)
                held.callback(slices.close)
                rows = [each for each in await slices.all() if each is not None]
                return Recordings(results=[Recording(**each) for each in rows])
            future = service.classify(found, uploads, words) if found else service.name(names, uploads, words)
            return Labels(results=[Label(**each) for each in await finished(request, future, limits)])

    @app.post("/v1/speak", response_class=Response, responses={**PROBLEMS, **WAV}, tags=["tasks"])
    async def speak(request: Request, question: Speech) -> Response:
        """A spoken answer. Its text is in the header Uniaudio-Answer, percent-encoded."""
        text = " ".join(question.text.split())
        if not text or len(text) > limits.text or not text.isprintable():
            raise Problem(422, f"text: 1 to {limits.text} printable characters")
        [(wav, answer, probability)] = await finished(request, service.speak(sets.get(question.set), text), limits)
        headers = {"Uniaudio-Answer": quote(answer)}
        if probability is not None:
            headers["Uniaudio-Probability"] = f"{probability:.4f}"
        return Response(wav, 200, headers, "audio/wav")

    @app.post("/v1/enhance", response_class=Response, responses={**PROBLEMS, **AUDIO}, tags=["tasks"])
    async def enhance(
        request: Request,
        file: Annotated[UploadFile, File(description="A noisy recording.")],
        set: Annotated[str, Form(description="Id of a set of pairs.")] = "example-enhance",
        format: Annotated[Literal["wav", "flac"], Form(description="Of the answer.")] = "wav",
    ) -> Response:
        """A recording, cleaned: 16-bit audio at its own rate and channels, sent while it is made."""
        found = sets.get(set)
        with ExitStack() as held:
            [upload] = await run_in_threadpool(inbox.keep, [file], limits, held, limits.long)
            samples = await run_in_threadpool(samples_of, upload)
            slices = Slices(request, service.worker, service.enhance(found, upload, format, samples), limits)
            held.callback(slices.close)
            first = await slices.next()
            return Streamed(first, slices, f"audio/{format}", held.pop_all())

    @app.post("/v1/codec/encode", responses=PROBLEMS, tags=["codec"])
    async def encode(request: Request, file: Annotated[UploadFile, File(description="A recording.")]) -> Codes:
        """A recording in codes."""
        with ExitStack() as held:
            [upload] = await run_in_threadpool(inbox.keep, [file], limits, held)
            [record] = await finished(request, service.encode(upload), limits)
        return Codes(**record)

    @app.post("/v1/codec/decode", response_class=Response, responses={**PROBLEMS, **WAV}, tags=["codec"])
    async def decode(request: Request, codes: Codes) -> Response:
        """Codes back to audio."""
        [wav] = await finished(request, service.decode(codes.model_dump()), limits)
        return Response(wav, 200, None, "audio/wav")


def _add_information(app: FastAPI, service: Service) -> None:
    @app.get("/v1/tasks", tags=["information"])
    def tasks() -> list[TaskInfo]:
        """The shipped tasks."""
        found = service.tasks.values()
        return [TaskInfo(name=each.name, kind=each.kind, description=each.description) for each in found]

    @app.get("/v1/models", tags=["information"])
    def models() -> list[ModelInfo]:
        """The presets, and which are on this server."""
        from uniaudio_cli.models.registry import list_models

        return [
            ModelInfo(name=each.name, kind=each.kind, about=each.about, licence=each.licence, here=each.here)
            for each in list_models()
        ]

    @app.get("/healthz", tags=["information"])
    async def healthz() -> Health:
        """Whether the server answers."""
        return Health(waiting=len(service.worker))
