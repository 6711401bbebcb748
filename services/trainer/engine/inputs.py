"""From TFRecord shards to batches: decoding, augmentation, resizing, matching of anchors.

Owns the input pipeline, put together from Model Garden's reader, decoder and parser, and the search for the file at fault when
reading fails. Records are tf.train.Examples as TfExampleDecoder reads them; label ids start at 1.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from official.common import dataset_fn
from official.core import input_reader
from official.vision.dataloaders import retinanet_input, tf_example_decoder

from services.trainer.engine.models.registry import BOX_CODER_WEIGHTS, Network


class Parser(retinanet_input.Parser):  # type: ignore[misc]
    """Model Garden's parser with the anchors of our network (its own hook for that has no caller)."""

    def __init__(self, network: Network, config: Any, dtype: str) -> None:
        super().__init__(
            output_size=[network.image_size, network.image_size],
            min_level=network.min_level,
            max_level=network.max_level,
            num_scales=None,
            aspect_ratios=None,
            anchor_size=None,
            match_threshold=config.match_threshold,
            unmatched_threshold=config.unmatched_threshold,
            box_coder_weights=list(BOX_CODER_WEIGHTS),
            aug_type=config.aug_type,
            aug_rand_hflip=config.aug_rand_hflip,
            max_num_instances=config.max_num_instances,
            dtype=dtype,
            pad=config.pad,
            keep_aspect_ratio=config.keep_aspect_ratio,
        )
        self._anchors = network.anchor_boxes

    def parse_fn(self, is_training: bool) -> Any:
        parse = self._parse_train_data if is_training else self._parse_eval_data
        return functools.partial(parse, input_anchor=self._anchors)


def _decode(decoder: Any, num_classes: int, record: Any) -> Any:
    """One record's tensors. A label id that the model has no class for is an error, as it would train as background."""
    decoded = decoder.decode(record)
    labels = decoded["groundtruth_classes"]
    message = f"label ids must be between 1 and {num_classes - 1}"
    with tf.control_dependencies(
        [
            tf.debugging.assert_positive(labels, message),
            tf.debugging.assert_less(labels, tf.constant(num_classes, labels.dtype), message),
        ]
    ):
        return decoded | {"groundtruth_classes": tf.identity(labels)}


def _number_pictures(dataset: Any) -> Any:
    """Give each picture its position as id: merged datasets may repeat ids, and COCO would take such pictures for one."""
    return dataset.enumerate().map(lambda index, decoded: decoded | {"source_id": tf.strings.as_string(index)})


def build_dataset(params: Any, network: Network, num_classes: int, input_context: Any = None) -> Any:
    """A dataset of (pictures [batch, side, side, 3] float32, labels): endless and shuffled for training, one pass otherwise."""
    decoder = tf_example_decoder.TfExampleDecoder()
    reader = input_reader.InputReader(
        params,
        dataset_fn=dataset_fn.pick_dataset_fn(params.file_type),
        decoder_fn=functools.partial(_decode, decoder, num_classes),
        sample_fn=None if params.is_training else _number_pictures,
        parser_fn=Parser(network, params.parser, params.dtype).parse_fn(params.is_training),
    )
    return reader.read(input_context=input_context)


def read_pictures(files: Sequence[str], count: int, size: int) -> list[Any]:
    """The first `count` pictures, resized to float32 [size, size, 3] in 0..255."""
    decoder = tf_example_decoder.TfExampleDecoder()
    records = tf.data.TFRecordDataset(list(files)).take(count)
    return [tf.image.resize(decoder.decode(record)["image"], [size, size]).numpy() for record in records]


def find_bad_record(files: Sequence[str], num_classes: int) -> str | None:
    """What is wrong with the first record that can't be read, naming file and record; None if all can be."""
    decode = functools.partial(_decode, tf_example_decoder.TfExampleDecoder(), num_classes)
    for file in files:
        number = 0
        try:
            for number, record in enumerate(tf.data.TFRecordDataset(file), start=1):  # noqa: B007
                decode(record)
        except tf.errors.DataLossError:
            return f"{Path(file).name} is damaged after record {number}"
        except tf.errors.OpError as error:
            reason = str(error.message).splitlines()[0]
            return f"record {number} of {Path(file).name} can't be read ({reason})"
    return None
