"""Deformable attention beside a plain loop over every query, head, level and point."""

import math

import pytest
import torch

from autoseg.model.networks.maskdino.attention import DeformableAttention, sample_scales, sine_positions

SIZES = [(6, 4), (3, 5), (1, 2)]
TOKENS = sum(rows * columns for rows, columns in SIZES)


def look(level, x, y):
    """Interpolate a map (rows, columns, depth) at parts of the frame, zeros outside."""
    rows, columns, depth = level.shape
    x, y = x * columns - 0.5, y * rows - 0.5
    total = torch.zeros(depth, dtype=level.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < rows and 0 <= column < columns:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * level[row, column]
    return total


def maps_of(values):
    starts = [0, 24, 39]
    return [values[s : s + r * c].reshape(r, c, -1) for s, (r, c) in zip(starts, SIZES, strict=True)]


def test_sampling_equals_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, TOKENS, 2, 3, generator=generator)
    places = torch.rand(2, 5, 2, 3, 4, 2, generator=generator) * 1.4 - 0.2  # some outside
    weights = torch.rand(2, 5, 2, 3, 4, generator=generator)
    expected = torch.zeros(2, 5, 2, 3)
    for image, query, head, level, point in torch.cartesian_prod(*map(torch.arange, (2, 5, 2, 3, 4))).tolist():
        x, y = places[image, query, head, level, point].tolist()
        seen = look(maps_of(values[image, :, head])[level], x, y)
        expected[image, query, head] += weights[image, query, head, level, point] * seen
    torch.testing.assert_close(
        sample_scales(values, places, weights, SIZES), expected.flatten(2), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("coordinates", [2, 4])
def test_attention_equals_a_plain_loop(coordinates):
    torch.manual_seed(1)
    heads, levels, points, width = 2, 3, 2, 8
    layer = DeformableAttention(width, heads=heads, scales=levels, points=points)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    queries, tokens = torch.randn(1, 3, width), torch.randn(1, TOKENS, width)
    reference = torch.rand(1, 3, coordinates)
    with torch.no_grad():
        values = layer.values(tokens)[0].view(TOKENS, heads, width // heads)
        expected = torch.zeros(3, heads, width // heads)
        for query in range(3):
            offsets = layer.offsets(queries[0, query]).view(heads, levels, points, 2)
            shares = layer.shares(queries[0, query]).view(heads, -1).softmax(1).view(heads, levels, points)
            for head, level, point in torch.cartesian_prod(*map(torch.arange, (heads, levels, points))).tolist():
                place = []
                for axis in (0, 1):
                    if coordinates == 2:  # in pixels of the level
                        step = offsets[head, level, point, axis] / SIZES[level][1 - axis]
                    else:  # the last point at the box's edge
                        step = offsets[head, level, point, axis] / points * reference[0, query, 2 + axis] / 2
                    place.append(float(reference[0, query, axis] + step))
                seen = look(maps_of(values[:, head])[level], *place)
                expected[query, head] += shares[head, level, point] * seen
        expected = layer.result(expected.flatten(1))
        torch.testing.assert_close(layer(queries, reference, tokens, SIZES)[0], expected, atol=1e-5, rtol=1e-5)


def test_heads_look_in_different_directions_at_first():
    layer = DeformableAttention(16, heads=8, scales=1, points=2)
    steps = layer.offsets.bias.detach().view(8, 2, 2)
    directions = torch.nn.functional.normalize(steps[:, 0], dim=1)
    assert float((directions @ directions.T - torch.eye(8)).max()) < 0.99
    torch.testing.assert_close(steps[:, 1], 2 * steps[:, 0])


def test_positions_tell_places_apart():
    places = torch.cartesian_prod(torch.arange(16), torch.arange(16)) / 16
    written = sine_positions(places, 16)
    assert written.shape == (256, 32)
    apart = torch.cdist(written, written) + 10 * torch.eye(256)
    assert float(apart.min()) > 0.3
