"""The command, its page and its pictures, and how each kind of model reads what it is given."""

import base64
import dataclasses
import html.parser
import json
import re
import types

import numpy as np
import PIL.Image
import pytest

from tests import inside
from transformer.errors import UserError
from transformer.inspect import __main__ as command
from transformer.inspect import look, of_run
from transformer.inspect.page import HASH, SCRIPT


def run(monkeypatch, capsys, kind, *words):
    monkeypatch.setattr('transformer.inspect.subject.of_run', lambda *a: inside.subject(kind))
    monkeypatch.setattr('transformer.hardware.enable_compilation_cache', lambda where: None)
    monkeypatch.setattr('sys.argv', ['inspect', '--workdir=run', *words])
    assert command.main() == 0
    return capsys.readouterr().out


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside of scripts."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self._inside = [], '', ''
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data):
        self.text += '' if self._inside in ('script', 'style') else data


NASTY = '<b>&"$x</'


@pytest.fixture(scope='module')
def decoder(tmp_path_factory):
    """What the command says and writes of a decoder."""
    out = tmp_path_factory.mktemp('decoder')
    of = inside.subject('next_token')
    found = look.look(of, of.read(NASTY, 'yz'), of.read('<b>&"$y</', 'yz'))
    written = command.write(found, out)
    return found, out, written.read_text(encoding='utf-8')


def test_a_page_that_needs_nothing_else(decoder):
    found, out, text = decoder
    page = Page(text)
    names = [name for name, _ in page.tags]
    assert 'b' not in names  # what was read is text
    assert '&lt;b&gt;&amp;' in text
    sources = [a[key] for _, a in page.tags for key in ('src', 'href') if key in a]
    assert len(sources) >= 5 and all(x.startswith('data:image/png;base64,') for x in sources)
    scripts = [a for name, a in page.tags if name == 'script']
    assert scripts == [{'type': 'application/json', 'id': 'maps'}, {}]
    assert f"script-src 'sha256-{HASH}'" in text and f'<script>{SCRIPT}</script>' in text
    (data,) = re.findall(r'<script type="application/json" id="maps">(.*?)</script>', text)
    data = json.loads(data)
    assert data['places']['stack'] == [*NASTY, 'y']
    assert [m['layer'] for m in data['maps']] == [0, 1]
    weights = np.frombuffer(base64.b64decode(data['maps'][1]['weights']), np.uint8)
    wanted = np.round(found.maps[1].weights_BNTS[0] * 255)
    assert (weights.reshape(wanted.shape) == wanted).all()


def test_pictures_of_all_that_was_found(decoder):
    _, out, _ = decoder
    names = {path.name for path in out.glob('*.png')}
    effects = {f'{way}_{kind}.png' for way in ('ablation', 'patching') for kind in look.KINDS}
    assert names == effects | {f'attention_stack_mixer_{n}.png' for n in range(2)} | {'lens.png'}
    for name in names:
        with PIL.Image.open(out / name) as image:
            assert len(np.unique(np.asarray(image.convert('L')))) > 10


def test_what_is_scored(decoder):
    found, _, _ = decoder
    last = len(NASTY) - 1
    weights = found.case.batch['weights'][0]
    assert np.flatnonzero(weights).tolist() == [last, last + 1]
    assert bytes(found.case.batch['targets'][0, last:].tolist()) == b'yz'
    assert found.ablated.score == pytest.approx(found.patched.score, abs=1e-5)


def test_a_program_reads_it(monkeypatch, capsys, tmp_path):
    words = '--text=ein', '--target=one', f'--out={tmp_path}', '--json', '--only=lens,layers'
    told = json.loads(run(monkeypatch, capsys, 'seq2seq', *words))
    assert told['places'] == {
        'encoder': [*'ein', '<|endoftext|>'],
        'decoder': ['<|endoftext|>', *'one'],
    }
    assert [x['target'] for x in told['targets']] == [*'one', '<|endoftext|>']
    assert len(told['lens']) == 3 and told['lens'][-1]['divergence'] == pytest.approx(0, abs=1e-6)
    assert set(told['ablation']['layers']) == {
        'encoder mixer', 'encoder mlp', 'decoder mixer', 'decoder cross', 'decoder mlp'
    }  # fmt: skip
    assert told['patching'] is None and told['patterns'] is None
    assert told['page'] == str(tmp_path / 'index.html')


