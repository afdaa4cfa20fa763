"""Trials: kept, compared in pairs, shown."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ttest_rel

from oclear.errors import FormatError
from oclear.evaluation.trials import Trial, TrialStore, summarize
from oclear.evaluation.trials.page import write_page
from oclear.evaluation.trials.paired import holm, paired_bootstrap
from oclear.evaluation.trials.plot import write_plot
from oclear.evaluation.trials.table import markdown, table_cells

IDS = np.array([f"q{n}" for n in range(400)], object)
TITLES = {"ours": "Ours", "other": "Another <b>"}


@pytest.fixture
def trial() -> Callable[..., Trial]:
    """``trial("ours", share right, seed=0)``: the easiest photos are found first by all."""

    def make(arm: str, right: float, seed: int = 0, condition: str = "log") -> Trial:
        ease = np.linspace(0, 1, len(IDS)) + np.random.default_rng(seed).normal(0, 0.1, len(IDS))
        hits = (np.argsort(np.argsort(ease)) < right * len(IDS)).astype(float)
        measures = {"identical@1": hits, "map@10": hits / 2}
        facts = {"cosines_an_epoch": 1234}
        return Trial(arm, condition, seed, IDS, measures, 60.0 * (seed + 1), facts)

    return make


# Kept


def test_what_is_kept_is_found_again(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    store, kept = TrialStore(tmp_path), trial("image only & more", 0.5, seed=2)
    assert store.find(kept.arm, "log", 2) is None
    store.keep(kept)
    found = TrialStore(tmp_path).find(kept.arm, "log", 2)
    assert found is not None
    assert np.array_equal(found.query_ids, kept.query_ids)
    assert all(np.array_equal(found.measures[n], kept.measures[n]) for n in kept.measures)
    assert (found.seconds, found.facts) == (kept.seconds, kept.facts)
    assert store.find(kept.arm, "log", 1) is None and store.find(kept.arm, "truth", 2) is None


def test_choices_are_kept(tmp_path: Path) -> None:
    store = TrialStore(tmp_path)
    candidate = {"rate": 3.0}
    assert store.find_choice("ours", "log", 3, 1, candidate) is None
    store.keep_choice("ours", "log", 3, 1, 0.625, candidate)
    assert store.find_choice("ours", "log", 3, 1, candidate) == 0.625
    assert store.find_choice("ours", "log", 3, 0, candidate) is None
    assert store.find_choice("ours", "truth", 3, 1, candidate) is None
    assert store.find_choice("ours", "log", 3, 1, {"rate": 3.0, "margin": 0.1}) is None, (
        "another one"
    )
    (tmp_path / "choices" / "log" / "ours" / "3-seed-1.json").write_text("[1]")
    with pytest.raises(FormatError, match="damaged"):
        store.find_choice("ours", "log", 3, 1, candidate)


def test_damaged_files_and_other_formats_are_refused(
    tmp_path: Path, trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TrialStore(tmp_path)
    store.keep(trial("ours", 0.5))
    with monkeypatch.context() as patch:
        patch.setattr("oclear.evaluation.trials.store._FORMAT", 2)
        with pytest.raises(FormatError, match="of format 1, this version reads 2"):
            store.find("ours", "log", 0)
    (file,) = tmp_path.rglob("seed-0.parquet")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(FormatError, match="damaged"):
        store.find("ours", "log", 0)


# Compared


def test_one_seed_agrees_with_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.06, 0.15):
        one, other = rng.random(500) + shift, rng.random(500)
        expected = ttest_rel(one, other)
        low, high = expected.confidence_interval()
        found = paired_bootstrap((one - other)[None])
        assert found.value == pytest.approx((one - other).mean())
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.006)
        assert found.p == pytest.approx(expected.pvalue, abs=0.03)


def test_photos_measured_again_are_no_new_photos() -> None:
    differences = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (1, 300), p=[0.1, 0.75, 0.15])
    once, thrice = (
        paired_bootstrap(differences),
        paired_bootstrap(np.repeat(differences, 3, axis=0)),
    )
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.05)


def test_seeds_that_disagree_widen_the_interval() -> None:
    photos = np.zeros((3, 300))
    photos[0, :60], photos[1, :30] = 1.0, 1.0
    same = np.full((3, 300), 0.0)
    same[:, :30] = 1.0
    apart, together = paired_bootstrap(photos), paired_bootstrap(same)
    assert apart.value == pytest.approx(together.value)
    assert apart.high - apart.low > 1.5 * (together.high - together.low)
    assert together.p < 0.01 < apart.p, "one seed of three found nothing"


def test_no_difference_is_not_significant() -> None:
    found = paired_bootstrap(np.zeros((3, 50)))
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_differences_that_are_none_are_refused() -> None:
    for wrong in (np.empty((0, 3)), np.array([[np.nan, 1.0]])):
        with pytest.raises(ValueError, match="finite differences"):
            paired_bootstrap(wrong)


def test_holm_keeps_the_order_and_never_lowers() -> None:
    ps = list(np.random.default_rng(0).random(20) ** 3)
    adjusted = holm(ps)
    assert all(a >= p for a, p in zip(adjusted, ps, strict=True)) and max(adjusted) <= 1
    assert np.all(np.diff(np.array(adjusted)[np.argsort(ps)]) >= 0)
    assert min(adjusted) == pytest.approx(20 * min(ps))


# Summarised and shown


def test_a_summary_is_over_seeds_and_photos(trial: Callable[..., Trial]) -> None:
    trials = [
        trial(arm, right + 0.02 * s, s)
        for arm, right in (("other", 0.5), ("ours", 0.6))
        for s in (1, 0)
    ]
    other, ours = summarize(trials, "ours")
    assert ours.measures["identical@1"]["value"] == pytest.approx(0.61)
    assert ours.against == {} and ours.seeds == 2 and ours.minutes == pytest.approx(1.5)
    assert other.against["identical@1"].value == pytest.approx(-0.1)
    assert other.against["identical@1"].high < 0
    assert other.seed_spread["identical@1"] == pytest.approx(0.02 / np.sqrt(2))


def test_other_photos_or_seeds_are_no_comparison(trial: Callable[..., Trial]) -> None:
    ours = trial("ours", 0.5)
    with pytest.raises(ValueError, match="other seeds"):
        summarize([ours, trial("other", 0.5, seed=1)], "ours")
    strange = Trial("other", "log", 0, IDS[::-1], ours.measures, 1.0)
    with pytest.raises(ValueError, match="other photos"):
        summarize([ours, strange], "ours")


def test_table_plot_and_page_show_every_arm(tmp_path: Path, trial: Callable[..., Trial]) -> None:
    trials = [
        trial(arm, right, 0, c)
        for c in ("log", "truth")
        for arm, right in (("other", 0.5), ("ours", 0.6))
    ]
    rows = summarize(trials, "ours")
    conditions = {"log": "40 % wrong", "truth": "true labels"}
    heading, lines = table_cells(rows, TITLES, conditions, "ours")

    assert heading[:4] == ["", "Identical@1, 40 % wrong", "against Ours", "MAP@10, 40 % wrong"]
    assert lines[0][0] == "Another <b>" and lines[0][1].startswith("0.500 (0.4")
    assert lines[0][2].startswith("-10.0 (") and lines[0][2].endswith("p < 0.001")
    assert lines[1][2] == "" and lines[1][-2:] == ["1.0", "1,234"]
    assert len(markdown(heading, lines).splitlines()) == 4

    plot, page = tmp_path / "plot.png", tmp_path / "report.html"
    write_plot(plot, rows, TITLES, conditions, "ours", measure="identical@1", heading="x", note="y")
    with Image.open(plot) as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
    write_page(
        page,
        title="Methods compared",
        subtitle="on photos",
        about="with intervals",
        simulated="The clicks are simulated.",
        heading=heading,
        lines=lines,
        reference="Ours",
        plots=[(plot, "all arms")],
        notes=[("Notes", ["one <i>"])],
        facts=[("seeds", "1")],
        command="oclear compare '<script>'",
    )
    text = page.read_text()
    assert "The clicks are simulated." in text and text.count("<tr") == 3
    assert "on photos" in text and "with intervals" in text
    assert "<td>0.500<small>(0.4" in text
    assert "<script" not in text and "<i>" not in text and "https://" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plot.png", "report.html"]
