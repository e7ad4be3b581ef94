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

__all__ = ["defocus", "draw", "jpeg", "rain", "sensor_noise", "shake", "shake_margin", "shake_path", "streaks"]

Range = Sequence[float]
"""(low, high), drawn from uniformly unless something else is said."""
_STEPS = 33
"""Frames of an exposure, unless its path is so long that they would be seen one by one."""


def draw(rng: np.random.Generator, between: Range) -> float:
    """Draw from a range, uniformly."""
    return float(rng.uniform(between[0], between[1]))


def _perhaps(rng: np.random.Generator, between: Range) -> float:
    """Draw as :func:`draw` does, but nothing where there is nothing to choose, so that other choices stay the same."""
    return draw(rng, between) if between[0] < between[1] else float(between[0])


def defocus(linear: LinearImage, rng: np.random.Generator, size: Range = (1, 4)) -> LinearImage:
    """See a scene out of focus.

    Args:
        linear: The scene.
        rng: Draws the size.
        size: Of the blur, its standard deviation in pixels.
    """
    soft: LinearImage = cv2.GaussianBlur(linear, (0, 0), max(draw(rng, size), 1e-3)).astype(np.float32)
    return soft


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


def shake_margin(length: Range, turn: Range, side: int, moving: Range = (0, 0)) -> int:
    """Return how many pixels around a window of ``side`` a camera may see while it shakes."""
    return int(np.ceil(length[1] + moving[1] + np.deg2rad(turn[1]) * side))


