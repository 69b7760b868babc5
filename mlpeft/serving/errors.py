"""Errors as JSON: what was given, what was expected, what to do."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from mlpeft.errors import MlpeftError
from mlpeft.serving.schemas import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

_LOG = logging.getLogger(__name__)
_SHOWN = 100
"""Characters of what was given in an answer."""
_MOST_PROBLEMS = 10
_WORDS = {
    "Value error, ": "",
    "Input should be ": "",
    "String should match pattern": "a match of",
    "String should have": "a string of",
    "List should have": "a list of",
}
"""Beginnings of pydantic's messages, and how they go on after "expected"."""


class ApiError(Exception):
    """A request that gets an error for its answer.

    Args:
        status: Of HTTP.
        error: What is wrong.
        do: What to do.
        problems: What was given where, and what was expected.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        error: str,
        do: str,
        problems: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self._answer = {
            "error": error,
            "problems": [problem.model_dump() for problem in problems],
            "do": do,
        }
        self.headers = headers

    def response(self) -> Response:
        """The answer."""
        # Escaped, since what was given may be no Unicode: half of a surrogate pair.
        text = json.dumps(self._answer)
        return Response(text, self.status, self.headers, "application/json")


def busy(error: str) -> ApiError:
    """The answer to more than the server can do at once."""
    return ApiError(
        503, error, "send it again in a second", headers={"retry-after": "1"}
    )


def invalid(where: str, given: str, expected: str, do: str) -> ApiError:
    """The answer to a value that cannot be taken."""
    problem = Problem(where=where, given=given, expected=expected)
    return ApiError(422, f"{where}: got {given}, expected {expected}", do, [problem])


def handle_errors(app: FastAPI) -> None:
    """Let an application answer every error in our form."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(MlpeftError, _mlpeft_error)
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _unexpected)


def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for it
    return error.response()


def _mlpeft_error(_: Request, error: Exception) -> Response:
    """Our messages say what was given, what was expected, and what to do."""
    text = " ".join(str(error).split())
    return ApiError(422, text, "change the request as the error says").response()


def _invalid(_: Request, error: RequestValidationError) -> Response:
    problems = [_problem(found) for found in error.errors()]
    shown = problems[:_MOST_PROBLEMS]
    first = shown[0]
    text = f"{first.where}: got {first.given}, expected {first.expected}"
    if len(problems) > 1:
        text += f"; and {len(problems) - 1} more"
    do = "send JSON with content-type: application/json, as /docs says"
    return ApiError(422, text, do, shown).response()


def _problem(found: Mapping[str, Any]) -> Problem:
    """One finding of pydantic's, in our words."""
    path = [str(part) for part in found["loc"] if part != "body"]
    if found["type"] == "json_invalid":
        reason = found.get("ctx", {}).get("error", "invalid")
        return Problem(where="body", given=f"no JSON ({reason})", expected="JSON")
    if isinstance(found["input"], bytes):
        given, expected = "a body of another type", "content-type: application/json"
        return Problem(where="body", given=given, expected=expected)
    expected = str(found["msg"])
    for words, ours in _WORDS.items():
        if expected.startswith(words):
            expected = ours + expected.removeprefix(words)
    if not path:
        given = "nothing" if found["type"] == "missing" else _shown(found["input"])
        return Problem(where="body", given=given, expected="a JSON object")
    if found["type"] == "missing":
        return Problem(where=".".join(path), given="nothing", expected="it")
    if found["type"] == "extra_forbidden":
        expected = "no such key; see /docs for those that there are"
    return Problem(
        where=".".join(path), given=_shown(found["input"]), expected=expected
    )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _http_error(request: Request, error: HTTPException) -> Response:
    status = error.status_code
    asked = f"{request.method} {request.url.path[:_SHOWN]}"
    if status == 400:  # FastAPI's, of a body that Python's parser gives up on
        text = "body: got JSON that cannot be read, expected less nesting"
        do = "send the objects that /docs shows"
    elif status in (404, 405):
        text = f"there is no {asked}"
        do = "take a path and a method of /docs"
    else:
        text, do = f"{asked}: {error.detail}", "change the request; /docs says how"
    return ApiError(status, text, do, headers=error.headers).response()


def _unexpected(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    do = "look at the server's log, and report it if the request was right"
    return ApiError(
        500, f"an error of the server: {type(error).__name__}", do
    ).response()
