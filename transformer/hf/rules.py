"""Rules: which tensor of a checkpoint is which parameter here. Tables of them work both ways.

A rule says ('stack/layer/mlp/up/kernel', 'h.{layer}.mlp.c_fc.weight', 'd f -> d f'). In our path
'layer' stands for every block of a stack; the number of the layer goes where theirs has '{layer}'.
"""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer import paths
from transformer.hf import layout
from transformer.hf.layout import Layout

LETTERS = 'abcdefgh'


@dataclasses.dataclass(frozen=True)
class Rule:
    """Attributes:

    ours: path of a parameter. A tuple of paths means that their tensor holds several of ours, along
      the first axis of our side of the layout.
    theirs: name of a tensor. '{group}' is the number of the repeat and '{inner}' the place in the
      pattern, where they count so. With '{expert}', and where it is a tuple of names, several of
      their tensors lie along our leading axis.
    layout: of one tensor, without these leading axes and that of depth; '' means the same.
    shares: of several parameters with axes of different lengths, how many of each p of the layout
      belong to each; () means that p counts the parameters.
    also: name of a second tensor with the same numbers, or '': read where `theirs` is missing, and
      written as well.
    """

    ours: str | tuple[str, ...]
    theirs: str | tuple[str, ...]
    layout: str = ''
    also: str = ''
    shares: tuple[int, ...] = ()


def linear(
    ours: str | tuple[str, ...], theirs: str, out: str, into: str, *, conv1d: bool = False
) -> tuple[Rule, Rule]:
    """The kernel and the bias of a linear map; one that is not there is passed over.

    Args:
      ours: path of the map; where there are several, the letter 'p' of `out` counts them.
      out: letters of the outputs, as they lie there, such as 'n h'.
      into: letters of the inputs.
      conv1d: whether their kernel is [in, out], as in GPT-2, and not [out, in].
    """
    many = isinstance(ours, tuple)
    kernel = f'({into}) ({out})' if conv1d else f'({out}) ({into})'
    rest = out.replace('p', '') if many else out
    first = 'p ' if many else ''
    names = (lambda kind: tuple(f'{o}/{kind}' for o in ours)) if many else lambda k: f'{ours}/{k}'
    return (
        Rule(names('kernel'), f'{theirs}.weight', f'{kernel} -> {first}{into} {rest}'),
        Rule(names('bias'), f'{theirs}.bias', f'({out}) -> {first}{rest}'),
    )


def norm(ours: str, theirs: str) -> tuple[Rule, Rule]:
    """The scale and the bias of a norm; one that is not there is passed over."""
    return Rule(f'{ours}/scale', f'{theirs}.weight'), Rule(f'{ours}/bias', f'{theirs}.bias')


