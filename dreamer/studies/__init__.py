"""`dreamer study`: a question with its arms, contrasts and margins fixed beforehand, and the verdict on it."""