def test_a_terminal_is_told(monkeypatch, capsys, tmp_path):
    words = '--text=a[MASK]b', '--target=c', f'--out={tmp_path}', '--by=mean', '--only=heads'
    for name in ('index.html', 'lens.png', 'patching_places.png', 'attention_study.png'):
        (tmp_path / name).write_bytes(b'of another text')
    told = run(monkeypatch, capsys, 'masked', *words)
    assert 'taken out by mean' in told
    assert re.search(r'targets +1: c\n', told)
    assert re.search(r'score +-\d\.\d{4} nats a target', told)
    assert re.search(r'mixer L[01]H[01] +[-+]\d\.\d{3}', told)
    assert f'written to {tmp_path}' in told
    made = {'index.html', 'ablation_heads.png'}
    assert {path.name for path in tmp_path.iterdir()} == made | {'attention_study.png'}


def test_each_kind_reads_a_text_as_it_was_trained():
    read = lambda kind, *texts: inside.subject(kind).read(*texts).batch  # noqa: E731
    at = lambda batch: np.flatnonzero(np.atleast_1d(batch['weights'][0])).tolist()  # noqa: E731

    batch = read('next_token', 'abc')
    assert bytes(batch['inputs'][0].tolist()) == b'abc' and at(batch) == [0, 1]
    batch = read('next_token', 'a')
    assert 'targets' not in batch and at(batch) == [0]
    batch = read('prefix', 'abc', 'de')
    assert batch['prefix'][0].tolist() == [True] * 3 + [False]
    batch, of = read('masked', 'a[MASK]b[MASK]', 'xy'), inside.subject('masked')
    assert at(batch) == [1, 3] and bytes(batch['targets'][0, [1, 3]].tolist()) == b'xy'
    assert batch['inputs'][0, 1] == of.tokenizer.special('[MASK]')
    assert at(read('masked', 'ab')) == [0, 1]
    batch, of = (
        read('span_corruption', 'a<extra_id_1>', '<extra_id_1>b'),
        inside.subject('span_corruption'),
    )
    mark, end = of.tokenizer.special('<extra_id_1>'), of.tokenizer.end
    assert batch['inputs'][0].tolist() == [97, mark, end]
    assert batch['decoder_inputs'][0].tolist() == [of.tokenizer.start, mark, 98]
    assert batch['targets'][0].tolist() == [mark, 98, end]
    batch, of = read('classification', 'ab', 'good'), inside.subject('classification')
    assert batch['inputs'][0].tolist() == [of.tokenizer.special('[CLS]'), 97, 98]
    assert batch['targets'].tolist() == [1]
    assert of.read('a').labels['stack'] == ('[CLS]', 'a') and of.piece(1) == 'good'
    assert at(read('token_classification', 'ab')) == [0, 1]


def test_an_image(tmp_path):
    of, path = inside.subject('image_classification'), tmp_path / 'some.png'
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    case = of.image(path, 'mixed')
    np.testing.assert_allclose(case.batch['images'][0], pixels / 127.5 - 1, atol=1e-6)
    assert case.batch['targets'].tolist() == [2]
    assert case.labels == {'stack': ('CLS', '0,0', '0,1', '1,0', '1,1')}
    found = look.look(of, case, only=('attention', 'lens'))
    assert found.patterns is None and not found.notes
    assert found.lens.tokens_LBTK.shape == (3, 1, 3)
    PIL.Image.fromarray(pixels[:4]).save(path)
    with pytest.raises(UserError, match=r'is 4 x 8 x 3; accepted: 8 x 8 x 3'):
        of.image(path)


