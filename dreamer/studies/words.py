"""The findings in sentences: computed from verdicts and numbers, so that none is stronger than they are."""

from __future__ import annotations

from functools import partial

from dreamer.core import text
from dreamer.core.text import DASH, MINUS, p_value, plus_minus, signed
from dreamer.metrics.significance import NO_NUMBER, Summary
from dreamer.studies.experiments.base import Measure
from dreamer.studies.findings import CompletedCell, Findings
from dreamer.studies.study import Study
from dreamer.studies.verdicts import ContrastResult

_SENTENCES = {
    "better": "{arm} is better than {against}",
    "worse": "{arm} is worse than {against}",
    "equivalent within the margin": "{arm} and {against} are equivalent within the margin",
    "no difference shown": "no difference between {arm} and {against} is shown",
    "too few pairs": "there are too few pairs to compare {arm} with {against}",
    "no pairs": "there are no pairs to compare {arm} with {against}",
}


def headline(findings: Findings) -> list[str]:
    """The headline: a sentence for each primary contrast, and one for what is missing."""
    if not findings.runs:
        return ["No run of this study is completed yet."]
    study = findings.study
    lines = [sentence(result, study) for result in findings.primary]
    if findings.theory:
        departs = [f"{each.arm} in {study.measures[each.measure].label}" for each in findings.theory if each.departs]
        found = (
            f"What was measured departs from theory for {', '.join(departs)}" if departs else "No departure is shown"
        )
        lines.append(f"{found}, of {len(findings.theory)} curves for which there is a theory.")
    if findings.missing:
        lines.append(f"{len(findings.missing)} of {len(study.cells)} cells are missing.")
    return lines or ["This study has no primary contrast: it describes."]


def sentence(result: ContrastResult, study: Study) -> str:
    """One contrast in a sentence."""
    contrast, measure = result.contrast, study.measures[result.contrast.outcome]
    words = _SENTENCES[result.verdict].format(arm=contrast.arm, against=contrast.against)
    words = f"On {contrast.data}, {words} in {measure.label}"
    numbers = ""
    if result.difference is not None:
        numbers = f": {difference(result.difference, measure)}"
        if result.low is not None:
            numbers += f", 95\N{NO-BREAK SPACE}% interval {interval(result, measure)}"
        numbers += f"; corrected {p_value(result.p, True)}, equivalence {p_value(result.p_equivalent, True)}"
        numbers += f"; {result.n} pairs, margin {amount(contrast.margin, measure)}"
    reason = f" ({result.reason})" if result.reason else ""
    return f"{words}{numbers}{reason}."


def undefined(findings: Findings, data: str) -> list[str]:
    """A line for each arm and measure of which some runs have no number: they are left out, and counted.

    A measure that no run on these data has a number of says so by its dashes.
    """
    return [
        f"{arm}, {findings.study.measures[name].label}: {text.plural(about.missing, 'run')} left out, {NO_NUMBER}"
        for arm in findings.study.arms_on(data)
        for name in findings.defined(data)
        if (about := findings.outcome(data, arm, name)).missing
    ]


def without_number(findings: Findings, run: CompletedCell) -> str:
    """Which outcomes of a run are no number, though other runs have one; empty where all are one."""
    outcomes = run.results["outcomes"]
    names = [name for name in findings.defined(run.cell.data) if name in outcomes and outcomes[name] is None]
    return f"{', '.join(names)}: {NO_NUMBER}" if names else ""


def amount(value: float | None, measure: Measure) -> str:
    """A value of a measure: per cent, or three digits."""
    if value is None:
        return DASH
    return (f"{100 * value:.2f}" if measure.fraction else _short(value)).replace("-", MINUS)


def difference(value: float | None, measure: Measure) -> str:
    """A difference of two values with its sign."""
    if value is None or measure.fraction:
        return signed(value, 2) + ("" if value is None else " points")
    return _short(value, "+").replace("-", MINUS) if value else "0"


def interval(result: ContrastResult, measure: Measure) -> str:
    """``low to high``, or a dash."""
    write = partial(signed, digits=2) if measure.fraction else partial(difference, measure=measure)
    return text.interval(result.low, result.high, write)


def summary(about: Summary, measure: Measure) -> str:
    """``mean ± standard deviation``."""
    return plus_minus(about.mean, about.std, partial(amount, measure=measure))


def _short(value: float, sign: str = "") -> str:
    """Three digits, or all of those before the point."""
    return f"{value:{sign}.0f}" if abs(value) >= 1000 else f"{value:{sign}.3g}"
