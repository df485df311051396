"""Cases, their verdicts, and how they are run."""
