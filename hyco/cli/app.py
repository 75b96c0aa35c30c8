"""The commands.  Each imports what it needs when it runs, so that help is quick and loads no framework."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from hyco.cli import compare as comparing
from hyco.cli import watch as watching
from hyco.cli.convert import convert
from hyco.cli.json_lines import OPTION
from hyco.cli.outcome import exit_status
from hyco.cli.parts import Debug
from hyco.cli.parts import examples as _examples
from hyco.cli.parts import new_app as _app

app = _app(
    help="Hybrid-cooperative learning of PDEs: a physical model and a neural surrogate teach each other.",
    epilog=_examples(
        "hyco configs",
        "hyco run burgers",
        "hyco run burgers migration.mode=legacy trainer.synthetic.epochs=2",
        "hyco run --help",
    ),
)
app.add_typer(convert, name="convert")
app.command(epilog=_examples(*comparing.EXAMPLES))(comparing.compare)
app.command(epilog=_examples(*watching.EXAMPLES))(watching.watch)
historic = _app()

ConfigName = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="The name of a shipped configuration, or a YAML file."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE...",
        help="Settings to change, such as trainer.synthetic.epochs=2.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the training in the output folder.")]
Force = Annotated[
    bool, typer.Option("--force", help="Resume although settings that change results are others.")
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--time-limit",
        metavar="TIME",
        help="Stop before it is over, with the state saved: 23h50m, 90m, 3600, 1:30:00.",
        show_default=False,
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        metavar="N",
        min=1,
        help="Do it N times, with the seeds from general.seed on, and report median and spread.",
        show_default=False,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show only warnings, errors, and the headlines at the end.")
]
JsonLogs = Annotated[bool, typer.Option(OPTION, help="Write one JSON object per line on stderr.")]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line `hyco ARGUMENTS`; raises SystemExit with its status.

    0: done.  1: a failure at run time.  2: bad input.  75: stopped by a scheduler or a time limit, to be
    resumed.  130: interrupted.
    """
    module = Path(sys.argv[0]).name == "__main__.py"
    _run(app, "python -m hyco" if module else "hyco", arguments)


