"""The pages and calls of a dashboard."""

from __future__ import annotations

import html
from importlib import resources
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from mlpeft.charts import __name__ as charts_package
from mlpeft.dashboard.charts import ChartRequest
from mlpeft.dashboard.web.access import COOKIE, ForbiddenError
from mlpeft.dashboard.web.broadcast import MOST_VIEWERS, Broadcast
from mlpeft.errors import MlpeftError
from mlpeft.files import parse_json_object
from mlpeft.transport.rpc.control_codec import Action
from mlpeft.web.guard import Guarded

if TYPE_CHECKING:
    from starlette.requests import Request

    from mlpeft.dashboard.monitor import Monitor
    from mlpeft.dashboard.web.access import Access

KINDS: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
WIDTHS: Final = (200.0, 2400.0)
MOST_BODY: Final = 4096


class Dashboard:
    """The routes of a dashboard.

    Args:
        monitor: What is shown.
        access: Who may do what.
    """

    def __init__(self, monitor: Monitor, access: Access) -> None:
        self._monitor = monitor
        self._access = access
        self.broadcast = Broadcast(monitor)
        self.app = Guarded(
            Starlette(
                routes=[
                    Route("/", self._page),
                    Route("/events", self._events),
                    Route("/state.json", self._state),
                    Route("/chart/{name}.svg", self._chart),
                    Route("/control", self._control, methods=["POST"]),
                    Route("/login/{key}", self._log_in),
                    Route("/static/{name}", _static),
                ]
            ),
            local=access.local,
        )

    async def _page(self, request: Request) -> Response:
        steers = self._access.operator(request) is not None
        has_cluster = self._monitor.source is not None
        text = _file("index.html").replace(
            "{{token}}", html.escape(self._access.token if steers else "")
        )
        text = text.replace("{{steering}}", "yes" if steers and has_cluster else "no")
        return HTMLResponse(text)

    async def _events(self, request: Request) -> Response:
        del request
        if self.broadcast.viewers >= MOST_VIEWERS:
            return PlainTextResponse("too many viewers", 503)
        return StreamingResponse(
            self.broadcast.events(), media_type="text/event-stream"
        )

    async def _state(self, request: Request) -> Response:
        del request
        return JSONResponse(await run_in_threadpool(self._monitor.look, whole=True))

    async def _chart(self, request: Request) -> Response:
        try:
            wanted = _chart_request(request)
            text = await run_in_threadpool(self._monitor.chart, wanted)
        except KeyError:
            return PlainTextResponse("no such chart", 404)
        except ValueError:
            return PlainTextResponse("expected numbers: width, from, to", 400)
        return Response(text, media_type="image/svg+xml")

    async def _control(self, request: Request) -> Response:
        try:
            who = self._access.check_steering(request)
            body = await request.body() if _is_small(request) else b""
            asked = parse_json_object(body)
            action = Action(str(asked.get("action")))
            worker = str(asked.get("worker", ""))[:200]
            text = await run_in_threadpool(self._monitor.control, action, worker, who)
        except ForbiddenError as error:
            return JSONResponse({"error": str(error)}, 403)
        except ValueError:
            return JSONResponse({"error": "not an action of this page"}, 400)
        except MlpeftError as error:
            return JSONResponse({"error": str(error)}, 409)
        return JSONResponse({"text": text})

    async def _log_in(self, request: Request) -> Response:
        cookie = self._access.log_in(request.path_params["key"])
        if cookie is None:
            text = "This link was used, or is another; the head node printed a new one."
            return PlainTextResponse(text, 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE,
            cookie,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer


def _is_small(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    return length.isdigit() and int(length) <= MOST_BODY


def _chart_request(request: Request) -> ChartRequest:
    """What a page asks for.

    Raises:
        ValueError: If a number is none.
    """
    asked = request.query_params
    width = min(max(float(asked.get("width", "600")), WIDTHS[0]), WIDTHS[1])
    x_range = None
    if "from" in asked:
        x_range = (float(asked["from"]), float(asked["to"]))
        if not x_range[0] < x_range[1] < float("inf"):
            raise ValueError
    return ChartRequest(
        request.path_params["name"], width, asked.get("log") == "1", x_range
    )


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    kind = KINDS.get(name[name.rfind(".") :])
    if kind is None or name not in _static_names():
        return PlainTextResponse("no such file", 404)
    return Response(_file(name), media_type=kind)


def _static_names() -> set[str]:
    folder = resources.files(__package__).joinpath("static")
    return {"charts.css", *(entry.name for entry in folder.iterdir())}


def _file(name: str) -> str:
    if name == "charts.css":
        place = resources.files(charts_package).joinpath(name)
    else:
        place = resources.files(__package__).joinpath("static", name)
    return place.read_text("utf-8")
