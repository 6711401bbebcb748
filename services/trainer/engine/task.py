"""The detection task: Model Garden's RetinaNet task with our network and our input in place of its factories'.

Owns what of a run goes into Model Garden's configuration. Losses, training step, COCO evaluation (but for what coco.py adds)
and NMS are the library's own.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from official.core import config_definitions, task_factory
from official.vision.configs import common, retinanet
from official.vision.tasks.retinanet import RetinaNetTask

from services.trainer.engine.coco import Evaluator
from services.trainer.engine.inputs import build_dataset
from services.trainer.engine.models.registry import BOX_CODER_WEIGHTS, build_model, network_of
from services.trainer.engine.predictions import Batches
from services.trainer.protocol import RunSpec

SHUFFLE_RECORDS = 2048
"""Records held for shuffling, still encoded: some 100 MB at 50 kB a picture."""

MOST_TRUE_BOXES = 100
"""True boxes a picture that evaluation looks at; the rest is cut off."""


@dataclasses.dataclass
class DetectionConfig(retinanet.RetinaNetTask):  # type: ignore[misc]
    """Model Garden's configuration and the starting model's name."""

    starting_model: str = ""


@task_factory.register_task_cls(DetectionConfig)
class DetectionTask(RetinaNetTask):  # type: ignore[misc]
    """Builds our model, input and evaluator; everything else is inherited."""

    def build_model(self) -> Any:
        """The detector of the configured starting model, freshly initialised."""
        config = self.task_config
        return build_model(network_of(config.starting_model), config.model.num_classes)

    def build_inputs(self, params: Any, input_context: Any = None) -> Any:
        """Batches of (pictures, labels) from TFRecord shards."""
        config = self.task_config
        return build_dataset(params, network_of(config.starting_model), config.model.num_classes, input_context)

    def build_metrics(self, training: bool = True) -> Any:
        """The library's means of the losses; those of an evaluation come with COCO's, which are kept aside."""
        means = super().build_metrics(training)
        if not training:
            self.coco_metric = Evaluator()
        return means

    def take_found(self) -> Batches:
        """What the model found at the last evaluation; given away once."""
        return self.coco_metric.take()


def experiment(spec: RunSpec) -> Any:
    """The Model Garden experiment of `spec`."""
    network = network_of(spec.starting_model)
    side = network.image_size
    task = DetectionConfig(
        starting_model=spec.starting_model,
        model=retinanet.RetinaNet(
            num_classes=len(spec.labels) + 1,
            input_size=[side, side, 3],
            min_level=network.min_level,
            max_level=network.max_level,
            detection_generator=retinanet.DetectionGenerator(box_coder_weights=list(BOX_CODER_WEIGHTS)),
        ),
        losses=retinanet.Losses(
            focal_loss_alpha=network.focal_alpha,
            focal_loss_gamma=network.focal_gamma,
            huber_loss_delta=1.0,
            box_loss_weight=1,
        ),
        train_data=_data(spec, spec.train_files, training=True),
        validation_data=_data(spec, spec.eval_files, training=False),
        init_checkpoint_modules="all",
    )
    return config_definitions.ExperimentConfig(
        task=task, trainer=config_definitions.TrainerConfig(steps_per_loop=1, train_steps=spec.steps)
    )


def _data(spec: RunSpec, files: list[str], *, training: bool) -> Any:
    return retinanet.DataConfig(
        input_path=files,
        is_training=training,
        global_batch_size=spec.batch_size if training else min(spec.batch_size, 8),
        drop_remainder=training,
        dtype="float32",
        # Pictures are evaluated shard after shard: their positions say which are kept to be looked at.
        cycle_length=None if training else 1,
        deterministic=None if training else True,
        shuffle_buffer_size=min(SHUFFLE_RECORDS, max(1, spec.train_frames)),
        seed=spec.seed + spec.resume_step,
        parser=retinanet.Parser(
            aug_type=common.Augmentation(type="ssd_random_crop") if training else None,
            aug_rand_hflip=training,
            max_num_instances=MOST_TRUE_BOXES,
            pad=False,
            keep_aspect_ratio=False,
        ),
    )
