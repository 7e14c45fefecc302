"""What a study may conclude: every word is computed from numbers, with the verdicts of all comparisons.

``better`` and ``worse``: Wilcoxon's signed-rank test over the pairs of seeds, corrected, is at most 0.05. ``equivalent
within the margin``: two one-sided t tests, corrected, are. All other verdicts conclude nothing; neither do differences
that are all equal, nor outcomes that are NaN or infinite, which are missing pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dreamer.metrics.significance import (
    ALPHA,
    Paired,
    Verdict,
    equivalence,
    holm,
    normal_p,
    paired_differences,
    paired_tests,
    pairs_needed,
)
from dreamer.studies.study import Contrast, Study

_THEORY = (
    "What was measured is compared with what theory expects at the end of each curve: a departure is shown where a "
    f"two-sided normal test of their distance, in standard errors, has a p of at most {ALPHA} after Holm's correction "
    "over all curves."
)
Scores = Mapping[tuple[str, str, str], Mapping[int, float | None]]
"""Outcomes by (data, arm, outcome), then seed; None where a cell was run and its outcome is no number."""


@dataclass(frozen=True)
class ContrastResult:
    """A contrast and what may be concluded from it.

    Attributes:
        n: seeds for which both have an outcome.
        difference: mean of arm minus against, in units of the outcome; None without pairs.
        low: lower end of its 95 % t interval; None below two pairs.
        high: its upper end.
        p: of Wilcoxon's test, corrected over the family of contrasts; None without pairs.
        p_equivalent: of the two one-sided tests, corrected likewise; None below two pairs, and where all differences
            are equal.
        verdict: about the arm, as against the other one.
        reason: why it is no stronger, or a caveat; may be empty.
        missing: pairs that were left out because an outcome in them is NaN, infinite or undefined.
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
    missing: int = 0


def compare(contrasts: Sequence[Contrast], study: Study, scores: Scores) -> list[ContrastResult]:
    """Test a family of contrasts; both kinds of tests are corrected over all of it (Holm).

    Args:
        study: whose measures say which of two values is the better one.
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
        _result(contrast, sign, paired, None if p is None else next(corrected))
        for contrast, sign, paired, p in zip(contrasts, signs, tests, raw, strict=True)
    ]


@dataclass(frozen=True)
class Agreement:
    """What was measured beside what theory expects, at the end of a curve.

    Attributes:
        at: the last place of the curve.
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
    """Compare measurements with theory.

    Args:
        raw: data, arm, measure, place, measured, expected, and a standard error above 0.
    """
    scores = [(measured - expected) / error for *_, measured, expected, error in raw]
    corrected = holm([normal_p(z) for z in scores])
    return [Agreement(*values, z, p) for values, z, p in zip(raw, scores, corrected, strict=True)]


def explained(study: Study) -> str:
    """The statistics, and why these: plain text, an empty line between paragraphs."""
    chosen = "All of this was chosen in the study's YAML before any cell was run: arms, seeds, outcomes, margins"
    if not study.primary and not study.exploratory:
        return f"{chosen}. {_THEORY}"
    named = len(study.primary)
    alone = "is tested by itself" if named == 1 else f"are corrected over these {named} alone (Holm)"
    return (
        f"{chosen}, and which contrast the study is for. The primary contrast{'s' * (named != 1)} {alone}; all others "
        f"are exploratory, and corrected over all of them together ({len(study.exploratory)}).\n\n"
        "The same seed gives both arms the same data and first weights, so they are compared seed by "
        f"seed. Better and worse: Wilcoxon's signed-rank test, two-sided and exact, has a corrected p of at most "
        f"{ALPHA}. Equivalent within the margin: two one-sided t tests (TOST) have a corrected p of at most {ALPHA}, "
        "which for a single contrast means that its whole 90 % interval lies within the margin; a difference may be "
        "shown all the same, but it is too small to matter. No difference shown: neither, which is not evidence that "
        f"there is none. Too few pairs: with fewer than {pairs_needed()} seeds Wilcoxon's test never reaches {ALPHA}, "
        "and differences that are all equal count as one. An outcome that is NaN or infinite is a missing pair, and "
        "counted. Intervals in tables and figures are 95 % t intervals of one difference by itself."
    )


def _differences(contrast: Contrast, scores: Scores) -> list[float]:
    arm, against = (scores.get((contrast.data, arm, contrast.outcome), {}) for arm in (contrast.arm, contrast.against))
    return paired_differences(arm, against)


def _result(contrast: Contrast, sign: float, paired: Paired, p_equivalent: float | None) -> ContrastResult:
    """One verdict of the two tests; ``paired`` counts gains, whichever way the outcome points."""
    verdict, reason = paired.verdict, paired.reason
    if p_equivalent is not None and p_equivalent <= ALPHA:
        why = f"the arm is {verdict}, by less than matters" if verdict in ("better", "worse") else ""
        reason = "; ".join(filter(None, (why, paired.left_out)))
        verdict = "equivalent within the margin"
    elif verdict in ("better", "worse") and paired.difference is not None and abs(paired.difference) < contrast.margin:
        why = "the mean difference is smaller than the margin, and may or may not matter"
        reason = "; ".join(filter(None, (why, paired.left_out)))
    ends = (paired.low, paired.high) if sign > 0 else (paired.high, paired.low)
    low, high = (None if end is None else sign * end for end in ends)
    difference = None if paired.difference is None else sign * paired.difference
    return ContrastResult(
        contrast, paired.n, difference, low, high, paired.p_holm, p_equivalent, verdict, reason, paired.missing
    )
