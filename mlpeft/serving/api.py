"""The routes of a server of classifiers."""

from __future__ import annotations

import asyncio
import time
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, FastAPI, Path, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.routing import Route

from mlpeft import __version__
from mlpeft.adapters.answers import MULTI_LABEL_FROM
from mlpeft.adapters.labelled import read_texts
from mlpeft.serving.compute import BusyError, StoppedError
from mlpeft.serving.door import Door
from mlpeft.serving.errors import ApiError, busy, handle_errors, invalid
from mlpeft.serving.library import (
    ConflictError,
    FullError,
    Library,
    UnknownAdapterError,
)
from mlpeft.serving.schemas import (
    ID,
    AdapterInfo,
    AdapterList,
    ErrorAnswer,
    Health,
    Learned,
    LearnRequest,
    MoreExamples,
    PredictAnswer,
    Prediction,
    PredictRequest,
)
from mlpeft.web.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    import numpy as np
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from mlpeft.serving.compute import ComputeThread
    from mlpeft.serving.library import Entry
    from mlpeft.serving.limits import Limits
    from mlpeft.serving.metrics import Metrics
    from mlpeft.serving.schemas import Example

_DESCRIPTION = (
    "Labels texts by classifiers that were made from a few examples each. Errors are "
    "JSON: what is wrong, what was expected, what to do."
)
_STATIC: Final = {
    "docs.css": "text/css",
    "docs.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    422: {"model": ErrorAnswer, "description": "The request is not valid."},
    "4XX": {"model": ErrorAnswer, "description": "The request cannot be answered."},
    503: {"model": ErrorAnswer, "description": "Too much at once; retry."},
}
AdapterIdPath = Annotated[str, Path(pattern=ID, description="The adapter's id.")]


class Api:
    """The routes.

    Args:
        library: The adapters.
        compute: Embeds texts.
        limits: Of requests.
        metrics: Counts.
        read_only: Whether adapters may neither be made nor deleted.
    """

    def __init__(
        self,
        library: Library,
        compute: ComputeThread,
        limits: Limits,
        metrics: Metrics,
        *,
        read_only: bool = False,
    ) -> None:
        self._library = library
        self._compute = compute
        self._limits = limits
        self._metrics = metrics
        self._read_only = read_only

    def app(self, *, token: str | None, local: bool) -> ASGIApp:
        """The application, behind its door.

        Args:
            token: The secret that callers must show; None: none.
            local: Whether it is served on loopback.
        """
        app = FastAPI(
            title="mlpeft serve",
            description=_DESCRIPTION,
            version=__version__,
            docs_url=None,
            redoc_url=None,
            routes=[
                Route("/", lambda _: RedirectResponse("/docs")),
                Route("/docs", lambda _: HTMLResponse(_file("docs.html"))),
                Route("/static/{name}", _static),
            ],
            # Only for the OpenAPI page: the door checks it.
            dependencies=[]
            if token is None
            else [Depends(HTTPBearer(auto_error=False))],
            responses=_ERRORS,
        )
        handle_errors(app)
        route = app.add_api_route
        route("/predict", self.predict, methods=["POST"], tags=["predict"])
        route("/adapters", self.list_adapters, methods=["GET"], tags=["adapters"])
        route(
            "/adapters",
            self.learn,
            methods=["POST"],
            status_code=201,
            tags=["adapters"],
        )
        one = "/adapters/{id}"
        route(one, self.get_adapter, methods=["GET"], tags=["adapters"])
        route(one, self.delete, methods=["DELETE"], status_code=204, tags=["adapters"])
        route(f"{one}/examples", self.add_examples, methods=["POST"], tags=["adapters"])
        route("/health", self.health, methods=["GET"], tags=["server"])
        route(
            "/metrics",
            self.metrics,
            methods=["GET"],
            tags=["server"],
            response_class=PlainTextResponse,
        )

        def refuse(why: str) -> ASGIApp:
            do = "name it 127.0.0.1 or localhost, or serve it on another address"
            return ApiError(403, why, do).response()

        door = Door(app, token, self._limits, self._metrics)
        return Guarded(door, local=local, refuse=refuse)

    async def predict(self, request: PredictRequest) -> PredictAnswer:
        """Label texts: the labels, a confidence each, and all probabilities."""
        self._check_texts("texts", request.texts, self._limits.batch)
        entry = _known(lambda: self._library.get(request.adapter))
        texts = read_texts(request.texts)
        try:
            future = self._compute.embed(entry.embedder.encoder, texts)
            vectors = await asyncio.wrap_future(future)
        except (BusyError, StoppedError) as error:
            raise busy(str(error)) from error
        shares = entry.adapter.of_embeddings(vectors)
        below = request.reject_below
        below = entry.adapter.reject_below if below is None else below
        predictions = [_prediction(entry, row, below, request.top) for row in shares]
        self._metrics.texts.inc(len(texts))
        self._metrics.rejected.inc(sum(one.rejected for one in predictions))
        return PredictAnswer(adapter=entry.id, predictions=predictions)

    async def list_adapters(self) -> AdapterList:
        """List the adapters in memory."""
        return AdapterList(adapters=[_info(e) for e in self._library.entries()])

    async def get_adapter(self, id: AdapterIdPath) -> AdapterInfo:  # noqa: A002 - the name in the path
        """Describe one adapter."""
        return _info(_known(lambda: self._library.get(id)))

    async def learn(self, request: LearnRequest) -> Learned:
        """Make an adapter of examples, in seconds; its id is in the answer."""
        self._check_writable()
        began = time.perf_counter()
        settings = request.model_dump(exclude={"id", "examples", "unlabelled"})
        more = request.unlabelled
        self._check_examples(request.examples, more or ())
        for texts in (request.label_descriptions or {}).values():
            given = [texts] if isinstance(texts, str) else texts
            self._check_texts("label_descriptions", given, self._limits.examples)
        future = _known(
            lambda: self._library.learn(
                request.id,
                [example.text for example in request.examples],
                [example.gold for example in request.examples],
                more or None,
                settings,
            )
        )
        return await self._learned(future, began)

    async def add_examples(
        self,
        id: AdapterIdPath,  # noqa: A002 - the name in the path
        request: MoreExamples,
    ) -> Learned:
        """Fit an adapter anew with more examples; until then the old one answers."""
        self._check_writable()
        began = time.perf_counter()
        self._check_examples(request.examples, ())
        texts = [example.text for example in request.examples]
        labels = [example.gold for example in request.examples]
        future = _known(lambda: self._library.add_examples(id, texts, labels))
        return await self._learned(future, began)

    async def delete(self, id: AdapterIdPath) -> Response:  # noqa: A002 - the name in the path
        """Forget an adapter. A folder that the server did not write stays."""
        self._check_writable()
        await asyncio.to_thread(_known, lambda: self._library.delete(id))
        return Response(status_code=204)

    async def health(self) -> Health:
        """Whether the server works."""
        return Health(
            status="ok",
            version=__version__,
            adapters=len(self._library),
            starts=self._library.start_names,
            waiting_texts=self._compute.waiting,
        )

    async def metrics(self) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    async def _learned(self, future: Future[Entry], began: float) -> Learned:
        try:
            entry = await asyncio.wrap_future(future)
        except (BusyError, StoppedError) as error:
            raise busy(str(error)) from error
        except (UnknownAdapterError, ConflictError, FullError) as error:
            raise _refused(error) from error
        seconds = round(time.perf_counter() - began, 3)
        return Learned(**_info(entry).model_dump(), seconds=seconds)

    def _check_writable(self) -> None:
        if self._read_only:
            raise ApiError(
                403,
                "this server was started with --read-only",
                "make adapters with `mlpeft adapt`, and start the server with them",
            )

    def _check_examples(self, examples: Sequence[Example], more: Sequence[str]) -> None:
        count = len(examples) + len(more)
        if count > self._limits.examples:
            raise invalid(
                "examples",
                f"{count} texts",
                f"at most {self._limits.examples}",
                "send the rest to POST /adapters/{id}/examples, or start the server "
                "with --max-examples",
            )
        texts = [example.text for example in examples]
        self._check_texts("examples", texts, self._limits.examples)
        self._check_texts("unlabelled", more, self._limits.examples)

    def _check_texts(self, where: str, texts: Sequence[str], most: int) -> None:
        if len(texts) > most:
            raise invalid(
                where,
                f"{len(texts)} texts",
                f"at most {most}",
                "send several requests, or start the server with --max-batch",
            )
        longest = self._limits.text_chars
        for number, text in enumerate(texts):
            if not text.strip():
                do = "leave it out"
                raise invalid(f"{where}.{number}", repr(text[:20]), "words", do)
            if len(text) > longest:
                raise invalid(
                    f"{where}.{number}",
                    f"{len(text):,} characters",
                    f"at most {longest:,}",
                    "cut it; the encoder reads the first words alone",
                )


