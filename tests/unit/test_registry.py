"""The registry: who is in force, who chose it, and what it says when it cannot tell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread
from types import ModuleType

import pytest

import hyco
from hyco.errors import ModeError
from hyco.migration import registry
from hyco.migration.registry import (
    SIDES,
    Component,
    MigrationMode,
    current_mode,
    implementations,
    mode_of,
    register,
    reset,
    resolve,
    set_mode,
    use_mode,
)

LEGACY, HYBRID, PHIML = MigrationMode.LEGACY, MigrationMode.HYBRID, MigrationMode.PHIML


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No mode chosen before, none left behind."""
    before = registry._process
    monkeypatch.delenv("HYCO_MODE", raising=False)
    reset()
    yield
    registry._process = before


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Both sides as if imported: burgers and a dataset on each, heat on the legacy one alone."""
    monkeypatch.setattr(registry, "_implementations", {})
    classes: dict[str, type] = {}
    for side in SIDES:
        monkeypatch.setitem(sys.modules, f"hyco.{side}", ModuleType(f"hyco.{side}"))
        for component, name in [
            ("physical_model", "burgers"),
            ("physical_model", "heat"),
            ("dataset", "default"),
        ]:
            if (name, side) != ("heat", PHIML):
                cls = type(f"{name}_{side}", (), {"mode": str(side)})
                classes[f"{side}:{name}"] = register(component, name, side)(cls)
    return classes


def test_the_default_is_legacy() -> None:
    assert current_mode() is LEGACY
    assert [mode_of(c) for c in Component] == [(LEGACY, "default")] * 7


def test_precedence_is_use_mode_then_set_mode_then_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYCO_MODE", "phiml")
    assert mode_of("dataset") == (PHIML, "HYCO_MODE=phiml")
    set_mode("legacy")
    assert mode_of("dataset") == (LEGACY, "set by hyco.set_mode('legacy')")
    with use_mode("phiml"):
        assert mode_of("dataset") == (PHIML, "set by hyco.use_mode('phiml')")
        set_mode("hybrid", {"dataset": "legacy"})
        assert mode_of("dataset")[0] is PHIML
    assert mode_of("dataset") == (LEGACY, "set by hyco.set_mode('hybrid', ...)")
    reset()
    assert mode_of("dataset") == (PHIML, "HYCO_MODE=phiml")


def test_the_variable_is_read_when_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("legacy", "hybrid", "phiml"):
        monkeypatch.setenv("HYCO_MODE", value)
        assert current_mode() == value
    monkeypatch.setenv("HYCO_MODE", "")
    assert current_mode() is LEGACY
    monkeypatch.setenv("HYCO_MODE", "phimll")
    with pytest.raises(ModeError, match=r"^HYCO_MODE: unknown mode 'phimll'\. Did you mean 'phiml'\?$"):
        mode_of("dataset")
    set_mode("legacy")
    assert current_mode() is LEGACY


def test_hybrid_gives_each_component_its_side_and_legacy_to_the_others() -> None:
    set_mode("hybrid", components={"synthetic_model": "phiml", Component.DATASET: PHIML})
    found = {c.value: mode_of(c)[0] for c in Component}
    assert found.pop("synthetic_model") is found.pop("dataset") is PHIML
    assert set(found.values()) == {LEGACY}
    set_mode("hybrid")
    assert current_mode() is HYBRID and mode_of("dataset")[0] is LEGACY


def test_one_implementation_wins_over_its_component() -> None:
    set_mode("hybrid", {"physical_model": "phiml", "physical_model/burgers": "legacy"})
    assert mode_of("physical_model")[0] is PHIML
    assert mode_of("physical_model", "heat")[0] is PHIML
    assert mode_of("physical_model", "burgers")[0] is mode_of("physical_model/burgers")[0] is LEGACY


def test_a_source_says_who_chose() -> None:
    set_mode("phiml", source="configs/burgers.yaml")
    assert mode_of("dataset") == (PHIML, "configs/burgers.yaml")
    with use_mode("legacy", source="a test"):
        assert mode_of("dataset") == (LEGACY, "a test")


def test_use_mode_nests_and_restores_on_error() -> None:
    with pytest.raises(KeyError), use_mode("phiml"):
        with use_mode("hybrid", {"dataset": "phiml"}):
            assert current_mode() is HYBRID
        assert current_mode() is PHIML
        with pytest.raises(ModeError), use_mode("nonsense"):
            pass
        assert current_mode() is PHIML
        raise KeyError
    assert current_mode() is LEGACY


def test_a_failed_set_mode_changes_nothing() -> None:
    set_mode("phiml")
    with pytest.raises(ModeError):
        set_mode("hybrid", {"dataset": "phiml", "datset": "phiml"})
    assert mode_of("dataset") == (PHIML, "set by hyco.set_mode('phiml')")


def test_a_later_change_of_the_given_components_does_not_count() -> None:
    components = {"dataset": "phiml"}
    set_mode("hybrid", components)
    components["dataset"] = "legacy"
    assert mode_of("dataset")[0] is PHIML


@pytest.mark.parametrize(
    ("mode", "components", "message"),
    [
        ("phiflow", None, r"unknown mode 'phiflow'\. Did you mean 'phiml'\?"),
        ("PHIML", None, r"unknown mode 'PHIML'\. Did you mean 'phiml'\?"),
        (
            "hybrid",
            {"physical_modell": "phiml"},
            r"component 'physical_modell'\. Did you mean 'physical_model'",
        ),
        ("hybrid", {"dataset": "torch"}, r"dataset: unknown side 'torch'\. Known: legacy, phiml"),
        ("hybrid", {"dataset": "hybrid"}, r"dataset: unknown side 'hybrid'\. Known: legacy, phiml"),
        (
            "phiml",
            {"dataset": "legacy"},
            r"components \(dataset\) .* mode is 'phiml'\. Set the mode to 'hybrid'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_way_out(
    mode: str, components: dict[str, str] | None, message: str
) -> None:
    for choose in (set_mode, lambda *a, **k: use_mode(*a, **k).__enter__()):
        with pytest.raises(ModeError, match=message):
            choose(mode, components)
        with pytest.raises(ModeError, match=r"^burgers\.yaml: "):
            choose(mode, components, source="burgers.yaml")
    assert current_mode() is LEGACY


def test_an_empty_map_of_components_fits_every_mode() -> None:
    for mode in MigrationMode:
        set_mode(mode, {})
        assert current_mode() is mode


def test_threads_see_set_mode_but_not_the_use_mode_of_another() -> None:
    set_mode("phiml")
    seen: list[MigrationMode] = []
    with use_mode("legacy"):
        thread = Thread(target=lambda: seen.append(current_mode()))
        thread.start()
        thread.join()
        assert current_mode() is LEGACY
    assert seen == [PHIML]


def test_threads_that_use_different_modes_do_not_meet() -> None:
    barrier = Barrier(4, timeout=30)

    def work(i: int) -> bool:
        mode = SIDES[i % 2]
        with use_mode(mode):
            barrier.wait()
            inside = [current_mode() is mode for _ in range(200)]
            barrier.wait()
        return all(inside) and current_mode() is LEGACY

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4


def test_a_reader_never_sees_half_of_a_change() -> None:
    choices = {
        "one": {"dataset": "phiml", "data_manager": "legacy"},
        "two": {"dataset": "legacy", "data_manager": "phiml"},
    }
    set_mode("hybrid", choices["one"], source="one")
    running = True

    def write() -> None:
        while running:
            for source, components in choices.items():
                set_mode("hybrid", components, source=source)

    writer = Thread(target=write)
    writer.start()
    try:
        for _ in range(2000):
            side, source = mode_of("dataset")
            assert side == choices[source]["dataset"]
    finally:
        running = False
        writer.join()


def test_tasks_of_one_thread_do_not_meet() -> None:
    async def work(mode: MigrationMode) -> list[MigrationMode]:
        seen = []
        with use_mode(mode):
            for _ in range(5):
                await asyncio.sleep(0)
                seen.append(current_mode())
        return seen

    async def both() -> list[list[MigrationMode]]:
        return await asyncio.gather(*(work(side) for side in SIDES))

    assert asyncio.run(both()) == [[LEGACY] * 5, [PHIML] * 5]


def test_resolve_gives_the_class_of_the_side_in_force(sides: dict[str, type]) -> None:
    assert resolve("dataset") is sides["legacy:default"]
    with use_mode("phiml"):
        assert resolve(Component.DATASET) is sides["phiml:default"]
        assert resolve("physical_model", "burgers") is sides["phiml:burgers"]
    with use_mode("hybrid", {"physical_model/burgers": "phiml"}):
        assert resolve("physical_model", "burgers") is sides["phiml:burgers"]
        assert resolve("physical_model", "heat") is sides["legacy:heat"]


def test_implementations_are_listed_by_side(sides: dict[str, type]) -> None:
    assert implementations("physical_model", "legacy") == ["burgers", "heat"]
    assert implementations("physical_model", PHIML) == ["burgers"]
    assert implementations("physical_model") == ["burgers", "heat"]
    assert implementations("synthetic_model") == []


def test_an_implementation_that_is_not_there_is_named_with_a_suggestion(sides: dict[str, type]) -> None:
    set_mode("phiml", source="burgers.yaml")
    with pytest.raises(
        ModeError,
        match=r"phiml side \(burgers\.yaml\) has no physical_model 'burger'\. Did you mean 'burgers'",
    ):
        resolve("physical_model", "burger")
    with pytest.raises(ModeError, match=r"has no physical_model 'heat'\. Known: burgers"):
        resolve("physical_model", "heat")
    with pytest.raises(ModeError, match="unknown component 'physics'"):
        resolve("physics")


def test_a_listed_implementation_that_its_side_lacks_is_refused(sides: dict[str, type]) -> None:
    set_mode("hybrid", {"physical_model/burgrs": "phiml"})
    with pytest.raises(ModeError, match=r"list physical_model/burgrs.*phiml side.*Did you mean 'burgers'"):
        resolve("physical_model", "burgers")
    assert resolve("dataset") is sides["legacy:default"]


def test_a_class_must_be_of_the_side_it_registers_on(sides: dict[str, type]) -> None:
    with pytest.raises(ModeError, match=r"registers on the phiml side, but its mode is 'legacy'"):

        @register("dataset", "other", "phiml")
        class Wrong:
            mode = "legacy"

    with pytest.raises(ModeError, match="its mode is None"):
        register("dataset", "other", "legacy")(type("Bare", (), {}))
    with pytest.raises(ModeError, match="unknown side 'hybrid'"):
        register("dataset", "other", "hybrid")
    assert implementations("dataset") == ["default"]


def test_a_name_is_registered_once(sides: dict[str, type]) -> None:
    other = type("Other", (), {"mode": "legacy"})
    with pytest.raises(ModeError, match=r"dataset/default on the legacy side is .*default_legacy already"):
        register("dataset", "default", "legacy")(other)
    assert resolve("dataset") is sides["legacy:default"]
    again = type("default_legacy", (), {"mode": "legacy"})
    register("dataset", "default", "legacy")(again)
    assert resolve("dataset") is again


@pytest.mark.parametrize(
    ("missing", "pip"), [("phi", "phiflow"), ("phiml.math", "phiml"), ("torch", "torch")]
)
def test_a_missing_package_gets_its_pip_line(monkeypatch: pytest.MonkeyPatch, missing: str, pip: str) -> None:
    def fail(name: str) -> ModuleType:
        assert name == "hyco.phiml"
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(registry.importlib, "import_module", fail)
    set_mode("phiml")
    with pytest.raises(ModeError, match=rf"phiml side .*set_mode.*`pip install {pip}`"):
        resolve("dataset")


def test_a_defect_of_hyco_is_not_taken_for_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> ModuleType:
        raise ModuleNotFoundError("No module named 'hyco.legacy.gone'", name="hyco.legacy.gone")

    monkeypatch.setattr(registry.importlib, "import_module", fail)
    with pytest.raises(ModuleNotFoundError):
        resolve("dataset")


def test_choosing_a_mode_imports_no_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    set_mode("hybrid", {"dataset": "phiml", "physical_model/burgers": "phiml"})
    assert mode_of("physical_model/burgers")[0] is PHIML


def test_the_public_names_are_those_of_the_registry() -> None:
    assert hyco.set_mode is set_mode and hyco.use_mode is use_mode and hyco.mode_of is mode_of
    assert hyco.current_mode is current_mode
    assert hyco.Component is Component and hyco.MigrationMode is MigrationMode
    assert {"set_mode", "load_config", "__version__"} <= set(dir(hyco))
    with pytest.raises(AttributeError, match="no attribute 'set_mod'"):
        _ = hyco.set_mod
