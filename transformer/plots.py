"""The picture of a run."""

from pathlib import Path


def loss_curve(records: list[dict], path: Path, title: str) -> None:
    """Writes training and validation loss against steps as a PNG."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout='constrained')
    for split, style in (('train', {'lw': 1, 'alpha': 0.8}), ('validation', {'marker': 'o'})):
        points = [
            (r['step'], r['loss'])
            for r in records
            if r['split'] == split and isinstance(r.get('loss'), float)
        ]
        if points:
            axes.plot(*zip(*points), label=f'{split} (last {points[-1][1]:.4f})', **style)
    axes.set(xlabel='step', ylabel='loss (nats a token)', title=title)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
