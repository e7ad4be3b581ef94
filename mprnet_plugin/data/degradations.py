"""What a camera does to a picture, in linear light: it shakes, its sensor counts photons, rain falls before it.

Each is drawn from ranges, (low, high), by the generator that it is given and nothing else: the same generator gives the
same picture. JPEG, which comes last in a camera, is here too.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mprnet_plugin.data.linear_light import LinearImage, to_linear, to_srgb

__all__ = ["draw", "jpeg", "rain", "sensor_noise", "shake", "shake_margin", "shake_path", "streaks"]

Range = Sequence[float]
"""(low, high), drawn from uniformly unless something else is said."""
_STEPS = 33
"""Frames of an exposure, unless its path is so long that they would be seen one by one."""


def draw(rng: np.random.Generator, between: Range) -> float:
    """Draw from a range, uniformly."""
    return float(rng.uniform(between[0], between[1]))


def shake_path(rng: np.random.Generator, length: Range = (6, 18), turn: Range = (0, 0.5)) -> NDArray[np.float64]:
    """Draw a hand's movement during one exposure.

    A velocity that changes slowly and keeps some of its direction, as an arm with inertia does; no kinks.

    Args:
        rng: Draws it.
        length: Of the path, in pixels.
        turn: Around the picture's middle, in degrees.

    Returns:
        steps×3: shift right and down in pixels, turn in degrees. The mean is zero, so blur moves nothing on average.
    """
    steps = max(_STEPS, round(1.5 * length[1]))
    drift = rng.normal(size=(1, 3))
    tremor = cv2.GaussianBlur(rng.normal(size=(steps, 3)), (1, 0), sigmaX=1e-3, sigmaY=steps / 8)
    velocity = drift + 2.5 * tremor / tremor.std()
    path = np.cumsum(velocity, axis=0)
    shift, angle = path[:, :2], path[:, 2:]
    travelled = np.linalg.norm(np.diff(shift, axis=0), axis=1).sum()
    shift = shift * (draw(rng, length) / travelled)
    angle = angle * (draw(rng, turn) / max(float(np.ptp(angle)), 1e-9))
    path = np.concatenate([shift, angle], axis=1)
    centred: NDArray[np.float64] = path - path.mean(axis=0)
    return centred


def shake_margin(length: Range, turn: Range, side: int) -> int:
    """Return how many pixels around a window of ``side`` a camera may see while it shakes."""
    return int(np.ceil(length[1] + np.deg2rad(turn[1]) * side))


def shake(
    linear: LinearImage, rng: np.random.Generator, length: Range = (6, 18), turn: Range = (0, 0.5)
) -> LinearImage:
    """Expose while the camera moves: the mean of the frames seen along :func:`shake_path`."""
    height, width = linear.shape[:2]
    total = np.zeros_like(linear)
    path = shake_path(rng, length, turn)
    for right, down, angle in path:
        move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        move[:, 2] += right, down
        total += cv2.warpAffine(
            linear, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    blurred: LinearImage = total / np.float32(len(path))
    return blurred


def sensor_noise(
    linear: LinearImage, rng: np.random.Generator, electrons: Range = (60, 400), read_noise: Range = (1, 3)
) -> LinearImage:
    """Count photons: shot (Poisson) and read (Gaussian) noise before the white balance.

    The sensor sees red and blue fainter than green; white balance scales them back, and their noise with them.

    Args:
        linear: The scene.
        rng: Draws it.
        electrons: What white gives on green, drawn on a logarithmic scale; few are a dim room, a short exposure and a
            high ISO.
        read_noise: Its standard deviation in electrons.
    """
    balance = np.array([rng.uniform(1.5, 2.4), 1.0, rng.uniform(1.4, 2.0)])
    white = np.exp(draw(rng, np.log(electrons).tolist()))
    deviation = draw(rng, read_noise)
    light = np.clip(linear, 0, None).astype(np.float64) / balance * white
    counted = rng.poisson(light) + rng.normal(scale=deviation, size=light.shape)
    noisy: LinearImage = (counted / white * balance).astype(np.float32)
    return noisy


def streaks(shape: tuple[int, int], rng: np.random.Generator, density: float) -> NDArray[np.float32]:
    """Draw falling rain: how much of each pixel's exposure drops covered, H×W in [0, 1).

    Far drops are many, short, thin and dim; near ones few, long, wide, bright and out of focus. One wind for all,
    a little scatter for each.
    """
    height, width = shape
    clear = np.ones(shape, np.float32)
    wind = rng.normal(scale=12)  # degrees from the vertical
    # drops on 256×256 pixels, length and width in pixels, opacity, blur of the focus in pixels
    depths = ((240, 9, 1, 0.30, 0.4), (90, 20, 1, 0.5, 0.6), (14, 42, 2, 0.6, 1.1))
    for drops, length, thickness, opacity, focus in depths:
        layer = np.zeros(shape, np.uint8)
        count = rng.poisson(density * drops * height * width / 256**2)
        angle = np.deg2rad(wind + rng.normal(scale=2.5, size=count))
        run = length * rng.uniform(0.6, 1.5, (count, 1)) * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        start = rng.uniform((-length, -length), (width + length, height), (count, 2))
        brightness = np.minimum(255 * opacity * rng.uniform(0.4, 1.4, count), 250)
        ends = np.rint(np.stack([start, start + run], axis=1) * 256).astype(int)  # 8 bits of subpixel
        for (top, bottom), shade in zip(ends.tolist(), brightness.tolist(), strict=True):
            cv2.line(layer, top, bottom, shade, thickness, cv2.LINE_AA, 8)
        clear *= 1 - cv2.GaussianBlur(layer, (0, 0), focus).astype(np.float32) / 255
    return 1 - clear


def rain(linear: LinearImage, rng: np.random.Generator, density: Range = (0.7, 1.3)) -> LinearImage:
    """Lay rain over a picture; a density of 1 is plain rain, see :func:`streaks`."""
    cover = streaks(linear.shape[:2], rng, draw(rng, density))[..., None]
    sky = np.float32(rng.uniform(0.55, 0.95)) * np.array([0.96, 0.98, 1.0], np.float32)  # drops bend sky into view
    wet: LinearImage = linear * (1 - cover) + sky * cover
    return wet


def jpeg(linear: LinearImage, rng: np.random.Generator, quality: Range = (60, 95)) -> LinearImage:
    """Write as JPEG, with colour at half the resolution as cameras do, and read again.

    Args:
        linear: The picture.
        rng: Draws the quality.
        quality: Whole numbers from 1 to 100, as libjpeg has them.
    """
    chosen = int(rng.integers(int(quality[0]), int(quality[1]), endpoint=True))
    bgr = np.ascontiguousarray(to_srgb(linear)[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, chosen])
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return to_linear(np.asarray(read, np.uint8)[..., ::-1])
