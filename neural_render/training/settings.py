"""The settings of training and what is wrong with them, if anything."""

import math
from dataclasses import dataclass, field

from neural_render.core.errors import SettingError

CLOCKS = ("wall", "cpu")
MAX_ERROR_SAMPLING = 0.95
BACKGROUNDS = ("random", "white", "black")
LOSSES = ("auto", "huber", "relative")


@dataclass(kw_only=True)
class TrainingSettings:
    """How long, how fast and against what the field is fitted."""

    num_steps: int = field(
        default=0, metadata={"help": "the budget in steps; 0: the budget is max_seconds"}
    )
    max_seconds: float = field(
        default=60.0,
        metadata={"help": "the budget in seconds of training; not used where num_steps is given"},
    )
    clock: str = field(
        default="wall",
        metadata={"help": "what max_seconds counts: wall, or cpu (process CPU seconds / threads)"},
    )
    samples_per_step: int = field(
        default=0,
        metadata={
            "help": "surviving samples per step; 0: 2^14, rising with the budget; in bakes 2^16, on"
            " a GPU 2^18",
            "maximum": 1 << 28,
        },
    )
    checkpoint_every: float = field(
        default=60.0, metadata={"help": "wall seconds between checkpoints"}
    )
    checkpoint_steps: int = field(
        default=0, metadata={"help": "also a checkpoint every so many steps; 0: only by time"}
    )
    report_every: float = field(
        default=0.5, metadata={"help": "wall seconds between lines of metrics.jsonl"}
    )
    tensorboard: bool = field(
        default=True, metadata={"help": "write TensorBoard events where it is installed"}
    )
    learning_rate: float = field(default=1e-2, metadata={"help": "Adam's learning rate at first"})
    learning_rate_hold: float = field(
        default=0.5, metadata={"help": "fraction of the budget before the learning rate decays"}
    )
    learning_rate_end: float = field(
        default=0.1, metadata={"help": "the last learning rate as a fraction of the first"}
    )
    beta1: float = field(
        default=0.9,
        metadata={"help": "Adam's decay of the networks' first moment (the table has none)"},
    )
    beta2: float = field(default=0.99, metadata={"help": "Adam's decay of the second moment"})
    epsilon: float = field(default=1e-15, metadata={"help": "Adam's epsilon"})
    weight_decay: float = field(
        default=1e-6, metadata={"help": "L2 decay of the network weights (not of the table)"}
    )
    loss: str = field(
        default="auto",
        metadata={
            "help": "huber (errors of displayed colour), relative (squared errors over what is seen"
            " squared, which noise does not bias), or auto: relative for scene-linear radiance",
            "choices": LOSSES,
        },
    )
    huber_delta: float = field(
        default=0.1,
        metadata={"help": "huber loss: errors above this count linearly, below it squared"},
    )
    relative_epsilon: float = field(
        default=0.01,
        metadata={"help": "relative loss: what is added to the square of what is seen"},
    )
    relative_power: float = field(
        default=1.5,
        metadata={
            "help": "relative loss: squared errors are divided by what is seen to this power; 2:"
            " errors are relative, 1: what is bright counts for more, and sums of light are kept",
            "minimum": 0.0,
            "maximum": 2.0,
        },
    )
    distance_weight: float = field(
        default=-1.0,
        metadata={
            "help": "weight of the errors of first-surface distances, where the source knows them"
            " (which mirrors and glass contradict); -1: 10 in a bake, 1 for photos with sparse"
            " points, else 0",
            "minimum": -1.0,
        },
    )
    normal_weight: float = field(
        default=-1.0,
        metadata={
            "help": "weight of the errors of first-surface normals, where the source knows them and"
            " the field reflects about normals; -1: in a bake 1, up to 20 for long budgets, else 0",
            "minimum": -1.0,
        },
    )
    distance_fade: float = field(
        default=-1.0,
        metadata={
            "help": "fraction of the budget in which distance_weight falls to 0; 0: it stays; -1:"
            " 0.5 in a bake, where mirrors contradict it, else 0",
            "minimum": -1.0,
        },
    )
    distortion_weight: float = field(
        default=-1.0,
        metadata={
            "help": "weight of the distortion loss, which draws what a ray sees together and so"
            " removes fog and floaters (distances count in sides of the cube of interest); -1:"
            " 0.02 for photos from one side, else 0",
            "minimum": -1.0,
        },
    )
    near_fade: float = field(
        default=0.0,
        metadata={
            "help": "what is nearer to its camera than this, in sides of the cube of interest,"
            " learns more slowly (by the square of its share of it), so that no fog settles before"
            " lenses; 0: nothing; not for photos from one side",
            "minimum": 0.0,
        },
    )
    occupancy_decay_late: float = field(
        default=0.95,
        metadata={
            "help": "share of a cell's opacity that an update remembers, instead of"
            " rendering.occupancy_decay, after the first quarter of the budget"
        },
    )
    roulette: float = field(
        default=-1.0,
        metadata={
            "help": "samples that count for less in the gradient than this share of the mean are"
            " left out at random, its expectation unchanged; 0: none; -1: 0.5, and 1 for relative"
            " errors"
        },
    )
    points_first: float = field(
        default=0.25,
        metadata={
            "help": "fraction of the budget in which only space around the capture's sparse points"
            " is looked at, so that no fog settles in front of the cameras; 0: all of space at once"
        },
    )
    background: str = field(
        default="random",
        metadata={
            "help": "behind the scene in training: random (space that is empty must then be"
            " transparent), white or black"
        },
    )
    error_sampling: float = field(
        default=-1.0,
        metadata={
            "help": "share of the rays that is drawn where the error is large, 0 to 0.95; the rest"
            " is uniform; -1: 0.5 for photos, 0 for sources that have no regions"
        },
    )
    error_sampling_unbiased: bool = field(
        default=False,
        metadata={
            "help": "weigh such rays down in the loss, so that its mean is that of uniform rays"
        },
    )
    transients: bool = field(
        default=False,
        metadata={
            "help": "parts of photos that stay far more wrong than the rest count for less: what"
            " moved while they were taken"
        },
    )
    ema_decay: float = field(
        default=0.99,
        metadata={"help": "decay per step of the averaged weights that are rendered; 0: the last"},
    )
    coarse_start: bool = field(
        default=True, metadata={"help": "march with 4x, then 2x the step while space is unpruned"}
    )


