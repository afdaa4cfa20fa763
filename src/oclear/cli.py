"""The command line: parses, nothing else."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from oclear import __version__
from oclear.errors import OclearError, StoppedByOtherRankError
from oclear.runtime import is_speaking, prepare_process

if TYPE_CHECKING:
    from oclear.commands.shared.result import CommandResult
    from oclear.progress import Reporter

app = typer.Typer(
    name="oclear",
    help="Finds the catalogue item a photo shows.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

categories_app = typer.Typer(
    name="categories", help="Look into a folder of 'oclear categorize'.", rich_markup_mode=None
)
app.add_typer(categories_app)

_OF_THE_USER = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)
_STOPPED = 130  # as shells count it: 128 and the number of the signal


class Labels(StrEnum):
    """Where training labels come from."""

    log = "log"
    truth = "truth"


class Preset(StrEnum):
    """How much time a demo takes."""

    fast = "fast"
    quality = "quality"


Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY.SUB=VALUE]...", help="Configuration values, above --config."),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a non-empty output.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a stopped run was.")]
ItemsTable = Annotated[Path, typer.Option("--items", help="The catalogue: a table or a folder.")]
Model = Annotated[str, typer.Option("--model", help="Model folder, output of train, or hub id.")]
IndexFolder = Annotated[Path, typer.Option("--index", help="The folder of 'oclear index'.")]
Out = Annotated[Path, typer.Option("--out", help="The folder to write.")]


@app.command()
def demo(
    overrides: Overrides = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder with items, queries and (optionally) exposures, or 'grocery'."),
    ] = None,
    labels: Annotated[Labels, typer.Option(help="Learn from the log or the truth.")] = Labels.log,
    preset: Annotated[Preset, typer.Option(help="How much time to take.")] = Preset.fast,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; a new one under runs/ if not given.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """The whole path on a generated shop or your own folder, ending with measures and report.html."""
    from oclear.commands import demo as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        settings = build_config(
            command.DemoConfig, config, overrides or [], command.PRESETS[preset.value]
        )
        return command.demo(
            data,
            labels.value,
            preset.value,
            out,
            settings,
            reporter,
            command=shlex.join(["oclear", *sys.argv[1:]]),
            overwrite=overwrite,
            resume=resume,
        )

    _run(call, json_)


@app.command()
def simulate(
    data: Annotated[Path, typer.Option(help="Folder with items, queries and their truth.")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    overrides: Overrides = None,
    wrong: Annotated[
        float | None, typer.Option(help="Share of wrong clicks; short for simulation.wrong=.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """An exposure log with known truth, for the training photos of a folder."""
    from oclear.commands import simulate as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        extra = [] if wrong is None else [f"simulation.wrong={wrong}"]
        settings = build_config(command.SimulateConfig, config, [*extra, *(overrides or [])])
        return command.simulate(data, out, settings, reporter, overwrite=overwrite)

    _run(call, json_)


@app.command()
def embed(
    model: Model,
    out: Out,
    overrides: Overrides = None,
    items: Annotated[Path | None, typer.Option(help="Items to embed.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Queries to embed.")] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Vectors of pictures and texts, as a features folder."""
    from oclear.commands import embed as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        settings = build_config(command.EmbedConfig, config, overrides or [])
        return command.embed(model, items, queries, out, settings, reporter, overwrite=overwrite)

    _run(call, json_)


