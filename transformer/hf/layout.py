"""Layouts: how the axes of a tensor there become the axes of one here, and back.

'(n h) d -> d n h' says that their first axis is our n and h together, n outermost, and their second
our d. A 1 on their side is an axis of length one that we do not have. Letters together on our side,
as in '(k p h) d -> d (k p) h', are for tensors that parameters share by their p (`rules.Rule`).
"""

import dataclasses
import functools
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Layout:
    """Attributes:

    theirs: the letters of each of their axes.
    ours: all letters in our order.
    axes: the letters of each of our axes.
    """

    theirs: tuple[str, ...]
    ours: str
    axes: tuple[str, ...]

    def their_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape there of what has `shape` here."""
        size = dict(zip(self.ours, shape, strict=True))
        return tuple(math.prod(size[letter] for letter in axis) for axis in self.theirs)

    def to_ours(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Their array as ours, of `shape`; a view where there can be one."""
        size, letters = dict(zip(self.ours, shape, strict=True)), ''.join(self.theirs)
        apart = x.reshape([size[letter] for letter in letters])
        return apart.transpose([letters.index(letter) for letter in self.ours])

    def to_theirs(self, x: np.ndarray) -> np.ndarray:
        """Our array as theirs."""
        apart = x.transpose([self.ours.index(letter) for letter in ''.join(self.theirs)])
        return apart.reshape(self.their_shape(x.shape))


@functools.cache
def parse(text: str) -> Layout:
    """The layout that is written so: '(n h) d -> d n h'.

    Raises:
      ValueError: the two sides do not have the same letters.
    """
    theirs, axes = (_axes(side) for side in text.split('->'))
    ours = ''.join(axes)
    if sorted(''.join(theirs)) != sorted(ours) or len(set(ours)) != len(ours):
        raise ValueError(f'layout {text!r}: both sides must have the same letters, each once')
    return Layout(theirs, ours, axes)


def _axes(side: str) -> tuple[str, ...]:
    axes, group = [], None
    for word in side.replace('(', ' ( ').replace(')', ' ) ').split():
        if word == '(':
            group = ''
        elif word == ')':
            axes.append(group)
            group = None
        elif group is None:
            axes.append('' if word == '1' else word)
        else:
            group += word
    return tuple(axes)
