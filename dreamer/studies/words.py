"""What was found, in words: computed from verdicts and numbers, so that no sentence can be stronger than they are."""

from __future__ import annotations

from dreamer.compare.analysis import Summary
from dreamer.report.svg import DASH, MINUS, p_value, signed
from dreamer.studies.experiments.base import Measure
from dreamer.studies.findings import Findings
from dreamer.studies.study import Study
from dreamer.studies.verdicts import ContrastResult

_SAID = {
    "better": "{arm} is better than {against}",
    "worse": "{arm} is worse than {against}",
    "equivalent within the margin": "{arm} and {against} are equivalent within the margin",
    "cannot say": "it cannot be said which of {arm} and {against} is better",
}


def headline(findings: Findings) -> list[str]:
    """What the study comes to: a sentence for each primary contrast, and one for what is missing."""
    if not findings.lives:
        return ["No cell of this study has been lived yet, so there is nothing to say."]
    study = findings.study
    said = [sentence(judged, study) for judged in findings.primary]
    if findings.theory:
        departs = [f"{each.arm} in {study.measures[each.measure].label}" for each in findings.theory if each.departs]
        found = (
            f"What was measured departs from theory for {', '.join(departs)}" if departs else "No departure is shown"
        )
        said.append(f"{found}, of {len(findings.theory)} courses for which there is a theory.")
    if findings.missing:
        said.append(f"{len(findings.missing)} of {len(study.cells)} cells are missing.")
    return said or ["This study has no primary contrast: it describes."]


def sentence(judged: ContrastResult, study: Study) -> str:
    """One contrast in a sentence."""
    contrast, measure = judged.contrast, study.measures[judged.contrast.outcome]
    words = _SAID[judged.verdict].format(arm=contrast.arm, against=contrast.against)
    words = f"On {contrast.data}, {words} in {measure.label}"
    numbers = ""
    if judged.difference is not None:
        numbers = f": {difference(judged.difference, measure)}"
        if judged.low is not None:
            numbers += f", 95\N{NO-BREAK SPACE}% interval {interval(judged, measure)}"
        numbers += f"; corrected {p_value(judged.p, True)}, equivalence {p_value(judged.p_equivalent, True)}"
        numbers += f"; {judged.n} pairs, margin {amount(contrast.margin, measure)}"
    reason = f" ({judged.reason})" if judged.reason else ""
    return f"{words}{numbers}{reason}."


def amount(value: float | None, measure: Measure) -> str:
    """A value of a measure: per cent, or three digits."""
    if value is None:
        return DASH
    return (f"{100 * value:.2f}" if measure.share else _short(value)).replace("-", MINUS)


def difference(value: float | None, measure: Measure) -> str:
    """A difference of two values with its sign."""
    if value is None or measure.share:
        return signed(value, 2) + ("" if value is None else " points")
    return _short(value, "+").replace("-", MINUS) if value else "0"


def interval(judged: ContrastResult, measure: Measure) -> str:
    """``low to high``, or a dash."""
    if judged.low is None or judged.high is None:
        return DASH
    if measure.share:
        return f"{signed(judged.low, 2)} to {signed(judged.high, 2)}"
    return f"{difference(judged.low, measure)} to {difference(judged.high, measure)}"


def summary(about: Summary, measure: Measure) -> str:
    """``mean ± standard deviation``."""
    return amount(about.mean, measure) + ("" if about.std is None else f" ± {amount(about.std, measure)}")


def _short(value: float, sign: str = "") -> str:
    """Three digits, or all of those before the point."""
    return f"{value:{sign}.0f}" if abs(value) >= 1000 else f"{value:{sign}.3g}"
