"""What a user can say about films: which views, through which camera, into which files."""

import math
import re
from dataclasses import dataclass, field

from neural_render.core.errors import SettingError
from neural_render.core.lights import check_light_at
from neural_render.core.optics.eyes import FORMATS, LAYOUTS
from neural_render.core.optics.moments import FILTERS, SIDE_OF_BLUR
from neural_render.export.folder import OUTPUTS
from neural_render.export.video.codecs import CODECS

MAX_SIDE = 16384
AUTO_FOCUS = "auto"
TRANSPARENT = "transparent"
LARGEST = 1e9  # of a length in the capture's units
PHOTOS = ("test", "train")  # paths whose frames are no movement


@dataclass(kw_only=True)
class LensSettings:
    """Depth of field: what is not at the depth in focus is blurred."""

    aperture: float = field(
        default=0.0,
        metadata={
            "help": "the diameter of the lens in the capture's units; a point at depth z becomes a"
            " disc of aperture * |z - focus| / (z * focus) * focal length in pixels; 0: a pinhole,"
            " all is sharp",
            "minimum": 0.0,
            "maximum": LARGEST,
        },
    )
    focus: str = field(
        default=AUTO_FOCUS,
        metadata={
            "help": "the depth in focus, in the capture's units; auto: what the middle of the"
            " picture shows, followed smoothly along the path"
        },
    )


@dataclass(kw_only=True)
class StereoSettings:
    """Two eyes in one picture."""

    layout: str = field(
        default="none",
        metadata={
            "help": "none, or how the left and the right eye's pictures, each of render.size, are"
            " put together: side_by_side or top_bottom",
            "choices": LAYOUTS,
        },
    )
    eyes: float = field(
        default=0.0,
        metadata={
            "help": "the distance between the eyes in the capture's units (of people: 0.064 m)",
            "minimum": 0.0,
            "maximum": LARGEST,
        },
    )
    convergence: float = field(
        default=0.0,
        metadata={
            "help": "the depth that both eyes see in the same place, in the capture's units: the"
            " screen's; 0: what is infinitely far",
            "minimum": 0.0,
            "maximum": LARGEST,
        },
    )


@dataclass(kw_only=True)
class VideoSettings:
    """How a video is encoded."""

    codec: str = field(
        default="h264",
        metadata={
            "help": "h264 (every player), h265 (10 bits, smaller), prores (422 HQ, to be edited),"
            " prores4444 (the same without loss of colour detail; keeps opacity), vp9 (WebM for web"
            " pages; keeps opacity)",
            "choices": tuple(CODECS),
        },
    )
    crf: int = field(
        default=-1,
        metadata={
            "help": "quality of h264, h265 and vp9: lower is better and larger; -1: the codec's own"
            " default, at which hardly a difference is seen",
            "minimum": -1,
            "maximum": 63,
        },
    )


