"""`hyco convert ...`: files of one mode, or of the original HYCO-PhiFlow, become files of the other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hyco.cli.parts import Debug, examples, new_app

convert = new_app(
    help="Convert files of one mode, or of the original HYCO-PhiFlow, to those of the other.",
    epilog=examples(
        "hyco convert checkpoint results/burgers/checkpoints/synthetic_best.pth synthetic_best.phiml",
        "hyco convert cache data/cache/burgers data/cache/burgers_phiml",
        "hyco convert config old.yaml new.yaml",
        "hyco convert checkpoint --help",
    ),
)


@convert.callback(invoke_without_command=True)
def what(context: typer.Context) -> None:
    """What happens before any of the commands."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@convert.command(
    epilog=examples(
        "hyco convert checkpoint synthetic_best.pth synthetic_best.phiml",
        "hyco convert checkpoint last-000012/physical.phiml last-000012/physical.pth",
        "hyco convert checkpoint old/models/burgers_synthetic_model.pth surrogate.phiml --config old.yaml",
        "hyco convert checkpoint old/physical_2d.npz physical.phiml --config old.yaml "
        "model.physical.domain.x.resolution=32 model.physical.domain.y.resolution=32",
    )
)
def checkpoint(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A .pth or .phiml file, or an old one.")],
    target: Annotated[
        Path, typer.Argument(metavar="DST", help="The file to write; its ending says of which mode.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Settings of --config to change.", show_default=False),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="CONFIG",
            help="What a file of HYCO-PhiFlow was trained with; an old one will do.",
        ),
    ] = None,
    training: Annotated[
        bool,
        typer.Option(
            "--training", help="Of a network of HYCO-PhiFlow, convert Adam's state too, to go on with."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Convert a model's or a trainer's checkpoint, and keep the result only if it is the same."""
    from hyco.compat.checkpoints import convert_checkpoint

    result = convert_checkpoint(source, target, config=config, overrides=settings or (), training=training)
    typer.echo("\n".join(result.lines()))


@convert.command(
    epilog=examples(
        "hyco convert cache data/cache/burgers data/cache/burgers_phiml",
        "hyco convert cache data/cache/burgers data/cache/burgers --to legacy",
    )
)
def cache(
    source: Annotated[Path, typer.Argument(metavar="SRC_DIR", help="A folder of .pt or .h5 caches.")],
    target: Annotated[
        Path, typer.Argument(metavar="DST_DIR", help="The folder to write to; may be the same.")
    ],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="MODE", help="legacy (.pt) or phiml (.h5); by default, the other."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Convert caches of trajectories, so that the other mode need not make them anew."""
    from hyco.compat.caches import convert_caches

    typer.echo("\n".join(convert_caches(source, target, to=to).lines()))


OldConfig = Annotated[
    str,
    typer.Option(
        "--config", metavar="CONFIG", help="The configuration they were made with; an old one will do."
    ),
]


@convert.command(epilog=examples("hyco convert config old.yaml new.yaml"))
def config(
    source: Annotated[Path, typer.Argument(metavar="OLD", help="A configuration of HYCO-PhiFlow.")],
    target: Annotated[Path, typer.Argument(metavar="NEW", help="The file to write.")],
    debug: Debug = False,
) -> None:
    """Write an old configuration in hyco's keys, and say what changed and what means nothing any more."""
    from hyco.compat.configs import convert_config
    from hyco.config.upgrade import table

    typer.echo(table(convert_config(source, target)))
    typer.echo(f"written: {target}")


@convert.command(
    epilog=examples(
        "hyco convert trajectories old/data/burgers data/burgers --config old.yaml",
        "hyco convert trajectories old/data/cache/burgers data/burgers --config old.yaml",
    )
)
def trajectories(
    source: Annotated[
        Path, typer.Argument(metavar="SRC_DIR", help="A folder of Scenes, of .pt caches, or of .npz files.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="DST_DIR", help="The folder for sim_000000.h5 and so on.")
    ],
    config: OldConfig,
    debug: Debug = False,
) -> None:
    """Convert trajectories of HYCO-PhiFlow to hyco's, so that `hyco train` learns from them."""
    from hyco.compat.originals import convert_trajectories
    from hyco.config import load_config

    written = convert_trajectories(source, target, load_config(config))
    typer.echo(f"{len(written)} trajectories -> {target}")


@convert.command(
    epilog=examples(
        "hyco convert scene results/scenes/sim_000000 data/burgers/sim_000000.h5 --config burgers",
        "hyco convert scene data/burgers/sim_000000.h5 results/scenes/sim_000000 --config burgers",
    )
)
def scene(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A Scene folder, or a trajectory .h5.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A trajectory .h5, or a Scene folder.")],
    config: OldConfig,
    debug: Debug = False,
) -> None:
    """Convert one PhiFlow Scene to a trajectory, or a trajectory to a Scene."""
    from hyco.compat.originals import convert_scene
    from hyco.config import load_config

    convert_scene(source, target, load_config(config))
    typer.echo(f"{source} -> {target}")
