"""From a model to answers: ``index search explain evaluate calibrate serve export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oclear.cli.options import (
    ConfigFile,
    IndexFolder,
    Items,
    Json,
    Model,
    Out,
    Overrides,
    Overwrite,
    Vectors,
    as_overrides,
)
from oclear.cli.run import run

OtherModel = Annotated[
    str | None, typer.Option("--model", help="The index's model, if not its own copy.")
]
TrueQueries = Annotated[Path, typer.Option("--queries", help="Photos with their true items.")]


def index(
    model: Model,
    items: Items,
    out: Out,
    overrides: Overrides = None,
    vectors: Vectors = None,
    samples: Annotated[
        Path | None,
        typer.Option(help="The folder of 'oclear categorize': items learn from matched photos."),
    ] = None,
    queries: Annotated[Path | None, typer.Option(help="Those photos; goes with --samples.")] = None,
    server: Annotated[
        str | None, typer.Option(help="Keep the vectors on this Milvus server, not in the folder.")
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Let this model take over an index that is in use.")
    ] = False,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Model and items -> an index; on an index of the same model, only what changed is encoded."""
    from oclear.commands import index as command
    from oclear.commands.shared.indexing import IndexConfig
    from oclear.config import build_config

    settings = build_config(IndexConfig, config, overrides or [])
    run(
        lambda reporter: command.index(
            model,
            items,
            vectors,
            out,
            settings,
            reporter,
            samples=samples,
            queries=queries,
            server=server,
            swap=swap,
            overwrite=overwrite,
        ),
        json_,
    )


def search(
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="Picture files, and KEY=VALUE.")
    ],
    index: IndexFolder,
    k: Annotated[
        int | None, typer.Option("-k", help="How many items, 10 if not given; short for k=.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="A filter over item columns, for example 'price < 20'.")
    ] = None,
    model: OtherModel = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """Which items does a photo show?"""
    from oclear.commands import search as command
    from oclear.config import build_config

    overrides = [name for name in photos if "=" in name and not Path(name).exists()]
    files = [Path(name) for name in photos if name not in overrides]
    short = as_overrides({"k": k, "where": where})
    settings = build_config(command.SearchConfig, config, [*short, *overrides])
    run(lambda reporter: command.search(index, files, settings, reporter, model=model), json_)


def explain(
    photo: Annotated[Path, typer.Argument(help="A picture file.")],
    index: IndexFolder,
    item: Annotated[str, typer.Option(help="The id of the item.")],
    items: Annotated[
        Path | None,
        typer.Option(help="The catalogue; what the index was made from if not given."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A picture to write, .png or .jpg.")] = None,
    model: OtherModel = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Why was this item found for this photo? Regions, words, memory slots."""
    from oclear.commands import explain as command

    run(
        lambda reporter: command.explain(
            index, photo, item, items, out, reporter, model=model, overwrite=overwrite
        ),
        json_,
    )


def evaluate(
    index: IndexFolder,
    queries: TrueQueries,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="Which of them.")] = "test",
    model: OtherModel = None,
    exposures: Annotated[
        Path | None, typer.Option(help="The log: measures for head, middle and tail items too.")
    ] = None,
    absent: Annotated[
        Path | None, typer.Option(help="Photos of things not sold; needs a calibrated index.")
    ] = None,
    trec: Annotated[Path | None, typer.Option(help="Folder for TREC run and qrels files.")] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Does it find the right product? Measures on photos with known true items."""
    from oclear.commands import evaluate as command
    from oclear.config import build_config

    settings = build_config(command.EvaluateConfig, config, overrides or [])
    run(
        lambda reporter: command.evaluate(
            index,
            queries,
            split,
            settings,
            reporter,
            model=model,
            exposures=exposures,
            absent=absent,
            trec=trec,
            overwrite=overwrite,
        ),
        json_,
    )


def calibrate(
    index: IndexFolder,
    queries: TrueQueries,
    overrides: Overrides = None,
    split: Annotated[
        str, typer.Option(help="Which of them: none that was learned from or measured on.")
    ] = "val",
    absent: Annotated[
        Path | None, typer.Option(help="Photos of things not sold, in a table like queries.")
    ] = None,
    model: OtherModel = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """Is it in the catalogue at all? Teaches an index to say how sure it is."""
    from oclear.commands import calibrate as command
    from oclear.config import build_config

    settings = build_config(command.CalibrateConfig, config, overrides or [])
    run(
        lambda reporter: command.calibrate(
            index, queries, split, absent, settings, reporter, model=model
        ),
        json_,
    )


def serve(
    index: IndexFolder,
    overrides: Overrides = None,
    host: Annotated[
        str | None, typer.Option(help="Where to listen, 127.0.0.1 if not given; short for host=.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="8000 if not given, 0 for any; short for port=.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Folder of the exposure log; 'log' beside the index.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="The file of 'oclear keys add'.")] = None,
    model: OtherModel = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """An index behind HTTP: search, items, feedback, and a page to try it."""
    from oclear.commands import serve as command
    from oclear.config import build_config
    from oclear.serving.config import ServeConfig

    short = as_overrides({"host": host, "port": port})
    settings = build_config(ServeConfig, config, [*short, *(overrides or [])])
    run(
        lambda reporter: command.serve(index, settings, reporter, log=log, keys=keys, model=model),
        json_,
    )


def export(
    model: Model,
    out: Out,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """A model as ONNX files, both towers, that run without torch."""
    from oclear.commands import export as command

    run(lambda reporter: command.export(model, out, reporter, overwrite=overwrite), json_)
