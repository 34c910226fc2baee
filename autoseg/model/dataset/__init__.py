"""Cases as tensors: decoded and resampled once, kept in memory, batched without worker processes."""

from autoseg.model.dataset.batch import Batch, Samples
from autoseg.model.dataset.build import build_samples, fix_patch, plan_samples, read_cases
from autoseg.model.dataset.preview import preview, preview_batch, preview_slices
from autoseg.model.dataset.slices import build_slices
from autoseg.model.dataset.volumes import build_volumes, crop_of, patch_size, store_image
