"""The computer that learns and predicts: its device, number format and speed; and others beside it (`cluster`)."""

from autoseg.model.device.choice import (
    Gpu,
    advise_gpu,
    choose_device,
    choose_precision,
    count_gpus,
    cuda_failure,
    find_gpu,
    halve_batch,
    in_layout,
    is_out_of_memory,
    keep_freed_memory,
    require_memory,
    where_memory_allows,
    with_layout,
)
from autoseg.model.device.computer import (
    Computer,
    advise_memory,
    find_computer,
    find_memory,
    measure_rate,
    measure_speed,
)
