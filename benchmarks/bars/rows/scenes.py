"""Bars of baked scenes: quality beside path-traced references, and what they cost."""

import math

from benchmarks.bars.records import Asked, Found, Row, number_at, value_at

SCENES = "DATA/scenes"
TRACED = "8 unseen views of 256x256 beside path-traced ones; wall seconds"
MEAN = Asked(
    what="mean radiance over the reference's",
    figure=value_at("mean_ratio"),
    at_least=0.98,
    at_most=1.02,
    unit="x",
    digits=3,
)
WAITED = Asked(
    what="waits for the tracer",
    figure=lambda found: 100 * number_at(found.record, "tracer/waited_share"),
    at_most=20,
    unit="%",
)


def worst_relit(found: Found) -> float:
    """PSNR with all lights as in the file less the worst one under other dials."""
    worst = min((number_at(row, "psnr") for row in found.record["relit"]), default=math.nan)
    return number_at(found.record, "psnr") - worst


def _bake(name: str, words: str, least: float, seconds: int, *more: Asked, missed: str = "") -> Row:
    bar = Asked(what=f"PSNR after {seconds} s", figure=value_at("psnr"), at_least=least)
    return Row(
        name=name,
        command=f"python scripts/bake.py name={name} {words} training.max_seconds={seconds}"
        " render.output=none",
        asked=(bar, MEAN, *more),
        protocol=TRACED,
        missed=missed,
    )


def _ratio(what: str, key: str, most: float = math.inf) -> Asked:
    return Asked(what=what, figure=value_at(f"ratios/{key}"), at_most=most, unit="x")


ROWS = (
    _bake(
        "cbox",
        f"scene.path={SCENES}/mitsuba/cbox.xml views.reference_samples=512",
        31,
        600,
    ),
    _bake(
        "helmet",
        f"scene.path={SCENES}/DamagedHelmet/DamagedHelmet.gltf"
        f" scene.environment={SCENES}/environment.exr views.reference_samples=512",
        28,
        900,
        WAITED,
        Asked(what="worst of unseen dials below", figure=worst_relit, at_most=0.5),
        missed="it diverged at 4aeafbc: a surface in the dark, which roulette seldom kept,"
        " then drew its normal thousands of times as strongly; c8e73aa mends it; not measured"
        " since",
    ),
    _bake(
        "helmet-lights",
        f"scene.path={SCENES}/DamagedHelmet/DamagedHelmet.gltf views.reference_samples=256",
        -math.inf,  # what is asked of its PSNR stands above; here, of its dials
        300,
        Asked(what="worst of unseen dials below", figure=worst_relit, at_most=0.5),
        missed="three lights and 300 s, where two lights were asked for (row helmet): errors grow"
        " with the light, so that dials that dim are better than the file's and those that brighten"
        " worse",
    ),
    _bake(
        "teapot",
        f"scene.path={SCENES}/redner/teapot_specular.xml views.kind=shell",
        28,
        900,
    ),
    Row(
        name="moving",
        command="python scripts/benchmark.py suite=bake parts=moving seconds=30",
        asked=(
            Asked(
                what="PSNR, light at unseen directions",
                figure=value_at("results/moving/psnr"),
                at_least=25,
            ),
        ),
        protocol="5 views of 128x128; 30 CPU seconds per thread",
    ),
    Row(
        name="materials",
        command="python scripts/benchmark.py suite=bake parts=materials seconds=30 repeats=15",
        asked=(
            _ratio("slowest over fastest frame, fixed samples", "fixed cpu", 1.10),
            _ratio("the same, as pictures are made", "usual cpu"),
            _ratio("the path tracer's, at equal noise", "tracer, equal noise"),
        ),
        protocol="one knot: diffuse, glossy, glass, many bounces; CPU seconds, median of 15",
    ),
    Row(
        name="triangles",
        command="python scripts/benchmark.py suite=bake parts=triangles seconds=30",
        asked=(_ratio("slowest over fastest frame", "fixed cpu", 1.10),),
        protocol="1k, 100k and 1M triangles; CPU seconds, median of 7",
    ),
)
