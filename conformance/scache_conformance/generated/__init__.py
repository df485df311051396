"""Generated runs: traces, random steps beside the specification, concurrent histories."""
