"""Used by all rooms: types, randomness, the hypnogram, the ledger. Torch only."""