def _known(function: Any) -> Any:
    """What a function of the library returns; its refusals as answers."""
    try:
        return function()
    except (UnknownAdapterError, ConflictError, FullError) as error:
        raise _refused(error) from error


def _refused(error: Exception) -> ApiError:
    if isinstance(error, FullError):
        return busy(str(error))
    if isinstance(error, UnknownAdapterError):
        return ApiError(404, str(error), "take an id of GET /adapters")
    return ApiError(409, str(error), "change the request, or what the server has")


def _info(entry: Entry) -> AdapterInfo:
    adapter = entry.adapter
    return AdapterInfo(
        id=entry.id,
        labels=list(adapter.labels),
        examples=adapter.history.get("examples"),
        head=adapter.history.get("head"),
        reject_below=adapter.reject_below,
        none_label=adapter.none_label,
        multi_label=adapter.multi_label,
        base=str(adapter.config.model.weights),
        learns=entry.fitted is not None,
        held_out_accuracy=adapter.history.get("held_out_accuracy", {}),
        created=entry.created,
    )


def _prediction(
    entry: Entry, row: np.ndarray, reject_below: float, top: int | None
) -> Prediction:
    """The answer for one row of probabilities."""
    names, order = entry.adapter.labels, (-row).argsort(kind="stable")
    confidence = float(row[order[0]])
    if entry.adapter.multi_label:
        labels = [names[i] for i in order if row[i] >= MULTI_LABEL_FROM]
        rejected = False
    else:
        is_none = names[order[0]] == entry.adapter.none_label
        rejected = is_none or confidence < reject_below
        labels = [] if rejected else [names[order[0]]]
    return Prediction(
        label=labels[0] if labels and not entry.adapter.multi_label else None,
        labels=labels,
        confidence=confidence,
        rejected=rejected,
        probabilities={names[i]: float(row[i]) for i in order[:top]},
    )


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise ApiError(404, "there is no such file", "look at /docs")
    return Response(_file(name), media_type=_STATIC[name])


def _file(name: str) -> str:
    return resources.files(__package__).joinpath("static", name).read_text("utf-8")
