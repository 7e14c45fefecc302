"""What travels between all rooms: types, randomness, the hypnogram, the ledger. Torch only."""
