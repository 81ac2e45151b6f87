"""The picture of a result: every experiment draws its own figure, in one look."""

from collections.abc import Sequence
from pathlib import Path

from results.paper import Paper, Run

SIZE, DPI = (8, 4.5), 100  # inches; dots an inch: a file of some 50 kB
LOOK = {
    'axes.grid': True,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'axes.titlesize': 'medium',
    'font.size': 10,
    'grid.alpha': 0.3,
    'legend.fontsize': 'small',
    'legend.frameon': False,
    'lines.linewidth': 1.5,
    'lines.markersize': 4,
}


def write(paper: Paper, runs: Sequence[Run], path: Path) -> None:
    """Draws the runs of one size into a PNG."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    with plt.rc_context(LOOK):
        figure = plt.figure(figsize=SIZE, layout='constrained')
        paper.draw(figure, runs)
        figure.savefig(path, dpi=DPI)
        plt.close(figure)


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, the same wherever it is drawn."""
    return {name: f'C{i % 10}' for i, name in enumerate(dict.fromkeys(names))}