@app.command()
def categorize(
    items: ItemsTable,
    out: Out,
    overrides: Overrides = None,
    queries: Annotated[Path | None, typer.Option(help="Photos; split = train is used.")] = None,
    exposures: Annotated[Path | None, typer.Option(help="The exposure log.")] = None,
    features: Annotated[Path | None, typer.Option(help="The folder of 'oclear embed'.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The eye: a trained model or an encoder; model.image_encoder if not given."
        ),
    ] = None,
    previous: Annotated[
        Path | None, typer.Option(help="The folder of the round before, whose IDs live on.")
    ] = None,
    labels: Annotated[Labels, typer.Option(help="Learn from the log or the truth.")] = Labels.log,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Items and exposures -> category IDs."""
    from oclear.commands import categorize as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        return command.categorize(
            items,
            queries,
            exposures,
            features,
            model,
            previous,
            labels.value,
            out,
            build_config(command.CategorizeConfig, config, overrides or []),
            reporter,
            overwrite=overwrite,
        )

    _run(call, json_)


@app.command()
def train(
    samples: Annotated[Path, typer.Option(help="The folder of 'oclear categorize'.")],
    items: ItemsTable,
    queries: Annotated[Path, typer.Option(help="The photos.")],
    out: Out,
    overrides: Overrides = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="A model whose weights to start from.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Category IDs -> a two-tower model."""
    from oclear.commands import train as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        return command.train(
            samples,
            items,
            queries,
            start,
            out,
            build_config(command.TrainCommandConfig, config, overrides or []),
            reporter,
            overwrite=overwrite,
            resume=resume,
        )

    _run(call, json_)


@app.command()
def estimate(
    overrides: Overrides = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Number of category IDs.")] = None,
    samples: Annotated[
        Path | None, typer.Option(help="The folder of 'oclear categorize', to count them in.")
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="Of embeddings; short for model.embedding_dim=.")
    ] = None,
    ranks: Annotated[int, typer.Option(min=1, help="Processes that train together.")] = 1,
    room: Annotated[
        float | None, typer.Option(help="GB that each may have; what is free here if not given.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """How much memory will a training need? Without data, before it starts."""
    from oclear.commands import estimate as command
    from oclear.commands.train import TrainCommandConfig
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        short = [] if dim is None else [f"model.embedding_dim={dim}"]
        settings = build_config(TrainCommandConfig, config, [*short, *(overrides or [])])
        return command.estimate(classes, samples, ranks, room, settings, reporter)

    _run(call, json_)


@app.command()
def index(
    model: Model,
    items: ItemsTable,
    out: Out,
    overrides: Overrides = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Document vectors of this model, from 'oclear embed'.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Model and items -> an index; on an index of the same model, only what changed is encoded."""
    from oclear.commands import index as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        settings = build_config(command.IndexConfig, config, overrides or [])
        return command.index(model, items, vectors, out, settings, reporter, overwrite=overwrite)

    _run(call, json_)


@app.command()
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
    model: Annotated[
        str | None, typer.Option(help="The index's model, if not its own copy.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """Which items does a photo show?"""
    from oclear.commands import search as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        overrides = [name for name in photos if "=" in name and not Path(name).exists()]
        files = [Path(name) for name in photos if name not in overrides]
        # JSON is YAML too: a filter with a colon or a quote in it stays one text.
        given = {"k": k, "where": where}
        short = [f"{key}={json.dumps(v)}" for key, v in given.items() if v is not None]
        settings = build_config(command.SearchConfig, config, [*short, *overrides])
        return command.search(index, files, settings, reporter, model=model)

    _run(call, json_)


@app.command()
def evaluate(
    index: IndexFolder,
    queries: Annotated[Path, typer.Option(help="Photos with their true items.")],
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="Which of them.")] = "test",
    model: Annotated[
        str | None, typer.Option(help="The index's model, if not its own copy.")
    ] = None,
    exposures: Annotated[
        Path | None, typer.Option(help="The log: measures for head, middle and tail items too.")
    ] = None,
    trec: Annotated[Path | None, typer.Option(help="Folder for TREC run and qrels files.")] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Does it find the right product? Measures on photos with known true items."""
    from oclear.commands import evaluate as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        return command.evaluate(
            index,
            queries,
            split,
            build_config(command.EvaluateConfig, config, overrides or []),
            reporter,
            model=model,
            exposures=exposures,
            trec=trec,
            overwrite=overwrite,
        )

    _run(call, json_)


@categories_app.command("evaluate")
def categories_evaluate(
    categories: Annotated[
        Path, typer.Option("--categories", help="The folder of 'oclear categorize'.")
    ],
    truth: Annotated[
        Path | None, typer.Option(help="The true products: a table of item_id and product_id.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="The photos, with their true items where known.")
    ] = None,
    exposures: Annotated[
        Path | None, typer.Option(help="The log: measures for items never shown in it, and others.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="The catalogue, to count its items that are in no ID.")
    ] = None,
    json_: Json = False,
) -> None:
    """How good are the category IDs, where the truth is known?"""
    from oclear.commands.categories import evaluate as command

    def call(reporter: Reporter) -> CommandResult:
        return command.evaluate(categories, items, truth, queries, exposures, reporter)

    _run(call, json_)


@categories_app.command("sweep")
def categories_sweep(
    items: ItemsTable,
    queries: Annotated[Path, typer.Option(help="The photos; val is measured on.")],
    out: Out,
    overrides: Overrides = None,
    exposures: Annotated[Path | None, typer.Option(help="The exposure log.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="The true products: a table of item_id and product_id.")
    ] = None,
    features: Annotated[Path | None, typer.Option(help="The folder of 'oclear embed'.")] = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train quickly at each point, or not.")
    ] = True,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """How coarse should category IDs be? Quality and Identical@1 at many granularities."""
    from oclear.commands.categories import sweep as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        return command.sweep(
            items,
            queries,
            exposures,
            truth,
            features,
            out,
            build_config(command.SweepConfig, config, overrides or []),
            reporter,
            train=train,
            command=shlex.join(["oclear", *sys.argv[1:]]),
            overwrite=overwrite,
        )

    _run(call, json_)


@categories_app.command("explain")
def categories_explain(
    categories: Annotated[
        Path, typer.Option("--categories", help="The folder of 'oclear categorize'.")
    ],
    items: ItemsTable,
    id_: Annotated[int | None, typer.Option("--id", help="The category ID to look into.")] = None,
    item: Annotated[
        list[str] | None,
        typer.Option(help="An item; given twice: why are the two together, or apart?"),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="The photos, to say where their pictures are.")
    ] = None,
    json_: Json = False,
) -> None:
    """Why are these together, or apart?"""
    from oclear.commands.categories import explain as command

    def call(reporter: Reporter) -> CommandResult:
        return command.explain(categories, items, queries, id_, item or [], reporter)

    _run(call, json_)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _run(call: Callable[[Reporter], CommandResult], as_json: bool) -> None:
    """Runs a command and prints its result: for people on standard output, or as the last line of it as JSON."""
    from oclear.commands.shared.result import to_json
    from oclear.progress import Reporter

    with Reporter(quiet=not is_speaking()) as reporter:
        result = call(reporter)
        if as_json:
            reporter.show(result.view)
    if not is_speaking():
        return
    if as_json:
        print(json.dumps(to_json(result.data), allow_nan=False))
    else:
        Console(soft_wrap=True).print(result.view)


def main() -> None:
    """Exit code 0: done; 2: the user's input is wrong (at most three lines); 1: a defect of ours."""
    prepare_process()
    code = _main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: with torch loaded too, duckdb's binding fills the screen with leaks that it finds at teardown.
    os._exit(code)


def _main() -> int:
    command = typer.main.get_command(app)
    try:
        code = command.main(sys.argv[1:] or ["--help"], standalone_mode=False)
        if code == _STOPPED:  # the parser catches Ctrl-C itself
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except StoppedByOtherRankError:
        return 2
    except (Exception, KeyboardInterrupt) as error:
        # Of several processes that fail alike, one says so.
        return _explain(error) if is_speaking() else 2


def _explain(error: BaseException) -> int:
    """Says what went wrong, and gives the exit code."""
    if isinstance(error, OclearError):
        return _fail(str(error))
    if isinstance(error, KeyboardInterrupt):
        _fail("stopped; train and demo go on with --resume, index goes on by itself")
        return _STOPPED
    if isinstance(error, OSError) and error.errno in _OF_THE_USER:
        return _fail(f"{error.filename or 'output'}: {error.strerror}")
    if (message := _usage_error(error)) is not None:
        return _fail(message)
    traceback.print_exception(error)
    if not isinstance(error, OSError):
        print("This is a defect of oclear; please report the lines above.", file=sys.stderr)
    return 1


def _usage_error(error: Any) -> str | None:
    """What the parser has to say of a wrong command line, None for any other error."""
    if not hasattr(error, "format_message"):
        return None
    context = getattr(error, "ctx", None)
    hint = f"\nSee '{context.command_path} --help'." if context else ""
    return f"{error.format_message()}{hint}"


def _fail(message: str) -> int:
    first, *rest = message.splitlines() or [""]
    print(f"error: {first}", *rest[:2], sep="\n", file=sys.stderr)
    return 2
