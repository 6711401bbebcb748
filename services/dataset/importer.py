"""From an uploaded zip on disk to a folder that holds a dataset: shards, label map, manifest, report, and the index of its
pictures in a folder below it.

Owns the order of the steps and what is left behind: everything or nothing. Synchronous, meant for a worker thread;
knows neither HTTP nor the store. Reads no clock and no random source, so the same upload with the same options gives the
same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from services.dataset import findings, index, pictures, report
from services.dataset.archive import Archive, ArchiveLimits
from services.dataset.formats import tfrecord, voc
from services.dataset.formats.voc import Annotation, Skipped
from services.dataset.frames import Box, Frame, clip, scale
from services.dataset.pictures import Picture, PictureLimits
from services.dataset.report import Imported, Manifest, Notes
from services.dataset.split import Split, split
from services.dataset.spool import Spool
from shared.contract.api.datasets import ImportReport
from shared.contract.errors import UserError
from shared.contract.views import Finding

IMPORTER = "voc/1"
MANIFEST = "manifest.json"
REPORT = "report.json"
MIN_EVAL_PERCENT, MAX_EVAL_PERCENT = 5, 50
# One annotation describes one picture: more than this is some other kind of XML.
MAX_XML_BYTES = 1024**2


class ImportCancelled(Exception):
    """`should_stop` said so; nothing is left behind."""


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to import. `source_name` is shown, `salt` makes picture ids unique between datasets (the dataset's id).

    `unlabelled` says what a picture without an XML is: left out, as it may just not have been labelled yet, or a negative.
    """

    source_name: str
    salt: str
    eval_percent: int = 20
    seed: int = 0
    unlabelled: Literal["skip", "negative"] = "skip"
    max_labels: int = 100
    archive: ArchiveLimits = ArchiveLimits()
    pictures: PictureLimits = PictureLimits()


