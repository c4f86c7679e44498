"""Run configurations as YAML: data, no code."""
