#!/usr/bin/env python3
"""What is done to photographs before training: ConvNet and Pillow with NumPy, in turns; a Markdown table.

JPEG files of 500 × 375 pixels, quality 90, colours at half the resolution, are made in FOLDER once: waves,
edges and noise of many sizes, which pack about as photographs do. Both sides read and decode a file, take
a random part of 8 to 100 % of its area and of ratio 3/4 to 4/3, resize it bilinearly with antialiasing to
224 × 224, mirror every second one, and normalise to float32. Pillow resizes straight from the box;
NumPy scales and shifts in place. Every side has a process of its own, held to one processor.
"""
import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

HEIGHT, WIDTH, COUNT = 375, 500, 256
MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def photograph(numpy, image, number):
    """Noise of falling strength at every scale, and a few edges."""
    source = numpy.random.default_rng(number)
    levels = numpy.zeros((HEIGHT, WIDTH, 3))
    for scale in [125, 60, 25, 12, 5, 2, 1]:
        rows, columns = HEIGHT // scale + 1, WIDTH // scale + 1
        strength = 55 * math.sqrt(scale / 125) + 2
        for channel in range(3):
            noise = source.normal(0, strength, (rows, columns)).astype(numpy.float32)
            plane = image.fromarray(noise).resize((WIDTH, HEIGHT), image.Resampling.BICUBIC)
            levels[:, :, channel] += numpy.asarray(plane) * (1 if channel == 0 else 0.4)
        levels[:, :, 1:] += levels[:, :, :1] * 0.15
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    for _ in range(4):
        a, b = source.normal(0, 1, 2)
        levels[a * (x - source.integers(WIDTH)) + b * (y - source.integers(HEIGHT)) > 0] += (
            source.normal(0, 25, 3))
    return numpy.clip(levels + 120, 0, 255).astype(numpy.uint8)


def make(folder):
    import numpy
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(COUNT):
        path = folder / f"{number:04}.jpg"
        if not path.exists():
            Image.fromarray(photograph(numpy, Image, number)).save(path, quality=90)
    sizes = [path.stat().st_size for path in folder.iterdir()]
    print(f"{len(sizes)} files of {statistics.mean(sizes) / 1024:.0f} KiB", file=sys.stderr)


def crop_box(width, height):
    """torchvision's RandomResizedCrop."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = random.randint(0, width - w), random.randint(0, height - h)
            return x, y, x + w, y + h
    return 0, 0, width, height


def worker(options):
    """Answers each line, a number of seconds, by images per second."""
    import numpy
    from PIL import Image

    paths = sorted(str(path) for path in options.folder.iterdir())
    batch = numpy.empty((options.batch, options.size, options.size, 3), numpy.float32)
    deviation = numpy.array(DEVIATION, numpy.float32)
    factor = 1 / (255 * deviation)
    offset = -numpy.array(MEAN, numpy.float32) / deviation
    place = 0

    def step():
        nonlocal place
        for slot in range(options.batch):
            with Image.open(paths[place % len(paths)]) as image:
                image = image.convert("RGB")
                box = crop_box(*image.size)
                image = image.resize((options.size,) * 2, Image.Resampling.BILINEAR, box)
                if random.random() < 0.5:
                    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            numpy.multiply(numpy.asarray(image), factor, out=batch[slot])
            batch[slot] += offset
            place += 1

    step()
    for line in sys.stdin:
        times = []
        end = time.perf_counter() + float(line)
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        median, shortest = statistics.median(times), min(times)
        print(json.dumps({"median": options.batch / median, "best": options.batch / shortest}),
              flush=True)


def hold():
    os.sched_setaffinity(0, [sorted(os.sched_getaffinity(0))[0]])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convnet")
    parser.add_argument("--rounds", type=int, help="7, or 3 with --quick")
    parser.add_argument("--quick", action="store_true", help="few rounds, for a first look")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn")
    parser.add_argument("--folder", type=Path, default=Path(".build/bench-images"))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--worker", action="store_true")
    options = parser.parse_args()
    if options.worker:
        return worker(options)
    make(options.folder)
    arguments = ["--folder", str(options.folder), "--batch", str(options.batch), "--size",
                 str(options.size)]
    pillow = subprocess.Popen(
        [sys.executable, __file__, "--worker", *arguments], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, preexec_fn=hold)
    rates = {"convnet": [], "pillow": []}
    for _ in range(options.rounds or (3 if options.quick else 7)):
        report = json.loads(subprocess.run(
            [options.convnet, "bench", "images", *arguments, "--lanes", "1", "--seconds",
             str(options.seconds), "--json"],
            check=True, capture_output=True, text=True, preexec_fn=hold).stdout)
        rates["convnet"].append(
            (report["images_per_second"], options.batch / report["min_ms"] * 1e3))
        pillow.stdin.write(f"{options.seconds}\n")
        pillow.stdin.flush()
        answer = json.loads(pillow.stdout.readline())
        rates["pillow"].append((answer["median"], answer["best"]))
    pillow.stdin.close()
    pillow.wait()
    median = {side: statistics.median(r[0] for r in values) for side, values in rates.items()}
    best = {side: max(r[1] for r in values) for side, values in rates.items()}
    import PIL
    print(f"| one core | ConvNet images/s | Pillow {PIL.__version__} images/s | ratio |")
    print("| --- | --- | --- | --- |")
    for name, values in [("median", median), ("best batch", best)]:
        ratio = values["convnet"] / values["pillow"]
        print(f"| {name} | {values['convnet']:.0f} | {values['pillow']:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
