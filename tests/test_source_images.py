"""Images in folders by class and in tables."""

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import sources
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import ImageClassification


def load(objective, path='', **fields):
    return sources.load(SourceConfig(path=str(path), **fields), objective)


def both(corpus):
    return [*corpus.train, *corpus.validation]


def picture(path, level, mode='L', size=(5, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = level if mode == 'L' else (level, 0, 255)
    PIL.Image.new(mode, size, shade).save(path)


def test_folders_of_images(tmp_path):
    for n in range(10):
        picture(tmp_path / 'dark' / f'{n}.png', n)
        picture(tmp_path / 'light' / 'more' / f'{n}.png', 200 + n)
    (tmp_path / 'dark' / 'notes.txt').write_text('not an image')
    found = load(ImageClassification(), tmp_path)
    assert found.classes == ('dark', 'light') and len(found.validation) == 2
    levels = sorted((round(float(image.max() * 255)), label) for image, label in both(found))
    assert levels == [(n, 0) for n in range(10)] + [(200 + n, 1) for n in range(10)]
    assert {(image.shape, image.dtype.name) for image, _ in both(found)} == {((4, 5, 1), 'float32')}
    picture(tmp_path / 'light' / 'colour.jpg', 9, 'RGB')
    assert {image.shape for image, _ in both(load(ImageClassification(), tmp_path))} == {(4, 5, 3)}
    picture(tmp_path / 'light' / 'large.png', 9, size=(6, 4))
    with pytest.raises(UserError, match=r'large\.png has 4 x 6 pixels, .*0\.png has 4 x 5'):
        load(ImageClassification(), tmp_path)
    (tmp_path / 'light' / 'large.png').write_bytes(b'no image')
    with pytest.raises(UserError, match=r'large\.png is no image'):
        load(ImageClassification(), tmp_path)


def test_folders_of_images_by_split(tmp_path):
    for name in ('train/a/1', 'train/b/1', 'train/b/2', 'validation/a/1', 'test/b/1'):
        picture(tmp_path / f'{name}.png', 7)
    found = load(ImageClassification(), tmp_path, test_split='test')
    labels = [
        [label for _, label in split] for split in (found.train, found.validation, found.test)
    ]
    assert labels == [[0, 1, 1], [0], [1]]
    with pytest.raises(ConfigError, match='folders of .*: test, train, validation'):
        load(ImageClassification(), tmp_path, validation_split='dev')
    picture(tmp_path / 'validation/c/1.png', 7)
    with pytest.raises(UserError, match="'c' is not a class of the training split: a, b"):
        load(ImageClassification(), tmp_path)
    whole = (tmp_path / 'train/b/2.png').read_bytes()
    (tmp_path / 'train/b/2.png').write_bytes(whole[:-25])
    (tmp_path / 'validation/c/1.png').unlink()
    with pytest.raises(UserError, match=r'2\.png is no whole image'):
        list(load(ImageClassification(), tmp_path).train)


def test_images_of_tables(tmp_path):
    records = []
    for n in range(12):
        picture(tmp_path / 'x.png', n)
        image = {'bytes': (tmp_path / 'x.png').read_bytes(), 'path': f'{n}.png'}
        records.append({'image': image, 'label': n % 2})
    pq.write_table(pa.Table.from_pylist(records), tmp_path / 'a.parquet')
    found = load(ImageClassification(), tmp_path / 'a.parquet')
    levels = sorted((round(float(image.max() * 255)), label) for image, label in both(found))
    assert levels == [(n, n % 2) for n in range(12)]
    pq.write_table(pa.table({'picture': ['x'], 'label': [1]}), tmp_path / 'c.parquet')
    with pytest.raises(ConfigError, match=r"'image' .they have picture, label") as raised:
        load(ImageClassification(), tmp_path / 'c.parquet')
    assert (raised.value.field, raised.value.value) == ('data.path', str(tmp_path / 'c.parquet'))
    (tmp_path / 'b.txt').write_text('x')
    with pytest.raises(ConfigError, match='folder of images for each class'):
        load(ImageClassification(), tmp_path / 'b.txt')


@pytest.mark.parametrize('named', [str, lambda name: {'bytes': None, 'path': name}])
def test_records_name_images_below_their_folder_only(tmp_path, named):
    for place in ('data/in/1.png', 'data/2.png', 'out.png'):
        picture(tmp_path / place, 9)
    (tmp_path / 'data' / 'link.png').symlink_to(tmp_path / 'out.png')

    def write(*images):
        records = [{'image': named(image), 'label': n % 2} for n, image in enumerate(images)]
        pq.write_table(pa.Table.from_pylist(records), tmp_path / 'data' / 'a.parquet')
        return load(ImageClassification(), tmp_path / 'data' / 'a.parquet', validation_fraction=0.5)

    inside = ['in/1.png', '2.png', 'in/../2.png', str(tmp_path / 'data' / '2.png')]
    assert {image.shape for image, _ in both(write(*inside))} == {(4, 5, 1)}
    for outside in ('../out.png', str(tmp_path / 'out.png'), 'link.png', '/etc/passwd'):
        found = write(*inside[:3], outside)
        with pytest.raises(UserError, match=r'a\.parquet, record 3: the image .* is not below'):
            both(found)


def test_images_that_are_none_can_be_skipped(tmp_path):
    picture(tmp_path / 'x.png', 9)
    whole = (tmp_path / 'x.png').read_bytes()
    records = [{'image': whole, 'label': n % 2} for n in range(8)]
    records[3]['image'], records[5]['image'] = whole[:-25], None
    pq.write_table(pa.Table.from_pylist(records), tmp_path / 'a.parquet')
    with pytest.raises(UserError, match=r'a\.parquet, record [35] is no whole image'):
        both(load(ImageClassification(), tmp_path / 'a.parquet'))
    found = load(ImageClassification(), tmp_path / 'a.parquet', bad_records='skip')
    assert len(both(found)) == 6 and found.skipped == {'no image': 2}
