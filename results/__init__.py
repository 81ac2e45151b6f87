"""Published claims beside what this code measures: `python -m results.run`, `results.table`."""