BAD = {
    r"the text is empty \(''\)": ('next_token', '--text='),
    'the text has 26 tokens; accepted: 1 to the context of the model, 16': (
        'next_token',
        '--text=abcdefghijklmnopqrstuvwxyz',
    ),
    r'--layer 2: the model has 2; accepted: 0 to 1': ('next_token', '--text=ab', '--layer=2'),
    r'--head 4: the model has 4; accepted: 0 to 3': ('next_token', '--text=ab', '--head=4'),
    'the corrupted text has 3 tokens, the clean one 2': (
        'next_token', '--text=ab', '--corrupt=abc',
    ),
    '--only=foo: accepted: attention, lens': ('next_token', '--text=ab', '--only=lens,foo'),
    '--by=foo: accepted: zero, mean': ('next_token', '--text=ab', '--only=lens', '--by=foo'),
    '--only=lens: with --corrupt accepted: one of heads': (
        'next_token', '--text=ab', '--corrupt=ac', '--only=lens',
    ),
    "--target='cd' is 2 tokens .* the text has 1": ('masked', '--text=a[MASK]', '--target=cd'),
    "--target='fair' is no class .* bad, good, mixed": (
        'classification', '--text=a', '--target=fair',
    ),
    "--target='X': a model of tags": ('token_classification', '--text=a', '--target=X'),
    'reads two texts; accepted: --text with --target': ('seq2seq', '--text=a'),
    'holds a model of images; accepted: --image': ('image_classification', '--text=a'),
    'holds a model of text; accepted: --text': ('next_token', '--image=some.png'),
    'a checkpoint has no data': ('next_token', '--example=0'),
    '--text and --image: accepted: one of': ('next_token', '--text=a', '--image=some.png'),
    'none of them: accepted: one of --text': ('next_token',),
    '--target=a: an example has its own': ('next_token', '--example=0', '--target=a'),
}  # fmt: skip


@pytest.mark.parametrize('message', BAD)
def test_what_is_refused(monkeypatch, capsys, message):
    kind, *words = BAD[message]
    with pytest.raises(UserError, match=message):
        run(monkeypatch, capsys, kind, *words)


def test_a_model_without_attention_is_looked_at_all_the_same(monkeypatch, capsys, tmp_path):
    of = inside.without_attention()
    found = look.look(of, of.read('abc'), only=('attention', 'lens', 'layers'))
    assert not found.maps and found.patterns is None
    assert found.notes == (
        'no layer of the model has attention weights (its mixers: Mamba): '
        'there are no attention maps',
    )
    assert np.isfinite(found.lens.entropy_LBT).all()
    assert np.isfinite(found.ablated.layers['stack', 'mixer']).all()
    with pytest.raises(UserError, match='its mixers: Mamba'):
        look.look(of, of.read('abc'), only=('attention',))
    with pytest.raises(UserError, match='--head 0: the mixers of the model have no heads'):
        look.look(of, of.read('abc'), head=0)


def test_a_row_of_the_data_is_cut_behind_its_last_token(monkeypatch):
    of = dataclasses.replace(inside.subject('seq2seq'), experiment='a run')
    row = {
        'inputs': [97, 98, 0, 0],
        'positions': [0, 1, 0, 0],
        'segment_ids': [1, 1, 0, 0],
        'decoder_inputs': [256, 99, 100, 0],
        'decoder_positions': [0, 1, 2, 0],
        'decoder_segment_ids': [1, 1, 1, 0],
        'targets': [99, 100, 256, 0],
        'weights': [1.0, 1.0, 1.0, 0.0],
        'source': 0,
    }
    rows = [{name: np.asarray(x) for name, x in row.items()}]

    class Rows(list):
        at = list.__getitem__

    split = types.SimpleNamespace(rows=Rows(rows))
    loaded = types.SimpleNamespace(feed=types.SimpleNamespace(validation=split))
    monkeypatch.setattr('data.load.load', lambda experiment, tokenizer: loaded)
    case = of.example(0)
    assert case.labels == {'encoder': ('a', 'b'), 'decoder': ('<|endoftext|>', 'c', 'd')}
    assert case.batch['targets'].tolist() == [[99, 100, 256]]
    assert 'source' not in case.batch
    with pytest.raises(UserError, match='--example=1: accepted: 0 to 0'):
        of.example(1)


def test_unknown_tokens_of_a_made_up_task():
    from transformer.tasks import TASKS

    of = inside.made_up(TASKS['modular_addition'](modulus=5, share=0.5))
    case = of.read('3 4 =', '2')
    assert case.batch['inputs'].tolist() == [[3, 4, 5]]
    assert case.batch['targets'][0, 2] == 2 and case.batch['weights'].tolist() == [[0, 0, 1]]
    assert of.piece(5) == '=␣'
    with pytest.raises(UserError, match=r"'7' is no token of modular_addition; accepted.* 0, 1, 2"):
        of.read('3 7 =')


def test_no_run():
    with pytest.raises(UserError, match='no/such'):
        of_run('no/such')
