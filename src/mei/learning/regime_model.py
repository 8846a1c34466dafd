"""A regime model: a hidden Markov chain whose states emit independent Gaussians, in raw feature units."""

from __future__ import annotations

from dataclasses import dataclass

from mei.learning.features import FEATURE_NAMES
from mei.model.bars import FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class RegimeModel:
    """One fitted model. States are in label order (0 = calmest at birth); nothing here is scaled.

    startprob: (n_states,); transmat: (n_states, n_states), rows sum to 1, no entry is 0;
    means, variances: (n_states, n_features), columns in the order of `feature_names`.
    trained_through_ms: close of the newest bar fitted. version: the stream's counter.
    """

    startprob: FloatArray
    transmat: FloatArray
    means: FloatArray
    variances: FloatArray
    trained_through_ms: int
    version: int
    feature_names: tuple[str, ...] = FEATURE_NAMES

    @property
    def n_states(self) -> int:
        """Number of regimes."""
        return int(self.startprob.size)
