"""What the dataset service is told through its environment, besides what all services share."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import Field

from services.dataset.archive import ArchiveLimits
from services.dataset.pictures import PictureLimits
from shared.runtime.settings import CommonSettings


class DatasetSettings(CommonSettings):
    """Limits are per upload but for `max_datasets`; sizes are bytes."""

    port: int = Field(8101, ge=0, le=65535, description="port to listen on, 0 for any free one")
    import_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()) / "trainyard-imports",
        description="folder for uploads and what is made of them, before they become a dataset",
    )
    imports_at_once: int = Field(2, ge=1, le=64, description="imports side by side; more wait with their upload done")
    max_datasets: int = Field(20, ge=1, le=10_000, description="datasets of one team")
    max_upload_bytes: int = Field(1024**3, ge=1, description="largest zip")
    max_entries: int = Field(20_000, ge=1, le=200_000, description="most entries of a zip")
    max_expanded_bytes: int = Field(4 * 1024**3, ge=1, description="most bytes that are unpacked from one zip")
    max_entry_bytes: int = Field(64 * 1024**2, ge=1, description="most bytes that one entry unpacks to")
    max_pixels: int = Field(50_000_000, ge=1, le=170_000_000, description="most pixels of a picture, by its header")
    max_labels: int = Field(100, ge=1, le=1000, description="most different labels of a dataset")
    longest_side: int = Field(640, ge=64, le=4096, description="longest side of stored pictures, in pixels")
    jpeg_quality: int = Field(92, ge=50, le=95, description="quality of stored pictures")
    max_team_uploads: int = Field(
        4, ge=1, le=1000, description="resumable uploads of one team that aren't imported yet"
    )
    upload_lifetime_seconds: float = Field(
        86_400.0, ge=1, description="a resumable upload that gets no more bytes for so long is removed"
    )
    silence_seconds: float = Field(
        60.0, ge=1, le=3600, description="an import that gives no sign of life for so long is given up and removed"
    )

    def archive_limits(self) -> ArchiveLimits:
        """The bounds on an upload."""
        return ArchiveLimits(
            upload_bytes=self.max_upload_bytes,
            entries=self.max_entries,
            expanded_bytes=self.max_expanded_bytes,
            entry_bytes=self.max_entry_bytes,
        )

    def picture_limits(self) -> PictureLimits:
        """The bounds on a picture and how it is stored."""
        return PictureLimits(pixels=self.max_pixels, longest_side=self.longest_side, quality=self.jpeg_quality)