def import_archive(
    zip_path: Path,
    out_dir: Path,
    options: ImportOptions,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imported:
    """Import the Pascal VOC archive `zip_path` into `out_dir`, which must not exist and does so only when all is done.

    `should_stop` and `on_progress(frames done, frames in all)` are called between frames. Raises ImportCancelled, or
    UserError for all that is wrong with the upload (codes: archive.py, pictures.py, formats/voc.py and, here,
    eval_percent_out_of_range, no_images, no_annotations, no_labelled_frame, too_few_labelled_frames, too_many_labels); in
    each case leaves nothing behind.
    """
    if not MIN_EVAL_PERCENT <= options.eval_percent <= MAX_EVAL_PERCENT:
        message = f"eval_percent is {options.eval_percent}; it must be from {MIN_EVAL_PERCENT} to {MAX_EVAL_PERCENT}."
        raise UserError("eval_percent_out_of_range", message, "eval_percent")
    partial = out_dir.with_name(out_dir.name + ".partial")
    partial.mkdir()
    try:
        with Archive.open(zip_path, options.archive) as archive, Spool(partial / "spool") as spool:
            imported = _Import(archive, spool, partial, options, should_stop, on_progress).run()
        partial.rename(out_dir)
    except BaseException:
        shutil.rmtree(partial)
        raise
    return imported


class _Import:
    """One import under way."""

    def __init__(
        self,
        archive: Archive,
        spool: Spool,
        folder: Path,
        options: ImportOptions,
        should_stop: Callable[[], bool],
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._archive = archive
        self._spool = spool
        self._folder = folder
        self._options = options
        self._should_stop = should_stop
        self._on_progress = on_progress
        self._skipped: list[Skipped] = []
        self._notes = Notes()

    def run(self) -> Imported:
        names = {name: PurePosixPath(name).suffix.casefold() for name in self._archive.names}
        images = [name for name, suffix in names.items() if suffix in pictures.EXTENSIONS]
        xml_names = [name for name, suffix in names.items() if suffix == ".xml"]
        others = [name for name, suffix in names.items() if suffix in pictures.OTHER_EXTENSIONS]
        self._require_input(images, xml_names)
        self._skipped += [Skipped(name, "unsupported_format") for name in others]
        annotations = self._read_annotations(xml_names)
        matching = voc.match(annotations, images)
        self._skipped += matching.skipped
        frames = self._read_frames(matching.pairs, images)
        pools = self._split(frames)
        manifest = self._write(pools)
        found = self._index(manifest)
        oddities = self._notes.warnings()
        outcome = ImportReport(
            read={"pictures": len(frames)},
            annotations=len(matching.pairs),
            boxes=manifest.train.boxes + manifest.eval.boxes,
            ignored=len(names) - len(images) - len(xml_names) - len(others),
            skipped=report.listed(self._skipped),
            skipped_total=len(self._skipped),
            skipped_by_code=report.by_code(self._skipped),
            warnings=[item.message for item in oddities] + [item.message for item in found],
            oddities=oddities,
            look_alike_groups=pools.groups_of_look_alikes,
        )
        for name, content in ((MANIFEST, manifest), (REPORT, outcome)):
            (self._folder / name).write_bytes(msgspec.json.format(msgspec.json.encode(content)))
        return Imported(manifest, outcome, found)

    def _index(self, manifest: Manifest) -> list[Finding]:
        folder = self._folder / index.FOLDER
        folder.mkdir()
        shards = [index.Shard(file.name, partial(FileIO, self._folder / file.name)) for file in manifest.files]
        made = index.build(shards, [label.name for label in manifest.labels], folder, self._check_stop)
        return findings.findings(made, findings.count(made))

    @staticmethod
    def _require_input(images: list[str], xml_names: list[str]) -> None:
        if not images:
            raise UserError("no_images", "The archive holds no JPEG, PNG or BMP picture.", "file")
        if not xml_names:
            message = (
                f"The archive holds {len(images):,} pictures but no XML file that says what is in them (Pascal VOC)."
            )
            raise UserError("no_annotations", message, "file")

    def _check_stop(self) -> None:
        if self._should_stop():
            raise ImportCancelled

    def _read_annotations(self, names: list[str]) -> list[Annotation]:
        annotations = []
        for name in names:
            self._check_stop()
            if self._archive.declared_bytes(name) > MAX_XML_BYTES:
                self._skipped.append(Skipped(name, "xml_too_large"))
                continue
            parsed = voc.parse(self._archive.read(name), name)
            if isinstance(parsed, Skipped):
                self._skipped.append(parsed)
            else:
                annotations.append(parsed)
        return annotations

    def _read_frames(self, pairs: dict[str, Annotation], images: list[str]) -> list[Frame]:
        unlabelled = [name for name in images if name not in pairs]
        wanted: dict[str, Annotation | None] = dict(pairs)
        if self._options.unlabelled == "negative":
            wanted |= dict.fromkeys(unlabelled)
        else:
            self._skipped += [Skipped(name, "no_annotation") for name in unlabelled]
        frames = []
        for done, (name, annotation) in enumerate(sorted(wanted.items()), start=1):
            self._check_stop()
            size = annotation.size if annotation else None
            picture = pictures.load(self._archive.read(name), name, self._options.pictures, size)
            boxes = self._boxes(annotation, picture, name) if annotation else ()
            if boxes is not None:
                self._spool.add(name, picture.jpeg)
                frames.append(_frame(name, picture, boxes))
            self._on_progress(done, len(wanted))
        return frames

    def _boxes(self, annotation: Annotation, picture: Picture, name: str) -> tuple[Box, ...] | None:
        """The usable boxes in pixels of the stored picture; None where there are objects but no usable box: no negative."""
        if picture.rotated:
            self._notes.add("rotated", name)
        source = (picture.source_width, picture.source_height)
        factors = (1.0, 1.0)
        if annotation.size and annotation.size != source:
            factors = (source[0] / annotation.size[0], source[1] / annotation.size[1])
            same_shape = abs(factors[0] / factors[1] - 1) <= 0.01
            self._notes.add("size_scaled" if same_shape else "size_mismatch", name)
            if not same_shape:
                factors = (1.0, 1.0)
        for code, count in annotation.unusable.items():
            self._notes.add(code, annotation.name, count)
        stored = (picture.width / source[0], picture.height / source[1])
        boxes = []
        for box in annotation.boxes:
            clipped = clip(scale(box, *factors), *source)
            if clipped.box is None:
                self._notes.add("box_dropped", annotation.name)
                continue
            self._notes.add("box_clipped", annotation.name, int(clipped.moved))
            boxes.append(scale(clipped.box, *stored))
        if not boxes and not annotation.is_negative:
            self._skipped.append(Skipped(name, "no_usable_box"))
            return None
        return tuple(boxes)

    def _split(self, frames: list[Frame]) -> Split:
        labels = {label for frame in frames for label in frame.labels}
        if not labels:
            raise UserError("no_labelled_frame", self._no_label_message(frames), "file", details=self._skip_details())
        if len(labels) > self._options.max_labels:
            message = (
                f"The archive has {len(labels):,} different labels; at most {self._options.max_labels} are allowed."
            )
            raise UserError("too_many_labels", message, "file", details={"limit": self._options.max_labels})
        pools = split(frames, self._options.eval_percent, self._options.seed)
        if pools is None:
            message = (
                "Only one picture has usable boxes; at least 2 different ones are needed, to train and to evaluate."
            )
            raise UserError("too_few_labelled_frames", message, "file", details=self._skip_details())
        return pools

    def _no_label_message(self, frames: list[Frame]) -> str:
        found = report.by_code(self._skipped)
        why = "; ".join(f"{count:,}: {report.SKIP_REASONS[reason]}" for reason, count in found.items())
        return f"No picture with a usable box was found among {len(frames):,} read" + (
            f" (skipped: {why})." if why else "."
        )

    def _skip_details(self) -> dict[str, object]:
        return {"skipped": msgspec.to_builtins(report.listed(self._skipped)), "skipped_total": len(self._skipped)}

    def _write(self, pools: Split) -> Manifest:
        labels = sorted({label for frame in (*pools.train, *pools.eval) for label in frame.labels})
        label_ids = {label: number for number, label in enumerate(labels, start=1)}
        files = []
        for pool, frames in (("train", pools.train), ("eval", pools.eval)):
            self._check_stop()
            shards = tfrecord.shard_count(len(frames), self._spool.size(frames))
            files += tfrecord.write_pool(
                self._folder, pool, frames, self._spool.get, label_ids, shards, self._options.salt
            )
        label_map = self._folder / tfrecord.LABEL_MAP
        label_map.write_text(tfrecord.label_map(labels), encoding="utf-8")
        files.append(tfrecord.file_entry(label_map))
        return Manifest(
            importer=IMPORTER,
            source_name=self._options.source_name,
            seed=self._options.seed,
            eval_percent=self._options.eval_percent,
            labels=report.count_labels(labels, pools.train, pools.eval),
            train=report.count_pool(pools.train),
            eval=report.count_pool(pools.eval),
            bytes=sum(file.bytes for file in files),
            files=files,
        )


def _frame(name: str, picture: Picture, boxes: tuple[Box, ...]) -> Frame:
    return Frame(
        name=name,
        width=picture.width,
        height=picture.height,
        boxes=boxes,
        digest=picture.digest,
        dhash=picture.dhash,
    )
