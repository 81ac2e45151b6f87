"""Looks on a terminal and on a page: whole, and safe."""

import base64
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from data.show import drawn, page
from data.show.look import look
from data.show.spelled import Example, Run, Side, visible
from tests import records
from tests.shown import KINDS, RICH, drawn_text, hostile, loaded


@pytest.mark.parametrize('colour', [None, 'truecolor'])
def test_text_is_printed_and_not_obeyed(colour):
    options = {'force_terminal': True, 'color_system': colour} if colour else {}
    told = drawn_text(hostile(), **options)
    plain = re.sub(r'\x1b\[[0-9;]*m', '', told)
    assert 'te[red]st' in plain
    assert visible(RICH) in plain.replace('⟧', '').replace('⟦', '')
    assert ':smile: [/]' in plain
    assert ('\x1b' in told) == bool(colour)
    assert '\x1b[31mred' not in told


def test_what_is_visible():
    assert visible('a\tb\nc') == 'a\tb\nc'
    assert visible('\x1b[0m\r\x00\x7f\x9b') == '␛[0m␍␀␡\ufffd'
    assert visible('a\u202eb\ud800é🙂') == 'a\ufffdb\ufffdé🙂'


@pytest.mark.parametrize('kind', KINDS)
def test_everything_is_drawn(kind):
    data, experiment = loaded(kind, tokenizer='bpe')
    seen = look(data, experiment, 'train', 3, 1)
    plain = drawn_text(seen)
    colour = drawn_text(seen, force_terminal=True, color_system='truecolor')
    assert '\x1b[' in colour
    assert plain.count('── example') == 3
    json.loads(json.dumps(seen.to_json()))
    has = {
        'masked': '[MASK]→',
        'prefix': '⟪',
        'span_corruption': '<extra_id_0>',
        'denoising': '[MASK]',
        'seq2seq': '⟦<|endoftext|>⟧',
        'classification': 'class TAG',
        'token_classification': '/TAG3⟧',
        'image_classification': 'class TAG',
        'next_token': '┄┄ document 1',
        'chat': '<|im_start|>assistant\n⟦',
        'fill_in_middle': '<|fim_',
    }
    assert has[kind] in plain
    if kind == 'image_classification':
        assert colour.count('▀') == 3 * 2 * 4
    else:
        assert 'lengths of ' in plain and '█' in plain


class Tags(html.parser.HTMLParser):
    """The elements of a page; those that are opened are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.sources = [], '', []

    def handle_starttag(self, tag, attrs):
        assert tag not in ('script', 'link', 'iframe', 'b', 'object')
        if tag not in ('meta', 'img'):
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ('src', 'href')]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read_page(seen):
    tags = Tags()
    written = page.page(seen)
    tags.feed(written)
    tags.close()
    assert not tags.open
    assert all(source.startswith('data:image/png;base64,') for source in tags.sources)
    assert 'http://' not in written and 'https://' not in written
    return tags


def test_pages_escape_what_they_show():
    assert visible(RICH) in read_page(hostile()).text


@pytest.mark.parametrize('kind', KINDS)
def test_pages_are_whole(kind):
    data, experiment = loaded(kind)
    seen = look(data, experiment, 'train', 2, 1)
    tags = read_page(seen)
    for example in seen.examples:
        for side in example.sides:
            for runs in side.segments:
                for run in runs:
                    assert visible(run.text) in tags.text
        assert example.label in tags.text
    assert len(tags.sources) == (2 if kind == 'image_classification' else 0)


def test_pictures_are_those_of_the_records():
    data, experiment = loaded('image_classification')
    seen = look(data, experiment, 'validation', 1, None)
    coded = read_page(seen).sources[0].partition(',')[2]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded))).convert('RGB'))
    np.testing.assert_array_equal(shown, np.round(records.IMAGES[0][0] * 255))
    grey = drawn.pixels(np.array([[[0.0], [0.5], [1.0]]]))
    assert grey.tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


def test_large_pictures_are_made_smaller():
    example = Example(0, '', (), '', np.ones((200, 100, 1), np.float32))
    lines = list(drawn._example(example, drawn._coloured, True))
    assert len(lines) <= 40 and max(len(line) for line in lines) <= 80
    lines = list(drawn._example(example, drawn._marked, False))
    assert lines[0] == '@' * len(lines[0])


def test_marks_without_colour():
    runs = (
        Run('a', trained=True),
        Run('[MASK]', trained=True, special=True, wanted=' b'),
        Run('c', trained=True, label='X'),
        Run('d', prefix=True),
        Run('e'),
    )
    example = Example(0, '', (Side('text', (runs,), 5, 0),))
    lines = list(drawn._example(example, drawn._marked, False))
    assert lines == ['┄┄ document 1', '⟦a⟧⟦[MASK]→ b⟧⟦c/X⟧⟪d⟫e']