@dataclass(kw_only=True)
class RenderSettings:
    """Which views are rendered from a run, how large, and into what."""

    path: str = field(
        default="auto",
        metadata={
            "help": "orbit, spiral, test or train (views), a JSON file with keyframes, or auto"
            " (an orbit where the photos were taken from all around, else a spiral)"
        },
    )
    output: str = field(
        default="video",
        metadata={
            "help": "video, frames (8-bit PNG of colour, depth and opacity), png16 (16-bit PNG of"
            " colour), exr (linear colour, opacity, depth, position, normals, light groups), depth"
            " (depth as NumPy arrays) or several of them with commas; none"
        },
    )
    size: str = field(
        default="",
        metadata={
            "help": "WIDTHxHEIGHT in pixels, of each eye; empty: the size of the photos, of a"
            " panorama twice as wide, of a fisheye a square"
        },
    )
    frames: int = field(
        default=90,
        metadata={"help": "the length of an orbit or a spiral", "minimum": 1, "maximum": 100000},
    )
    fps: float = field(
        default=0.0,
        metadata={
            "help": "frames per second of a video; 0: what the path's file states, else 30",
            "minimum": 0.0,
            "maximum": 1000.0,
        },
    )
    exposure: float = field(
        default=0.0,
        metadata={
            "help": "stops that the pictures and the video of a scene-linear run are brighter",
            "minimum": -64.0,
            "maximum": 64.0,
        },
    )
    exr: str = field(
        default="half",
        metadata={
            "help": "bits of the colours and the opacity of an EXR: half (16) or float (32); depth,"
            " distance, position and normals always have 32",
            "choices": ("half", "float"),
        },
    )
    backdrop: str = field(
        default="auto",
        metadata={
            "help": "what lies behind the scene in pictures and videos: environment, black, white,"
            " transparent (they keep their opacity; videos with prores4444 or vp9) or auto (the"
            " environment if the run has one)",
            "choices": ("auto", "environment", "black", "white", TRANSPARENT),
        },
    )
    light_at: list[float] = field(
        default_factory=list,
        metadata={
            "help": "[x,y,z] in the scene's world: where the moving light stands, or the direction"
            " in which it shines; empty: as in the scene's file"
        },
    )
    camera: str = field(
        default="own",
        metadata={
            "help": "own (as the path has it: pinholes, of test and train the photos' lenses),"
            " pinhole, fisheye (equidistant) or panorama (equirectangular, all around, level)",
            "choices": FORMATS,
        },
    )
    fov: float = field(
        default=0.0,
        metadata={
            "help": "field of view in degrees: vertical of a pinhole (0: the path's), across the"
            " shorter side of a fisheye (0: 180)",
            "minimum": 0.0,
            "maximum": 360.0,
        },
    )
    supersampling: int = field(
        default=0,
        metadata={
            "help": "a picture is the mean of so many squared sub-frames, each at its own place in"
            f" the pixel, in the lens and in time; 0: 1, or {SIDE_OF_BLUR} with depth of field or"
            " motion blur",
            "minimum": 0,
            "maximum": 32,
        },
    )
    filter: str = field(
        default="box",
        metadata={
            "help": "how sub-frames lie in the pixel: box (evenly in it) or gaussian (reaching into"
            " its neighbours: softer, without stairs)",
            "choices": FILTERS,
        },
    )
    shutter: float = field(
        default=0.0,
        metadata={
            "help": "motion blur: how long the shutter is open, as a share of the time between two"
            " frames; 0.5 is film's 180 degrees",
            "minimum": 0.0,
            "maximum": 1.0,
        },
    )
    lens: LensSettings = field(default_factory=LensSettings)
    stereo: StereoSettings = field(default_factory=StereoSettings)
    video: VideoSettings = field(default_factory=VideoSettings)


def check_film(settings: RenderSettings) -> None:
    """SettingError for what can be seen to be wrong without a capture."""
    outputs = outputs_of(settings)
    size_of(settings)
    if 0 < settings.fps < 1:
        raise SettingError(
            f"render.fps={settings.fps:g} is too small; give at least 1, or 0 for what the path"
            " states."
        )
    check_light_at(settings.light_at, "render.light_at")
    _check_view(settings)
    _check_lens(settings)
    _check_stereo(settings)
    if "video" in outputs:
        _check_video(settings)


def outputs_of(settings: RenderSettings) -> tuple[str, ...]:
    """The wanted outputs, each once; none for ``none``; SettingError for unknown ones."""
    words = [word.strip() for word in settings.output.split(",")]
    if words == ["none"]:
        return ()
    unknown = [word for word in words if word not in OUTPUTS]
    if unknown:
        raise SettingError(
            f"render.output={settings.output} is not known: give one or more of"
            f" {', '.join(OUTPUTS)} with commas between them, or none."
        )
    return tuple(dict.fromkeys(words))


def size_of(settings: RenderSettings) -> tuple[int, int] | None:
    """Width and height in pixels as stated, None where they are not; SettingError if not sizes."""
    if not settings.size:
        return None
    stated = re.fullmatch(r"(\d+)[xX*](\d+)", settings.size)
    width, height = (int(stated[1]), int(stated[2])) if stated else (0, 0)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise SettingError(
            f"render.size={settings.size} is not a size: give WIDTHxHEIGHT in pixels, such as"
            f" render.size=800x600, each from 1 to {MAX_SIDE}."
        )
    if settings.camera == "panorama" and width != 2 * height:
        raise SettingError(
            f"render.size={settings.size} is not that of a panorama, which shows twice as many"
            f" degrees across as up: give render.size={2 * height}x{height}."
        )
    return width, height


