"""Problems: what the learner predicts. One file each; the rest of the project does not depend on which it is."""

from dreamer.problems.base import Problem, Tally
from dreamer.problems.classification import Classification
from dreamer.problems.language import Language
from dreamer.problems.regression import Regression

__all__ = ["Classification", "Language", "Problem", "Regression", "Tally"]
