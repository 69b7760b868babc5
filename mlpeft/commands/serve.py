"""`mlpeft serve`: classifiers over HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from mlpeft.commands.options import Insecure

LISTEN = "127.0.0.1:8421"


def serve(
    adapters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ADAPTER",
            help="Folders that `mlpeft adapt` wrote. Their ids are their names, or "
            "give ID=FOLDER.",
            show_default="none: adapters are made by POST /adapters",
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option(help="host:port to serve at; port 0: any.")
    ] = LISTEN,
    start: Annotated[
        str | None,
        typer.Option(
            help="What POST /adapters starts from: a start of `mlpeft starts list`, a "
            "run's folder, or none.",
            show_default="none, the base as it is",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The sentence encoder, as model.weights takes it, or where the "
            "adapters' base is on this machine.",
            show_default="the adapters' own",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps what POST /adapters makes; it is loaded again at "
            "the next start.",
            show_default="they end with the server",
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Neither make nor delete adapters.")
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File of the token that callers must show; made if it is not there.",
            show_default="MLPEFT_SERVE_TOKEN; none on loopback",
        ),
    ] = None,
    security: Annotated[
        Path | None,
        typer.Option(
            help="Folder of certificates, from `mlpeft-coordinator init`, for TLS off "
            "loopback.",
            show_default="the user's",
        ),
    ] = None,
    insecure: Insecure = False,
    max_body_mb: Annotated[
        float, typer.Option(min=0.001, help="Megabytes of a request.")
    ] = 4.0,
    max_batch: Annotated[
        int, typer.Option(min=1, help="Texts of a request to predict.")
    ] = 256,
    max_text_chars: Annotated[
        int, typer.Option(min=1, help="Characters of a text.")
    ] = 4000,
    max_examples: Annotated[
        int, typer.Option(min=1, help="Texts of a request to learn.")
    ] = 5000,
    max_labels: Annotated[
        int, typer.Option(min=2, help="Labels of an adapter.")
    ] = 1000,
    max_adapters: Annotated[int, typer.Option(min=1, help="Adapters in memory.")] = 100,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Texts that may wait to be labelled.")
    ] = 4096,
    max_learning: Annotated[
        int, typer.Option(min=1, help="Requests to learn that may wait or run.")
    ] = 4,
    grace: Annotated[
        int,
        typer.Option(min=0, help="Seconds that requests get at the end."),
    ] = 30,
) -> None:
    """Serve classifiers over HTTP, until Ctrl-C or SIGTERM (extra: serve).

    POST /predict labels texts, POST /adapters makes a classifier of examples in
    seconds. The page /docs lists everything; docs/serve.md has examples.
    """
    from mlpeft.serving.limits import Limits
    from mlpeft.serving.token import find_token
    from mlpeft.transport.rpc.address import is_loopback, split_address
    from mlpeft.web.needs import check_packages, check_tls, find_authority

    check_packages("mlpeft serve", "serve", ("fastapi", "uvicorn", "tokenizers"))
    host, port = split_address(listen, "--listen")
    authority = find_authority(host, security, insecure=insecure)
    check_tls(
        host,
        authority,
        insecure=insecure,
        source="--listen",
        what="the server",
        without="serves it in the clear, for callers that have the token",
    )
    token = find_token(token_file, host)
    folders = _folders(adapters or [], max_adapters)
    from mlpeft.platform.process import asked_to_stop
    from mlpeft.serving.server import ClassifierServer

    server = ClassifierServer(
        Limits(
            body_bytes=int(max_body_mb * 1e6),
            batch=max_batch,
            text_chars=max_text_chars,
            examples=max_examples,
            labels=max_labels,
            adapters=max_adapters,
            waiting_texts=max_waiting,
            learning=max_learning,
        ),
        grace_s=grace,
        start=start,
        base=base,
        store=store,
    )
    try:
        for id_, folder in folders.items():
            server.library.load(folder, id_)
        server.library.load_store()
        if not read_only:
            server.library.load_start()
        url = server.start(
            host,
            port,
            token=token,
            authority=authority,
            local=is_loopback(host),
            read_only=read_only,
        )
        with asked_to_stop() as asked:
            typer.echo(_greeting(url, [e.id for e in server.library.entries()]))
            while not asked() and server.is_alive(0.2):
                pass
            typer.echo("stopping: requests under way are finished", err=True)
            server.close()
    finally:
        server.close()


def _greeting(url: str, ids: list[str]) -> str:
    shown = ", ".join(ids[:10]) + (", ..." if len(ids) > 10 else "")
    what = f"{len(ids)} adapters ({shown})" if ids else "no adapter yet"
    return f"serving {what} at {url}, described at {url}/docs; Ctrl-C ends it"


def _folders(given: list[str], most: int) -> dict[str, Path]:
    """The adapters' folders by id."""
    from mlpeft.serving.schemas import ID

    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            name, path = Path(text).resolve().name.lower(), text
        if re.fullmatch(ID, name) is None:
            raise typer.BadParameter(
                f"{name!r} is no id (lower-case letters, digits, `_`, `.`, `-`); name "
                f"it with ID={path}",
                param_hint="ADAPTER",
            )
        if name in found:
            raise typer.BadParameter(
                f"{found[name]} and {path} are both called {name!r}; name one with "
                f"ID={path}",
                param_hint="ADAPTER",
            )
        found[name] = Path(path)
    if len(found) > most:
        raise typer.BadParameter(
            f"{len(found)} adapters, expected at most {most}; raise --max-adapters",
            param_hint="ADAPTER",
        )
    return found