def within(prefix: str, rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules with `prefix` before their names."""

    def named(theirs):
        if isinstance(theirs, tuple):
            return tuple(prefix + name for name in theirs)
        return prefix + theirs

    return tuple(
        dataclasses.replace(rule, theirs=named(rule.theirs), also=rule.also and named(rule.also))
        for rule in rules
    )


@dataclasses.dataclass(frozen=True)
class Piece:
    """Where one of our parameters lies in a checkpoint.

    Attributes:
      path: of the parameter.
      shape: its shape: that of `names`, then that of one tensor's share.
      names: of their tensors, an object array.
      part: which share of each tensor it is, or None for all of it.
      parts: how many share a tensor.
      also: name of a second tensor that holds the same, or ''.
      shares: as in `Rule`.
    """

    path: str
    shape: tuple[int, ...]
    names: np.ndarray
    layout: Layout
    part: int | None = None
    parts: int = 1
    also: str = ''
    shares: tuple[int, ...] = ()

    @property
    def their_shape(self) -> tuple[int, ...]:
        """Of each of their tensors."""
        return self.layout.their_shape(self._whole())

    @property
    def as_it_is(self) -> bool:
        """Whether our numbers stand in the order of theirs, and are all of them."""
        return self.part is None and ''.join(self.layout.theirs) == self.layout.ours

    def take(self, tensor: np.ndarray) -> np.ndarray:
        """Our share of one of their tensors, a view where there can be one."""
        found = self.layout.to_ours(tensor, self._whole())
        if not self.shares:
            return found if self.part is None else found[self.part]
        begin = sum(self.shares[: self.part])
        share = range(begin, begin + self.shares[self.part])
        return found.take(share, self._axis).reshape(self.shape[self.names.ndim :])

    @property
    def _axis(self) -> int:
        return self.layout.ours.index('p')

    def _apart(self) -> tuple[int, ...]:
        """The shape of our share with an axis for each letter."""
        sizes, p = [], self.shares[self.part]
        for letters, size in zip(self.layout.axes, self.shape[self.names.ndim :], strict=True):
            together = [p if letter == 'p' else size // p for letter in letters]
            sizes += together if len(letters) > 1 else [size]
        return tuple(sizes)

    def _whole(self) -> tuple[int, ...]:
        """The shape of all that a tensor holds with an axis for each letter."""
        if self.shares:
            apart = self._apart()
            return (*apart[: self._axis], sum(self.shares), *apart[self._axis + 1 :])
        own = self.shape[self.names.ndim :]
        return own if self.part is None else (self.parts, *own)


def whole(pieces: Sequence[Piece], shares: Sequence[np.ndarray]) -> np.ndarray:
    """Their tensor of the shares of all pieces that it holds, in their order."""
    first = pieces[0]
    if first.shares:
        apart = [x.reshape(piece._apart()) for piece, x in zip(pieces, shares, strict=True)]
        return first.layout.to_theirs(np.concatenate(apart, first._axis))
    return first.layout.to_theirs(shares[0] if first.part is None else np.stack(shares))


def plan(rules: Sequence[Rule], shapes: Any, patterns: dict[str, int]) -> list[Piece]:
    """Where each parameter lies.

    Args:
      rules: a later one wins over an earlier one for the same parameter.
      shapes: the parameters, arrays or shapes.
      patterns: length of the pattern of each stack by its name.

    Raises:
      ValueError: a parameter that no rule names: the table is not complete.
    """
    table = {}
    for rule in rules:
        many = isinstance(rule.ours, tuple)
        for part, path in enumerate(rule.ours if many else (rule.ours,)):
            table[path] = rule, part if many else None
    leaves = paths.leaves(shapes)
    pieces = []
    for path, leaf in leaves.items():
        place = re.fullmatch(r'(\w+)/(repeat|shared)/block_(\d+)/(.*)', path)
        general = f'{place[1]}/layer/{place[4]}' if place else path
        if general not in table:
            raise ValueError(f'no rule says where parameter {path!r} lies in a checkpoint')
        rule, part = table[general]
        axes, block = [], int(place[3]) if place else 0
        inner = {'inner': block}
        if place and place[2] == 'repeat':
            length = patterns[place[1]]
            axes.append(
                [{'layer': r * length + block, 'group': r} | inner for r in range(leaf.shape[0])]
            )
        fixed = {'layer': block, 'group': 0} | inner if place and place[2] == 'shared' else {}
        several = isinstance(rule.theirs, tuple)
        if several:
            axes.append([{'name': name} for name in rule.theirs])
        elif '{expert}' in rule.theirs:
            axes.append([{'expert': e} for e in range(leaf.shape[len(axes)])])
        names = np.empty([len(axis) for axis in axes], object)
        for at in itertools.product(*(range(len(axis)) for axis in axes)):
            values = dict(fixed)
            for axis, i in zip(axes, at):
                values |= axis[i]
            names[at] = (values.pop('name') if several else rule.theirs).format(**values)
        rest = len(leaf.shape) - names.ndim + (part is not None)
        letters = ' '.join(LETTERS[:rest])
        text = rule.layout or f'{letters} -> {letters}'
        parts = len(rule.ours) if part is not None else 1
        read = layout.parse(text)
        also, shares = rule.also, rule.shares
        piece = Piece(path, tuple(leaf.shape), names, read, part, parts, also, shares)
        if len(piece.layout.axes) + bool(rule.shares) != rest:
            raise ValueError(f'{path} has shape {leaf.shape}, its layout is {text!r}')
        pieces.append(piece)
    return pieces