def check_settings(settings: TrainingSettings) -> None:
    """Nothing if the settings make sense; SettingError naming the first that does not."""
    _one_of("loss", settings.loss, LOSSES)
    _one_of("clock", settings.clock, CLOCKS)
    _one_of("background", settings.background, BACKGROUNDS)
    if settings.num_steps == 0 and settings.max_seconds == 0:
        raise SettingError(
            "training.num_steps and training.max_seconds are both 0: give one as the budget."
        )
    at_least = {"checkpoint_steps": 0, "num_steps": 0, "max_seconds": 0, "report_every": 0}
    at_least |= {"samples_per_step": 0, "weight_decay": 0, "near_fade": 0}
    at_least |= {"roulette": -1 if settings.roulette == -1 else 0}
    at_least |= {"distance_weight": -1, "distance_fade": -1, "relative_power": 0}
    at_least |= {"normal_weight": -1, "distortion_weight": -1}
    for name, low in at_least.items():
        value = getattr(settings, name)
        if not value >= low or math.isinf(value):
            raise SettingError(f"training.{name}={value} must be a number not below {low}.")
    above_zero = (
        "learning_rate",
        "learning_rate_end",
        "checkpoint_every",
        "huber_delta",
        "relative_epsilon",
        "epsilon",
    )
    for name in above_zero:
        value = getattr(settings, name)
        if not value > 0 or math.isinf(value):
            raise SettingError(f"training.{name}={value} must be above 0.")
    for name in (
        "beta1",
        "beta2",
        "ema_decay",
        "learning_rate_hold",
        "occupancy_decay_late",
        "points_first",
    ):
        value = getattr(settings, name)
        if not 0 <= value < 1:
            raise SettingError(f"training.{name}={value} must be at least 0 and below 1.")
    share = settings.error_sampling
    if share != -1 and not 0 <= share <= MAX_ERROR_SAMPLING:
        raise SettingError(
            f"training.error_sampling={share} must be at least 0 and at most {MAX_ERROR_SAMPLING},"
            " or -1 to have it chosen."
        )


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingError(f"training.{name}={value} is not one of {', '.join(choices)}.")
