"""What a study may conclude: the words are computed from the numbers, and there are only these.

``better`` and ``worse``: Wilcoxon's signed-rank test over the pairs of seeds, corrected, is at most 0.05. ``equivalent
within the margin``: two one-sided t tests, corrected, are. Anything else is ``cannot say``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from dreamer.compare.analysis import ALPHA, Paired, holm, paired_tests, pairs_needed, summarise
from dreamer.studies.study import Contrast, Study

Verdict = Literal["better", "worse", "equivalent within the margin", "cannot say"]
_THEORY = (
    "What was measured is held against what theory expects at the end of each course: a departure is shown where a "
    f"two-sided normal test of their distance, in standard errors, has a p of at most {ALPHA} after Holm's correction "
    "over all courses."
)
Scores = Mapping[tuple[str, str, str], Mapping[int, float]]
"""Outcomes by (data, arm, outcome), then seed."""


@dataclass(frozen=True)
class ContrastResult:
    """A contrast and what may be said about it.

    Attributes:
        contrast: what was held against what.
        n: seeds that both have.
        difference: mean of arm minus against, in units of the outcome; None without pairs.
        low: lower end of its 95 % t interval; None below two pairs.
        high: its upper end.
        p: of Wilcoxon's test, corrected over the family of contrasts; None without pairs.
        p_equivalent: of the two one-sided tests, corrected likewise; None below two pairs.
        verdict: about the arm, as against the other one.
        reason: why it is no stronger, or what has to be known with it; may be empty.
    """

    contrast: Contrast
    n: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_equivalent: float | None
    verdict: Verdict
    reason: str


def judge(contrasts: Sequence[Contrast], study: Study, scores: Scores) -> list[ContrastResult]:
    """Judge a family of contrasts; both kinds of tests are corrected over all of it (Holm).

    Args:
        contrasts: the family.
        study: whose measures say which of two values is the better one.
        scores: outcomes of the cells that were lived.
    """
    signs = [-1.0 if study.measures[contrast.outcome].better == "smaller" else 1.0 for contrast in contrasts]
    gains = [
        [sign * value for value in _differences(contrast, scores)]
        for sign, contrast in zip(signs, contrasts, strict=True)
    ]
    tests = paired_tests(gains)
    raw = [equivalence(values, contrast.margin) for values, contrast in zip(gains, contrasts, strict=True)]
    corrected = iter(holm([p for p in raw if p is not None]))
    return [
        _judged(contrast, sign, paired, None if p is None else next(corrected))
        for contrast, sign, paired, p in zip(contrasts, signs, tests, raw, strict=True)
    ]


def equivalence(differences: Sequence[float], margin: float) -> float | None:
    """The p value of two one-sided t tests: that the mean lies beyond the margin on either side is refuted.

    ``max(P(T > (mean + margin) / se), P(T < (mean - margin) / se))`` with n - 1 degrees of freedom; it is at most 0.05
    where the 90 % t interval lies within the margin. It assumes that differences are about normal. Source: Schuirmann
    1987, "A comparison of the two one-sided tests procedure and the power approach".

    Args:
        differences: one for each pair.
        margin: the smallest difference that matters, above 0.

    Returns:
        A number in [0, 1]; None below two pairs.
    """
    about = summarise(differences)
    if about.mean is None or about.std is None:
        return None
    error = about.std / math.sqrt(about.n)
    if not error:
        return 0.0 if abs(about.mean) < margin else 1.0
    above = stats.t.sf((about.mean + margin) / error, about.n - 1)
    below = stats.t.cdf((about.mean - margin) / error, about.n - 1)
    return float(max(above, below))


@dataclass(frozen=True)
class Agreement:
    """What was measured, held against what theory says, at the end of a course.

    Attributes:
        data: of the cells.
        arm: of the cells.
        measure: of the course.
        at: the last place of the course.
        measured: mean over the seeds.
        expected: what theory says.
        error: standard error of ``measured``.
        z: how many of them lie between the two.
        p: two-sided, of a normal ``z``, corrected over all agreements of the study (Holm).
    """

    data: str
    arm: str
    measure: str
    at: float
    measured: float
    expected: float
    error: float
    z: float
    p: float

    @property
    def departs(self) -> bool:
        """Whether a departure from theory is shown."""
        return self.p <= ALPHA


def agreements(raw: Sequence[tuple[str, str, str, float, float, float, float]]) -> list[Agreement]:
    """Hold measurements against theory.

    Args:
        raw: data, arm, measure, place, measured, expected, and a standard error above 0.
    """
    scores = [(measured - expected) / error for *_, measured, expected, error in raw]
    corrected = holm([float(2 * stats.norm.sf(abs(z))) for z in scores])
    return [Agreement(*values, z, p) for values, z, p in zip(raw, scores, corrected, strict=True)]


def explained(study: Study) -> str:
    """How it is judged, and why so: plain text, an empty line between paragraphs."""
    chosen = "All of this was chosen in the study's YAML before any cell was lived: arms, seeds, outcomes, margins"
    if not study.primary and not study.exploratory:
        return f"{chosen}. {_THEORY}"
    named = len(study.primary)
    alone = "is tested by itself" if named == 1 else f"are corrected over these {named} alone (Holm)"
    return (
        f"{chosen}, and which contrast the study is for. The primary contrast{'s' * (named != 1)} {alone}; all others "
        f"are exploratory, and corrected over all of them together ({len(study.exploratory)}).\n\n"
        "The same seed gives both arms the same data and first weights, so they are held against each other seed by "
        f"seed. Better and worse: Wilcoxon's signed-rank test, two-sided and exact, has a corrected p of at most "
        f"{ALPHA}. Equivalent within the margin: two one-sided t tests (TOST) have a corrected p of at most {ALPHA}, "
        "which for a single contrast means that its whole 90 % interval lies within the margin; a difference may be "
        "shown all the same, but it is too small to matter. Cannot say: neither. That no difference was shown is not "
        f"evidence that there is none. With fewer than {pairs_needed()} seeds Wilcoxon's test can never reach {ALPHA}. "
        "Intervals in tables and figures are 95 % t intervals of one difference by itself."
    )


def _differences(contrast: Contrast, scores: Scores) -> list[float]:
    one = scores.get((contrast.data, contrast.arm, contrast.outcome), {})
    other = scores.get((contrast.data, contrast.against, contrast.outcome), {})
    return [value - other[seed] for seed, value in one.items() if seed in other]


def _judged(contrast: Contrast, sign: float, paired: Paired, p_equivalent: float | None) -> ContrastResult:
    """Put the two tests into one word; ``paired`` counts gains, whichever way the outcome points."""
    if p_equivalent is not None and p_equivalent <= ALPHA:
        verdict: Verdict = "equivalent within the margin"
        reason = f"the arm is {paired.verdict}, by less than matters" if paired.verdict in ("better", "worse") else ""
    elif paired.verdict in ("better", "worse"):
        verdict, reason = paired.verdict, ""
        if paired.difference is not None and abs(paired.difference) < contrast.margin:
            reason = "the mean difference is smaller than the margin, and may or may not matter"
    else:
        verdict, reason = "cannot say", paired.conclusion.removeprefix("no difference shown")
    ends = (paired.low, paired.high) if sign > 0 else (paired.high, paired.low)
    low, high = (None if end is None else sign * end for end in ends)
    difference = None if paired.difference is None else sign * paired.difference
    return ContrastResult(contrast, paired.n, difference, low, high, paired.p_holm, p_equivalent, verdict, reason)