def historic_main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line `python run.py ARGUMENTS`, which is `hyco run` in other words."""
    _run(historic, "python run.py", arguments)


def _run(commands: typer.Typer, program: str, arguments: Sequence[str] | None) -> NoReturn:
    given = list(sys.argv[1:] if arguments is None else arguments)
    typed = f"{program} {shlex.join(given)}"
    raise SystemExit(
        exit_status(
            lambda: commands(given, standalone_mode=False, prog_name=program),
            typed=typed,
            debug="--debug" in given,
            json=OPTION in given,
        )
    )


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """What happens before any command."""
    if version:
        from hyco import __version__

        typer.echo(f"hyco {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog=_examples(
        "hyco run burgers",
        "hyco run burgers trainer.synthetic.epochs=2 general.output_dir=results/short",
        "hyco run burgers migration.mode=legacy trainer.precision=float64",
        "hyco run experiments/mine.yaml --resume",
        "hyco run heat general.mode=all --seeds 5",
        "hyco run experiments/mine.yaml --resume --time-limit 23h50m",
    )
)
def run(
    config: ConfigName,
    overrides: Overrides = None,
    resume: Resume = False,
    force: Force = False,
    time_limit: Limit = None,
    seeds: Seeds = None,
    quiet: Quiet = False,
    json_logs: JsonLogs = False,
    debug: Debug = False,
) -> None:
    """Do the tasks of an experiment: generate data, train, evaluate, as general.tasks says."""
    options = {"resume": resume, "force": force, "seeds": seeds}
    _work("run", config, overrides, time_limit, quiet=quiet, json=json_logs, debug=debug, **options)


@app.command(epilog=_examples("hyco generate burgers", "hyco generate burgers data.num_simulations=20"))
def generate(
    config: ConfigName,
    overrides: Overrides = None,
    seeds: Seeds = None,
    quiet: Quiet = False,
    json_logs: JsonLogs = False,
    debug: Debug = False,
) -> None:
    """Simulate the observations that are not there yet."""
    _work("generate", config, overrides, quiet=quiet, json=json_logs, debug=debug, seeds=seeds)


@app.command(
    epilog=_examples(
        "hyco train burgers",
        "hyco train burgers general.mode=physical trainer.physical.epochs=3",
        "hyco train burgers --resume",
    )
)
def train(
    config: ConfigName,
    overrides: Overrides = None,
    resume: Resume = False,
    force: Force = False,
    time_limit: Limit = None,
    seeds: Seeds = None,
    quiet: Quiet = False,
    json_logs: JsonLogs = False,
    debug: Debug = False,
) -> None:
    """Train on simulations that are there."""
    options = {"resume": resume, "force": force, "seeds": seeds}
    _work("train", config, overrides, time_limit, quiet=quiet, json=json_logs, debug=debug, **options)


@app.command(epilog=_examples("hyco evaluate burgers", "hyco evaluate burgers evaluation.horizon=40"))
def evaluate(
    config: ConfigName,
    overrides: Overrides = None,
    seeds: Seeds = None,
    quiet: Quiet = False,
    json_logs: JsonLogs = False,
    debug: Debug = False,
) -> None:
    """Judge the best checkpoints on unseen simulations, and write the report."""
    _work("evaluate", config, overrides, quiet=quiet, json=json_logs, debug=debug, seeds=seeds)


@app.command(
    epilog=_examples(
        "hyco modes burgers",
        "hyco modes burgers migration.mode=hybrid 'migration.components={synthetic_model: phiml}'",
        "hyco modes my.yaml --next",
    )
)
def modes(
    config: ConfigName,
    overrides: Overrides = None,
    next_: Annotated[
        bool, typer.Option("--next", help="Name the next component to move, and the command that proves it.")
    ] = False,
    order: Annotated[
        str, typer.Option("--order", metavar="ORDER", help="Of the moves: models first, or forward.")
    ] = "models",
    debug: Debug = False,
) -> None:
    """Show which implementation each component gets, and who chose it; or which one to move next."""
    from hyco.cli.tables import show_modes, show_next
    from hyco.config import load_config
    from hyco.errors import ConfigError
    from hyco.migration.factory import check_backend, choices, mode_from
    from hyco.migration.road import next_step

    loaded = load_config(config, overrides or ())
    with mode_from(loaded, config):
        if next_ and loaded.trainer.backend == "jax":
            raise ConfigError(
                "trainer.backend: components move to phiml one by one in PyTorch, since gradients cannot "
                "cross to JAX. Move them with trainer.backend=torch, and set it to jax at the end."
            )
        if next_:
            show_next(next_step(loaded, order), config, overrides or (), loaded.checkpoint_dir)
        else:
            show_modes(choices(loaded))
            check_backend(loaded)


@app.command(epilog=_examples("hyco configs"))
def configs(debug: Debug = False) -> None:
    """List the configurations that ship with hyco."""
    from hyco.cli.tables import show_configs
    from hyco.config import shipped_configs

    show_configs(shipped_configs())


@app.command(epilog=_examples("hyco warmup", "hyco warmup trainer.device=cuda"))
def warmup(overrides: Overrides = None, debug: Debug = False) -> None:
    """Compile now, and keep, what the first run on this machine would wait for; needs no configuration."""
    from hyco.cli.display import display
    from hyco.cli.logs import shown_logs
    from hyco.migration.loading import loading

    with (
        loading(),
        display(quiet=True) as (_, console),
        shown_logs(console, quiet=True, debug=debug),
    ):
        from hyco.tasks.warming import warm_up

        typer.echo("compiling, once on this machine: up to a minute")
        warm_up(overrides or (), say=typer.echo)
    typer.echo("done; runs find it on disk from now on")


@historic.command(
    epilog=_examples(
        "python run.py --config-name=burgers.yaml",
        "python run.py --config-path=experiments --config-name=mine.yaml trainer.synthetic.epochs=2",
    )
)
def run_py(
    config_name: Annotated[
        str, typer.Option("--config-name", metavar="NAME", help="A shipped configuration, or a YAML file.")
    ],
    overrides: Overrides = None,
    config_path: Annotated[
        Path | None, typer.Option("--config-path", metavar="DIR", help="The folder of the YAML file.")
    ] = None,
    resume: Resume = False,
    force: Force = False,
    time_limit: Limit = None,
    seeds: Seeds = None,
    quiet: Quiet = False,
    json_logs: JsonLogs = False,
    debug: Debug = False,
) -> None:
    """Do the tasks of an experiment: the historic spelling of `hyco run`."""
    config = config_name
    if config_path is not None:
        config = str(config_path / f"{config_name.removesuffix('.yaml')}.yaml")
    options = {"resume": resume, "force": force, "seeds": seeds}
    _work("run", config, overrides, time_limit, quiet=quiet, json=json_logs, debug=debug, **options)


def _work(
    task: str,
    config: str,
    overrides: Sequence[str] | None,
    time_limit: str | None = None,
    *,
    quiet: bool,
    json: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Do a task of `hyco.tasks` and show how it goes."""
    from hyco.cli.display import display
    from hyco.cli.logs import shown_logs
    from hyco.errors import Interrupted
    from hyco.migration.loading import loading

    began = time.monotonic()
    # Threads of GNU OpenMP spin while they wait; beside another busy process that slows torch many times.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        with (
            loading(),
            display(quiet=quiet, json=json) as (progress, console),
            shown_logs(console, quiet=quiet, debug=debug, json=json),
        ):
            from hyco import tasks
            from hyco.tasks.limits import TimeLimit, parse_duration

            if time_limit is not None:
                options["time_limit"] = TimeLimit(parse_duration(time_limit), time_limit, began)
            getattr(tasks, task)(config, overrides or (), progress=progress, **options)
    except KeyboardInterrupt:
        raise Interrupted("interrupted before the work began; nothing was changed") from None