def shake(
    linear: LinearImage,
    rng: np.random.Generator,
    length: Range = (6, 18),
    turn: Range = (0, 0.5),
    moving: Range = (0, 0),
) -> LinearImage:
    """Expose while the camera moves: the mean of the frames seen along :func:`shake_path`.

    Args:
        linear: The scene.
        rng: Draws the movements.
        length: Of the camera's path, in pixels.
        turn: Of the camera around the picture's middle, in degrees.
        moving: Path of something in the picture that moves by itself, in pixels: people, cars, leaves.
    """
    height, width = linear.shape[:2]
    total = np.zeros_like(linear)
    path = shake_path(rng, length, turn)
    own = _perhaps(rng, moving)
    if own:
        things = _things((height, width), rng)
        own_path = shake_path(rng, (own, own), (0, 0))
    for step, (right, down, angle) in enumerate(path):
        move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
        move[:, 2] += right, down
        frame = linear
        if own:
            frame = _drawn_along(linear, things, own_path[round(step * (len(own_path) - 1) / (len(path) - 1))])
        total += cv2.warpAffine(frame, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    blurred: LinearImage = total / np.float32(len(path))
    return blurred


def _things(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw how far each pixel goes along with what moves by itself, H×W in [0, 1]: some soft ellipses."""
    height, width = shape
    cover = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre = (rng.uniform(0, width), rng.uniform(0, height))
        axes = (rng.uniform(0.15, 0.5) * width, rng.uniform(0.15, 0.5) * height)
        cv2.ellipse(cover, (centre, axes, rng.uniform(0, 180)), 1.0, -1)  # by a rotated rectangle
    return cv2.GaussianBlur(cover, (0, 0), max(2.0, 0.02 * min(shape))).astype(np.float32)


def _drawn_along(linear: LinearImage, things: NDArray[np.float32], shift: NDArray[np.float64]) -> LinearImage:
    """Return a frame in which ``things`` are shifted, and what lies between them and the rest is stretched."""
    rows, columns = np.indices(things.shape, np.float32)
    across, down = columns - things * np.float32(shift[0]), rows - things * np.float32(shift[1])
    frame = cv2.remap(linear, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return frame.astype(np.float32)


def sensor_noise(
    linear: LinearImage,
    rng: np.random.Generator,
    electrons: Range = (60, 400),
    read_noise: Range = (1, 3),
    grain: Range = (0, 0),
) -> LinearImage:
    """Count photons: shot (Poisson) and read (Gaussian) noise before the white balance.

    The sensor sees red and blue fainter than green; white balance scales them back, and their noise with them.

    Args:
        linear: The scene.
        rng: Draws it.
        electrons: What white gives on green, drawn on a logarithmic scale; few are a dim room, a short exposure and a
            high ISO.
        read_noise: Its standard deviation in electrons.
        grain: Standard deviation in pixels of a blur of the noise: what interpolating colours does to it, and scaling.
    """
    balance = np.array([rng.uniform(1.5, 2.4), 1.0, rng.uniform(1.4, 2.0)])
    white = np.exp(draw(rng, np.log(electrons).tolist()))
    deviation = draw(rng, read_noise)
    light = np.clip(linear, 0, None).astype(np.float64) / balance * white
    counted = rng.poisson(light) + rng.normal(scale=deviation, size=light.shape)
    size = _perhaps(rng, grain)
    if size:
        counted = light + cv2.GaussianBlur(counted - light, (0, 0), size)
    noisy: LinearImage = (counted / white * balance).astype(np.float32)
    return noisy


def streaks(
    shape: tuple[int, int], rng: np.random.Generator, density: float, stretch: float = 1, width: float = 1
) -> NDArray[np.float32]:
    """Draw falling rain: how much of each pixel's exposure drops covered, H×W in [0, 1).

    Far drops are many, short, thin and dim; near ones few, long, wide, bright and out of focus. One wind for all,
    a little scatter for each.

    Args:
        shape: Height and width in pixels.
        rng: Draws it.
        density: 1 is plain rain.
        stretch: Factor on the streaks' length.
        width: Factor on their width: 0.5 is thin and sharp.
    """
    high, wide = shape
    clear = np.ones(shape, np.float32)
    wind = rng.normal(scale=12)  # degrees from the vertical
    # drops on 256×256 pixels, length and width in pixels, opacity, blur of the focus in pixels
    depths = ((240, 9, 1, 0.30, 0.4), (90, 20, 1, 0.5, 0.6), (14, 42, 2, 0.6, 1.1))
    for drops, length, thickness, opacity, focus in depths:
        layer = np.zeros(shape, np.uint8)
        count = rng.poisson(density * drops * high * wide / 256**2)
        angle = np.deg2rad(wind + rng.normal(scale=2.5, size=count))
        reach = stretch * length
        run = reach * rng.uniform(0.6, 1.5, (count, 1)) * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        start = rng.uniform((-reach, -reach), (wide + reach, high), (count, 2))
        brightness = np.minimum(255 * opacity * rng.uniform(0.4, 1.4, count), 250)
        ends = np.rint(np.stack([start, start + run], axis=1) * 256).astype(int)  # 8 bits of subpixel
        for (top, bottom), shade in zip(ends.tolist(), brightness.tolist(), strict=True):
            cv2.line(layer, top, bottom, shade, max(round(width * thickness), 1), cv2.LINE_AA, 8)
        clear *= 1 - cv2.GaussianBlur(layer, (0, 0), width * focus).astype(np.float32) / 255
    return 1 - clear


def rain(
    linear: LinearImage,
    rng: np.random.Generator,
    density: Range = (0.7, 1.3),
    length: Range = (1, 1),
    width: Range = (1, 1),
    mist: Range = (0, 0),
) -> LinearImage:
    """Lay rain over a picture.

    Args:
        linear: The scene.
        rng: Draws it.
        density: How much: 1 is plain rain, see :func:`streaks`.
        length: Factor on the streaks' length.
        width: Factor on their width: 0.5 is thin and sharp.
        mist: Share of the light that far drops replace by the sky's, everywhere alike.
    """
    amount, stretch, thin = draw(rng, density), _perhaps(rng, length), _perhaps(rng, width)
    cover = streaks(linear.shape[:2], rng, amount, stretch, thin)[..., None]
    sky = np.float32(rng.uniform(0.55, 0.95)) * np.array([0.96, 0.98, 1.0], np.float32)  # drops bend sky into view
    veil = np.float32(_perhaps(rng, mist))
    scene = linear * (1 - veil) + sky * veil if veil else linear
    wet: LinearImage = scene * (1 - cover) + sky * cover
    return wet


def jpeg(
    linear: LinearImage, rng: np.random.Generator, quality: Range = (60, 95), full_colour: float = 0
) -> LinearImage:
    """Write as JPEG and read again.

    Args:
        linear: The picture.
        rng: Draws the quality.
        quality: Whole numbers from 1 to 100, as libjpeg has them.
        full_colour: Share of the pictures that keep colour at full resolution; the others have half, as cameras do.
    """
    chosen = int(rng.integers(int(quality[0]), int(quality[1]), endpoint=True))
    settings = [cv2.IMWRITE_JPEG_QUALITY, chosen]
    if full_colour and rng.random() < full_colour:
        settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    bgr = np.ascontiguousarray(to_srgb(linear)[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, settings)
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return to_linear(np.asarray(read, np.uint8)[..., ::-1])
