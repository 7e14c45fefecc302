"""The wake-sleep cycle, written once, in torch alone: plan, checks, batches, sleeper."""
