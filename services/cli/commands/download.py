"""`trainyard download`: a trained model's file, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

import click
import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from services.cli import figures, show
from services.cli.api import Api
from services.cli.commands.jobs import find_job
from services.cli.context import Context, json_option, pass_context
from shared.contract.errors import UserError
from shared.contract.views import ExportedFile


class Saved(msgspec.Struct, frozen=True):
    """A file that arrived whole."""

    path: str
    format: str
    bytes: int
    sha256: str


@click.command()
@click.argument("job", metavar="JOB")
@click.option("--format", "file_format", default="float32", show_default=True, help="float32, float16 or labels.")
@click.option("--output", "-o", metavar="PATH", type=click.Path(path_type=Path), help="File or folder, else here.")
@json_option
@pass_context
def download(context: Context, job: str, file_format: str, output: Path | None) -> None:
    """Get a trained model's file. It is checked, and it appears only once it is complete."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=context.err,
        transient=True,
        disable=not context.err.is_terminal,
    )

    async def fetch(api: Api) -> Saved:
        job_id = await find_job(api, job)
        export = (await api.model(job_id)).model.export
        files = {} if export is None else {file.format: file for file in export.files}
        with progress:
            return await _fetch(api, job_id, file_format, files.get(file_format), output, progress)

    try:
        saved = context.run(fetch)
    except OSError as error:
        raise UserError(
            "cannot_write", f"{error.filename or output}: {error.strerror or error}.", "--output"
        ) from error
    context.show(saved, show.text(f"{saved.path}  {figures.size(saved.bytes)}, checked"))


async def _fetch(
    api: Api, job_id: str, file_format: str, expected: ExportedFile | None, output: Path | None, progress: Progress
) -> Saved:
    digest, received = hashlib.sha256(), 0
    async with api.download(job_id, file_format) as arriving:
        target = _target(output, arriving.name or f"{job_id[:8]}-{file_format}")
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        task = progress.add_task(target.name, total=arriving.length)
        try:
            with aside.open("xb") as file:
                async for chunk in arriving.chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    progress.update(task, completed=received)
                file.flush()
                os.fsync(file.fileno())
            if expected is not None:
                _verify(expected, received, digest.hexdigest())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    return Saved(str(target), file_format, received, digest.hexdigest())


def _target(output: Path | None, server_name: str) -> Path:
    """Where to put the file. The server's name is no more than a name: it can't lead into another folder."""
    name = figures.plain(Path(server_name.replace("\\", "/")).name).lstrip(".") or "model"
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output


def _verify(expected: ExportedFile, received: int, digest: str) -> None:
    if received != expected.bytes or digest != expected.sha256:
        raise UserError(
            "corrupt_download",
            f"The file arrived damaged: {received:,} bytes, SHA-256 {digest[:12]}…; it should have {expected.bytes:,} bytes, "
            f"{expected.sha256[:12]}…. Nothing was saved. Try again.",
        )