def focus_depth(settings: LensSettings) -> float:
    """The stated depth in focus, 0 for ``auto``; SettingError where it is neither."""
    try:
        depth = 0.0 if settings.focus == AUTO_FOCUS else float(settings.focus)
    except ValueError:
        depth = math.nan
    if not 0 <= depth <= LARGEST or (depth == 0 and settings.focus != AUTO_FOCUS):
        raise SettingError(
            f"render.lens.focus={settings.focus} is no depth: give one above 0 in the capture's"
            " units, such as render.lens.focus=2.5, or auto."
        )
    return depth


def sub_frames_side(settings: RenderSettings) -> int:
    """Whose square is the number of sub-frames of a picture."""
    blurred = settings.lens.aperture > 0 or settings.shutter > 0
    return settings.supersampling or (SIDE_OF_BLUR if blurred else 1)


def _check_view(settings: RenderSettings) -> None:
    if settings.fov and settings.camera not in ("pinhole", "fisheye"):
        raise SettingError(
            f"render.fov={settings.fov:g} is of pinholes and fisheyes and render.camera is"
            f" {settings.camera}: add render.camera=pinhole or leave it out."
        )
    if settings.camera == "pinhole" and settings.fov > 170:
        raise SettingError(
            f"render.fov={settings.fov:g} is wider than a pinhole can show: give at most 170"
            " degrees, or render.camera=fisheye."
        )
    if settings.shutter and settings.path in PHOTOS:
        raise SettingError(
            f"render.shutter={settings.shutter:g} blurs what moves and the views of"
            f" render.path={settings.path} are no movement: give another path or leave it out."
        )
    if settings.shutter and settings.frames == 1 and settings.path in ("orbit", "spiral", "auto"):
        raise SettingError(
            f"render.shutter={settings.shutter:g} blurs what moves and one frame does not: give"
            " render.frames=2 or more."
        )


def _check_lens(settings: RenderSettings) -> None:
    depth = focus_depth(settings.lens)
    if depth and not settings.lens.aperture:
        raise SettingError(
            f"render.lens.focus={settings.lens.focus} changes nothing for a pinhole: give the"
            " lens's diameter, render.lens.aperture, too."
        )
    if settings.lens.aperture and settings.camera in ("fisheye", "panorama"):
        raise SettingError(
            f"render.lens.aperture={settings.lens.aperture:g} needs a lens that looks ahead and"
            f" render.camera is {settings.camera}: leave it out, or give render.camera=pinhole."
        )


def _check_stereo(settings: RenderSettings) -> None:
    stereo = settings.stereo
    if stereo.layout == "none":
        if stereo.eyes or stereo.convergence:
            raise SettingError(
                "render.stereo.eyes and render.stereo.convergence are of two eyes and"
                " render.stereo.layout is none: give side_by_side or top_bottom."
            )
    elif not stereo.eyes:
        raise SettingError(
            f"render.stereo.layout={stereo.layout} needs the distance between the eyes in the"
            " capture's units: give render.stereo.eyes; about a thirtieth of the distance to what"
            " is near is comfortable."
        )
    elif stereo.convergence and settings.camera in ("fisheye", "panorama"):
        raise SettingError(
            f"render.stereo.convergence={stereo.convergence:g} shifts flat pictures and"
            f" render.camera is {settings.camera}: leave it out."
        )


def _check_video(settings: RenderSettings) -> None:
    video, codec = settings.video, CODECS[settings.video.codec]
    if settings.backdrop == TRANSPARENT and not codec.keeps_opacity:
        keeping = " or ".join(name for name, other in CODECS.items() if other.keeps_opacity)
        raise SettingError(
            f"render.backdrop=transparent needs a video that keeps opacity and"
            f" render.video.codec={video.codec} does not: give {keeping}."
        )
    if video.crf >= 0 and not codec.crf:
        raise SettingError(
            f"render.video.crf={video.crf} is of h264, h265 and vp9, and"
            f" render.video.codec={video.codec} has a quality of its own: leave it out."
        )
    if video.crf > codec.worst > 0:
        raise SettingError(
            f"render.video.crf={video.crf} is worse than {video.codec} can be: give 0 to"
            f" {codec.worst}, such as {codec.crf}."
        )
