"""How dreams compare with real data: distances, coverage, balance and variety, each a pure function of tensors."""
