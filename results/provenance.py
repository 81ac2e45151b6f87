"""What produced a number: commit, machine, versions."""

import subprocess
from collections.abc import Mapping
from typing import Any

from benchmarks import record
from results.plan import ROOT

MADE = ('commit', 'machine', 'versions', 'date')  # where a run comes from
UNKNOWN = 'unknown'
# What results are written to, and what is only read by people: a run does not depend on them.
WRITTEN = (':!docs', ':!results/*.json', ':!results/*.png', ':!*.md')


def commit() -> str:
    """The commit that the code here is of, with '+changes' where it is not quite that.

    'unknown' where there is no repository.
    """
    found = _git('rev-parse', '--short=12', 'HEAD')
    if found is None:
        return UNKNOWN
    changed = _git('status', '--porcelain', '--untracked-files=no', '--', '.', *WRITTEN)
    fresh = _git('ls-files', '--others', '--exclude-standard', '--', '*.py')
    return found + ('+changes' if changed or fresh else '')


def machine(summary: Mapping[str, Any]) -> str:
    """The class of machine that a run was made on: its accelerators, its processor and cores.

    Args:
      summary: of the run's work directory.
    """
    if summary['platform'] == 'cpu':
        return record.processor()
    return f'{summary["devices"]} x {summary["device"]}, {record.processor()}'


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ['git', *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
