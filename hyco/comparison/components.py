"""Every component of two mixtures on the same input: what it computes, cold and warm, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hyco.comparison import cases as whole
from hyco.comparison.cast import Cast
from hyco.comparison.findings import Finding, Section, Timing, failure, judge, worst
from hyco.migration.factory import choices
from hyco.migration.shadow import cases
from hyco.migration.shadow.recorder import Part
from hyco.migration.shadow.rounding import Slopes

WARM = 3  # calls before times count: the first one traces, the next ones optimise what was traced
ROUNDS = (5, 25)  # at least, at most
SECONDS = 1.0  # that the rounds of one call may take beyond the least, both sides together


@dataclass(frozen=True)
class Call:
    """One kind of call: a case, on which part of a cast, with what.

    Args:
        component, what: which component does it, and the call in words.
        case: see `hyco.migration.shadow.cases.Case`.
        of: the component that is called, of a cast.
        arguments: in the reference's own tensors, made from its cast.
        timed: whether repeating it takes as long every time.
    """

    component: str
    what: str
    case: Any
    of: Callable[[Cast], Any]
    arguments: Callable[[Cast], Sequence[Any]] = lambda cast: ()
    timed: bool = True


def _state(cast: Cast, model: Any) -> Any:
    return model.arrays.state(cast.states())


def _first_batch(cast: Cast, trainer: Any) -> Any:
    return cast.batch(trainer.model.arrays)


def _guess(cast: Cast) -> dict[str, Any]:
    """The learnable parameters where the search for them begins."""
    guess = cast.config.initial_parameters()
    return {name: guess[name] for name in cast.config.learnable}


def _steps(cast: Cast) -> int:
    return cast.config.evaluation.num_frames - 1


CALLS = (
    Call("data_manager", "load from the cache", whole.Read(), lambda c: c,
         lambda c: (c.config.trainer.train_sim,)),
    Call("dataset", "windows in order", cases.GetBatch(), lambda c: c.dataset,
         lambda c: (range(min(len(c.dataset), c.config.trainer.batch_size)),)),
    Call("dataset", "a shuffled pass", whole.Pass(), lambda c: c.dataset,
         lambda c: (c.config.trainer.batch_size,)),
    Call("dataset", "a pass with generated windows", whole.Pass(), lambda c: c.dataset,
         lambda c: (c.config.trainer.batch_size, whole.trajectories(c))),
    Call("physical_model", "initial conditions", whole.InitialConditions(), lambda c: c.physical_model,
         timed=False),
    Call("physical_model", "one step", cases.Step(), lambda c: c.physical_model,
         lambda c: (_state(c, c.physical_model),)),
    Call("physical_model", "a rollout", cases.PhysicalRollout(), lambda c: c.physical_model,
         lambda c: (_state(c, c.physical_model), _steps(c))),
    Call("synthetic_model", "initial weights", whole.InitialWeights(), lambda c: c, timed=False),
    Call("synthetic_model", "one step", cases.Network(), lambda c: c.synthetic_model,
         lambda c: (_state(c, c.synthetic_model),)),
    Call("synthetic_model", "a rollout", cases.SyntheticRollout(), lambda c: c.synthetic_model,
         lambda c: (_state(c, c.synthetic_model), _steps(c))),
    Call("physical_trainer", "loss", cases.PhysicalLoss(), lambda c: c.physical_trainer,
         lambda c: (_first_batch(c, c.physical_trainer),)),
    Call("physical_trainer", "loss and gradients", cases.LossAndGradients(), lambda c: c.physical_trainer,
         lambda c: (_first_batch(c, c.physical_trainer), _guess(c))),
    Call("physical_trainer", f"{whole.ITERATIONS} iterations", whole.Fit(), lambda c: c, timed=False),
    Call("synthetic_trainer", "loss", cases.SyntheticLoss(), lambda c: c.synthetic_trainer,
         lambda c: (_first_batch(c, c.synthetic_trainer),)),
    Call("synthetic_trainer", "one update", cases.Update(), lambda c: c.synthetic_trainer,
         lambda c: (_first_batch(c, c.synthetic_trainer),)),
    Call("synthetic_trainer", f"{whole.UPDATES} updates", whole.Updates(), lambda c: c, timed=False),
    Call("hybrid_trainer", "what a cycle generates", whole.Generation(), lambda c: c),
)  # fmt: skip


def compare_components(reference: Cast, candidate: Cast) -> Iterator[Section]:
    """A section for every component that the configuration needs, in the order of the data's way."""
    with reference.mixture.in_force():
        rows = choices(reference.config)
    for row in rows:
        findings: list[Finding] = []
        timings: list[Timing] = []
        for call in CALLS:
            if call.component == row.component:
                found, timing = compare_call(call, reference, candidate)
                findings += found
                timings += timing
        sides = reference.mixture.sides[row.component], candidate.mixture.sides[row.component]
        yield Section(row.component, row.implementation, sides, findings, timings)


def compare_call(call: Call, reference: Cast, candidate: Cast) -> tuple[list[Finding], list[Timing]]:
    """The differences of one call, cold and warm, and its times.

    Whatever the candidate raises is a finding that fails; what the reference raises is raised.
    """
    control = call.of(reference)
    given = call.case.given(control, *call.arguments(reference))
    slopes = Slopes()

    def once(component: Any) -> Callable[[], list[Part]]:
        repeat = call.case.repetition(component, given)
        return lambda: call.case.parts(component, repeat(), given)

    def expected() -> list[Part]:
        parts = once(control)()
        return list(slopes.weigh(parts, given)) if isinstance(given, cases.Learning) else parts

    def compared() -> list[Finding]:
        wanted = expected()
        try:
            return judge(call.what, wanted, once(call.of(candidate))(), reference.config.trainer.precision)
        except Exception as error:
            return [failure(call.what, f"the candidate raised {type(error).__name__}: {error}")]

    findings = compared()
    if not call.timed or any(f.note and not f.passed for f in findings):
        return findings, []
    timing = _timed(call.what, once(control), once(call.of(candidate)))
    return worst([*findings, *compared()]), [timing]


def _timed(what: str, reference: Callable[[], Any], candidate: Callable[[], Any]) -> Timing:
    """Both in turn, so that what else the machine does meets both."""
    for _ in range(WARM):
        pair = _seconds(reference), _seconds(candidate)
    least, most = ROUNDS
    rounds = max(least, min(most, int(SECONDS / max(sum(pair), 1e-6))))
    pairs = [(_seconds(reference), _seconds(candidate)) for _ in range(rounds)]
    return Timing(what, [a for a, _ in pairs], [b for _, b in pairs])


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
