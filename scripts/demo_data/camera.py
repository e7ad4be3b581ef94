"""What a camera does to a picture, in linear light: it shakes, its sensor counts photons, rain falls before it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from demo_data.images import LinearImage

__all__ = ["Degradation", "rain", "sensor_noise", "shake", "shake_path", "streaks"]

Degradation = Callable[[LinearImage, np.random.Generator], LinearImage]


def shake_path(rng: np.random.Generator, steps: int = 33) -> NDArray[np.float64]:
    """Draw a hand's movement during one exposure.

    A velocity that changes slowly and keeps some of its direction, as an arm with inertia does; no kinks.

    Returns:
        steps×3: shift right and down in pixels, turn in degrees. The mean is zero, so blur moves nothing on average.
    """
    drift = rng.normal(size=(1, 3))
    tremor = cv2.GaussianBlur(rng.normal(size=(steps, 3)), (1, 0), sigmaX=1e-3, sigmaY=steps / 8)
    velocity = drift + 2.5 * tremor / tremor.std()
    path = np.cumsum(velocity, axis=0)
    shift, turn = path[:, :2], path[:, 2:]
    travelled = np.linalg.norm(np.diff(shift, axis=0), axis=1).sum()
    shift = shift * (rng.uniform(6, 18) / travelled)
    turn = turn * (rng.uniform(0, 0.5) / max(float(np.ptp(turn)), 1e-9))
    path = np.concatenate([shift, turn], axis=1)
    centred: NDArray[np.float64] = path - path.mean(axis=0)
    return centred


def shake(linear: LinearImage, rng: np.random.Generator) -> LinearImage:
    """Expose while the camera moves: the mean of the frames seen along :func:`shake_path`."""
    height, width = linear.shape[:2]
    total = np.zeros_like(linear)
    path = shake_path(rng)
    for right, down, turn in path:
        move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, 1.0)
        move[:, 2] += right, down
        total += cv2.warpAffine(
            linear, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    blurred: LinearImage = total / np.float32(len(path))
    return blurred


def sensor_noise(linear: LinearImage, rng: np.random.Generator) -> LinearImage:
    """Count photons in a dim room: shot (Poisson) and read (Gaussian) noise before the white balance.

    The sensor sees red and blue fainter than green; white balance scales them back, and their noise with them.
    """
    balance = np.array([rng.uniform(1.5, 2.4), 1.0, rng.uniform(1.4, 2.0)])
    electrons = np.exp(rng.uniform(np.log(60), np.log(400)))  # what white gives on green: high ISO, short exposure
    read = rng.uniform(1.0, 3.0)  # electrons, standard deviation
    light = linear.astype(np.float64) / balance * electrons
    counted = rng.poisson(light) + rng.normal(scale=read, size=light.shape)
    noisy: LinearImage = (counted / electrons * balance).astype(np.float32)
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


def rain(density: float) -> Degradation:
    """Make the degradation that lays rain of a density (1 is plain rain) over a picture."""

    def fall(linear: LinearImage, rng: np.random.Generator) -> LinearImage:
        cover = streaks(linear.shape[:2], rng, density * rng.uniform(0.7, 1.3))[..., None]
        sky = np.float32(rng.uniform(0.55, 0.95)) * np.array([0.96, 0.98, 1.0], np.float32)  # drops bend sky into view
        wet: LinearImage = linear * (1 - cover) + sky * cover
        return wet

    return fall
