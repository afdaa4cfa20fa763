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
log_app = typer.Typer(
    name="log", help="Look after the log of 'oclear serve'.", rich_markup_mode=None
)
app.add_typer(log_app)
keys_app = typer.Typer(
    name="keys", help="Say who may ask 'oclear serve' for what.", rich_markup_mode=None
)
app.add_typer(keys_app)

store_app = typer.Typer(
    name="store", help="Look into, change and check an index folder.", rich_markup_mode=None
)
app.add_typer(store_app)

_OF_THE_USER = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)
_STOPPED = 130  # as shells count it: 128 and the number of the signal


class Labels(StrEnum):
    """Where training labels come from."""

    log = "log"
    truth = "truth"


class CompareLabels(StrEnum):
    """Where the labels of compared methods come from."""

    log = "log"
    truth = "truth"
    both = "both"


class Preset(StrEnum):
    """How much time a demo takes."""

    fast = "fast"
    quality = "quality"


class Permission(StrEnum):
    """What a key allows."""

    search = "search"
    feedback = "feedback"
    write = "write"


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
LogFolder = Annotated[Path, typer.Option("--log", help="The log folder of 'oclear serve'.")]
KeyFile = Annotated[Path, typer.Option("--keys", help="The file of keys.")]


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

    def call(reporter: Reporter) -> CommandResult:
        settings = build_config(IndexConfig, config, overrides or [])
        return command.index(
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
        )

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
def explain(
    photo: Annotated[Path, typer.Argument(help="A picture file.")],
    index: IndexFolder,
    item: Annotated[str, typer.Option(help="The id of the item.")],
    items: Annotated[
        Path | None,
        typer.Option(help="The catalogue; what the index was made from if not given."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A picture to write, .png or .jpg.")] = None,
    model: Annotated[
        str | None, typer.Option(help="The index's model, if not its own copy.")
    ] = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Why was this item found for this photo? Regions, words, memory slots."""
    from oclear.commands import explain as command

    def call(reporter: Reporter) -> CommandResult:
        return command.explain(
            index, photo, item, items, out, reporter, model=model, overwrite=overwrite
        )

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

    def call(reporter: Reporter) -> CommandResult:
        return command.evaluate(
            index,
            queries,
            split,
            build_config(command.EvaluateConfig, config, overrides or []),
            reporter,
            model=model,
            exposures=exposures,
            absent=absent,
            trec=trec,
            overwrite=overwrite,
        )

    _run(call, json_)


@app.command()
def calibrate(
    index: IndexFolder,
    queries: Annotated[Path, typer.Option(help="Photos with their true items.")],
    overrides: Overrides = None,
    split: Annotated[
        str, typer.Option(help="Which of them: none that was learned from or measured on.")
    ] = "val",
    absent: Annotated[
        Path | None, typer.Option(help="Photos of things not sold, in a table like queries.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The index's model, if not its own copy.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """Is it in the catalogue at all? Teaches an index to say how sure it is."""
    from oclear.commands import calibrate as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        settings = build_config(command.CalibrateConfig, config, overrides or [])
        return command.calibrate(index, queries, split, absent, settings, reporter, model=model)

    _run(call, json_)


@app.command()
def compare(
    data: Annotated[Path, typer.Option(help="Folder with items, queries and their truth.")],
    out: Out,
    overrides: Overrides = None,
    labels: Annotated[
        CompareLabels, typer.Option(help="Learn from the log, the truth, or each in turn.")
    ] = CompareLabels.both,
    wrong: Annotated[
        float | None,
        typer.Option(help="Share of wrong clicks, 0.4 if not given; short for simulation.wrong=."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Logs and trainings, 3 if not given; short for seeds=.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Heads on cached features only.")] = False,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Ours beside the methods that people would use instead, on equal terms."""
    from oclear.commands import compare as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        given = {"simulation.wrong": wrong, "seeds": seeds}
        short = [f"{key}={value}" for key, value in given.items() if value is not None]
        settings = build_config(
            command.CompareConfig, config, [*short, *(overrides or [])], command.PRESETS[quick]
        )
        return command.compare(
            data,
            labels.value,
            out,
            settings,
            reporter,
            command=shlex.join(["oclear", *sys.argv[1:]]),
            overwrite=overwrite,
            resume=resume,
        )

    _run(call, json_)


@app.command()
def ablate(
    data: Annotated[Path, typer.Option(help="Folder with items, queries and their truth.")],
    out: Out,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[first-experiments] [KEY.SUB=VALUE]...",
            help="The three experiments to begin with, instead of parts; configuration values.",
        ),
    ] = None,
    parts: Annotated[
        str | None, typer.Option(help="Parts to take out, with commas; all if not given.")
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="One more arm, 'name: key.sub=value key.sub=value'; may be repeated."),
    ] = None,
    labels: Annotated[Labels, typer.Option(help="Learn from the log or the truth.")] = Labels.log,
    wrong: Annotated[
        float | None,
        typer.Option(help="Share of wrong clicks, 0.4 if not given; short for simulation.wrong=."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Logs and trainings, 3 if not given; short for seeds=.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Heads and fusion on cached features only.")
    ] = False,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """What does each part of the method bring? Each taken out in turn."""
    from oclear.commands import ablate as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        words = [word for word in overrides or [] if word != command.FIRST_EXPERIMENTS]
        given = {"simulation.wrong": wrong, "seeds": seeds}
        short = [f"{key}={value}" for key, value in given.items() if value is not None]
        settings = build_config(
            command.AblateConfig, config, [*short, *words], command.PRESETS[quick]
        )
        is_first = len(words) < len(overrides or [])
        chosen = command.chosen_arms(settings, data, parts, arm or [], first=is_first)
        return command.ablate(
            data,
            labels.value,
            chosen,
            out,
            settings,
            reporter,
            command=shlex.join(["oclear", *sys.argv[1:]]),
            overwrite=overwrite,
            resume=resume,
        )

    _run(call, json_)


@app.command()
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
    model: Annotated[
        str | None, typer.Option(help="The index's model, if not its own copy.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """An index behind HTTP: search, items, feedback, and a page to try it."""
    from oclear.commands import serve as command
    from oclear.config import build_config
    from oclear.serving.config import ServeConfig

    def call(reporter: Reporter) -> CommandResult:
        given = {"host": host, "port": port}
        short = [f"{key}={json.dumps(v)}" for key, v in given.items() if v is not None]
        settings = build_config(ServeConfig, config, [*short, *(overrides or [])])
        return command.serve(index, settings, reporter, log=log, keys=keys, model=model)

    _run(call, json_)


@app.command()
def export(
    model: Model,
    out: Out,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """A model as ONNX files, both towers, that run without torch."""
    from oclear.commands import export as command

    _run(lambda reporter: command.export(model, out, reporter, overwrite=overwrite), json_)


@log_app.command("compact")
def log_compact(log: LogFolder, json_: Json = False) -> None:
    """What servers logged -> the tables that 'oclear categorize' reads."""
    from oclear.commands import log as command

    _run(lambda reporter: command.compact(log), json_)


@log_app.command("erase")
def log_erase(
    log: LogFolder,
    session: Annotated[str, typer.Option(help="The session_id to erase.")],
    json_: Json = False,
) -> None:
    """Forget a session: its searches, clicks and photos."""
    from oclear.commands import log as command

    _run(lambda reporter: command.erase(log, session), json_)


@keys_app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who gets it.")],
    keys: KeyFile,
    may: Annotated[
        list[Permission] | None, typer.Option(help="What it allows; everything if not given.")
    ] = None,
    json_: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from oclear.commands import keys as command

    _run(lambda reporter: command.add(keys, name, [p.value for p in may or []], reporter), json_)


@keys_app.command("remove")
def keys_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who had it.")],
    keys: KeyFile,
    json_: Json = False,
) -> None:
    """Take a key away; running servers know within a second or so."""
    from oclear.commands import keys as command

    _run(lambda reporter: command.remove(keys, name), json_)


@keys_app.command("list")
def keys_list(keys: KeyFile, json_: Json = False) -> None:
    """Who has a key, and for what?"""
    from oclear.commands import keys as command

    _run(lambda reporter: command.list_(keys), json_)


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


@store_app.command("add")
def store_add(
    index: IndexFolder,
    items: ItemsTable,
    overrides: Overrides = None,
    vectors: Annotated[
        Path | None, typer.Option(help="Document vectors of this model, from 'oclear embed'.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """Adds or updates these items and leaves all others; only what changed is encoded."""
    from oclear.commands.shared.indexing import IndexConfig
    from oclear.commands.store import add as command
    from oclear.config import build_config

    def call(reporter: Reporter) -> CommandResult:
        settings = build_config(IndexConfig, config, overrides or [])
        return command.add(index, items, vectors, settings, reporter)

    _run(call, json_)


@store_app.command("delete")
def store_delete(
    index: IndexFolder,
    item_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ITEM]...", help="Items to remove.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option("--items", help="A table whose item_id are to be removed.")
    ] = None,
    model_id: Annotated[
        str | None, typer.Option(help="Remove the vectors of a model that is not active, instead.")
    ] = None,
    json_: Json = False,
) -> None:
    """Removes items, or all vectors of a former model."""
    from oclear.commands.store import delete as command

    def call(reporter: Reporter) -> CommandResult:
        return command.delete(index, item_ids or [], items, model_id, reporter)

    _run(call, json_)


@store_app.command("stats")
def store_stats(index: IndexFolder, json_: Json = False) -> None:
    """Items, vectors, models, versions and disk of an index."""
    from oclear.commands.store import stats as command

    def call(reporter: Reporter) -> CommandResult:
        return command.stats(index, reporter)

    _run(call, json_)


@store_app.command("optimize")
def store_optimize(index: IndexFolder, json_: Json = False) -> None:
    """Joins small files, drops old versions, and brings an older format to the present one."""
    from oclear.commands.store import optimize as command

    def call(reporter: Reporter) -> CommandResult:
        return command.optimize(index, reporter)

    _run(call, json_)


@store_app.command("verify")
def store_verify(index: IndexFolder, json_: Json = False) -> None:
    """Reads everything and says what is wrong; exit code 2 where something is."""
    from oclear.commands.store import verify as command

    def call(reporter: Reporter) -> CommandResult:
        return command.verify(index, reporter)

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
