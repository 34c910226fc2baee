"""Cases as tensors: decoded and resampled once, kept in memory, batched without worker processes."""

from autoseg.model.dataset.batch import Batch, Samples
from autoseg.model.dataset.build import build_samples, fix_patch, plan_input, plan_samples, read_cases
from autoseg.model.dataset.preview import preview, preview_batch, preview_slices
from autoseg.model.dataset.slices import SliceSet, build_slices, sample_batch
from autoseg.model.dataset.volumes import Volume, VolumeSet, build_volumes, crop_of, patch_size, store_image

__all__ = [
    "Batch",
    "Samples",
    "SliceSet",
    "Volume",
    "VolumeSet",
    "build_samples",
    "build_slices",
    "build_volumes",
    "crop_of",
    "fix_patch",
    "patch_size",
    "plan_input",
    "plan_samples",
    "preview",
    "preview_batch",
    "preview_slices",
    "read_cases",
    "sample_batch",
    "store_image",
]
