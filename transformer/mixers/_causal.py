"""What the mixers have in common that read a row from left to right."""

from transformer.context import Context


def require_causal(ctx: Context, mixer: str) -> None:
    """Raises a ValueError where `ctx` lets a token see later ones."""
    if not ctx.causal:
        raise ValueError(
            f'mixer {mixer!r} reads from left to right: causal=False cannot be used; accepted: True'
        )
    if ctx.prefix_BT is not None:
        raise ValueError(
            f'mixer {mixer!r} reads from left to right: a prefix (prefix_BT) that earlier tokens '
            'see cannot be used; accepted: None'
        )
