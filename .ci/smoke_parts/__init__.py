"""What `.ci/smoke` looks at: a file a way of use, each with a `run`."""
