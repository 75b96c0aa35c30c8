"""The checks of a configuration as a whole, in the order in which they build on each other."""

from __future__ import annotations

from collections.abc import Callable

from hyco.config import physics_checks, plan_checks, source_checks
from hyco.config.schema import Config

CHECKS: tuple[Callable[[Config], None], ...] = (
    plan_checks.components_only_in_hybrid,
    source_checks.unknown_equation_is_only_learned,
    physics_checks.equation_is_known,
    physics_checks.equation_has_this_rank,
    physics_checks.fields_are_the_equations,
    source_checks.source_names_fields,
    physics_checks.parameters_are_the_equations,
    physics_checks.parameters_are_of_a_kind_that_can_be,
    physics_checks.learnable_parameters_exist,
    physics_checks.something_is_learned,
    physics_checks.true_parameters_are_admissible,
    physics_checks.bounds_are_admissible,
    physics_checks.guesses_are_admissible,
    physics_checks.bases_fit,
    physics_checks.solve_has_its_keys,
    plan_checks.simulations_exist,
    plan_checks.simulations_stand_once,
    plan_checks.training_is_apart,
    plan_checks.tasks_have_simulations,
    plan_checks.windows_fit,
    plan_checks.generated_windows_fit,
    plan_checks.points_are_cells,
    plan_checks.weights_leave_something,
    plan_checks.observations_leave_windows,
    plan_checks.evaluation_fits,
    plan_checks.network_fits_grid,
    plan_checks.curriculum_grows,
    plan_checks.amp_lowers_something,
    plan_checks.kernels_are_there,
)


def check(config: Config) -> None:
    """Refuse a plan that cannot work, before any work: the first problem is raised as ConfigError."""
    for one in CHECKS:
        one(config)
