"""Our own TFDS data sets: `array_record` files, made and read without TensorFlow."""

from data.builders.python_stdlib import PythonStdlib
from data.builders.tiny_shakespeare import TinyShakespeare

BUILDERS = {builder.name: builder for builder in (PythonStdlib, TinyShakespeare)}
