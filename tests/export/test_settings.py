"""What can be wrong in the settings of a film is told in one sentence."""

import pytest

from neural_render.core.errors import SettingError
from neural_render.export.settings import (
    LensSettings,
    RenderSettings,
    StereoSettings,
    VideoSettings,
    check_film,
    focus_depth,
    outputs_of,
    size_of,
    sub_frames_side,
)


def settings(**words: object) -> RenderSettings:
    """Settings of which ``lens_focus`` is ``lens.focus``, and so on."""
    groups = {"lens": LensSettings, "stereo": StereoSettings, "video": VideoSettings}
    own: dict[str, object] = {k: v for k, v in words.items() if k.split("_")[0] not in groups}
    for name, kind in groups.items():
        inner = {k.removeprefix(f"{name}_"): v for k, v in words.items() if k.startswith(name)}
        own[name] = kind(**inner)
    return RenderSettings(**own)


def test_outputs_are_taken_once_each() -> None:
    assert outputs_of(RenderSettings(output="exr, video,exr")) == ("exr", "video")
    assert outputs_of(RenderSettings(output="none")) == ()


@pytest.mark.parametrize("output", ["gif", "", "video,", "none,video"])
def test_unknown_outputs_are_refused(output: str) -> None:
    with pytest.raises(SettingError, match=rf"render\.output={output} is not known: give one"):
        outputs_of(RenderSettings(output=output))


@pytest.mark.parametrize("size", ["800", "x", "0x5", "5x0", "20000x2", "-3x4", "axb"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(SettingError, match=rf"render\.size={size} is not a size: give WIDTHx"):
        size_of(RenderSettings(size=size))


def test_the_number_of_sub_frames_follows_from_what_blurs() -> None:
    assert sub_frames_side(settings()) == 1
    assert sub_frames_side(settings(shutter=0.5)) == 6
    assert sub_frames_side(settings(lens_aperture=0.5)) == 6
    assert sub_frames_side(settings(lens_aperture=0.5, supersampling=2)) == 2


def test_the_focus_is_a_depth_or_found() -> None:
    assert focus_depth(LensSettings()) == 0
    assert focus_depth(LensSettings(focus="2.5")) == 2.5


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"lens_aperture": 0.1, "lens_focus": "3", "shutter": 0.5},
        {
            "camera": "panorama",
            "size": "800x400",
            "stereo_layout": "top_bottom",
            "stereo_eyes": 1.0,
        },
        {"backdrop": "transparent", "video_codec": "vp9", "video_crf": 30},
        {"backdrop": "transparent", "output": "png16,exr"},
        {"camera": "fisheye", "fov": 220.0},
    ],
)
def test_what_can_be_had_passes(words: dict[str, object]) -> None:
    check_film(settings(**words))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"lens_focus": "near"}, r"render\.lens\.focus=near is no depth: give one above 0"),
        ({"lens_focus": "0"}, r"render\.lens\.focus=0 is no depth"),
        ({"lens_focus": "nan"}, r"render\.lens\.focus=nan is no depth"),
        ({"lens_focus": "2"}, r"focus=2 changes nothing for a pinhole: .*render\.lens\.aperture"),
        (
            {"lens_aperture": 0.1, "camera": "panorama"},
            r"render\.lens\.aperture=0\.1 needs a lens that looks ahead and render\.camera is pano",
        ),
        ({"camera": "panorama", "size": "800x600"}, r"twice .* give render\.size=1200x600"),
        ({"fov": 90.0}, r"render\.fov=90 is of pinholes and fisheyes and render\.camera is own"),
        ({"fov": 175.0, "camera": "pinhole"}, r"fov=175 is wider than a pinhole can show"),
        ({"fps": 0.5}, r"render\.fps=0\.5 is too small; give at least 1, or 0 for what the path"),
        ({"shutter": 0.5, "path": "test"}, r"render\.path=test are no movement"),
        ({"shutter": 0.5, "frames": 1}, r"one frame does not: give render\.frames=2"),
        ({"stereo_layout": "side_by_side"}, r"needs the distance between the eyes .*stereo\.eyes"),
        ({"stereo_eyes": 0.1}, r"render\.stereo\.layout is none: give side_by_side"),
        (
            {
                "stereo_layout": "top_bottom",
                "stereo_eyes": 1.0,
                "stereo_convergence": 2.0,
                "camera": "fisheye",
            },
            r"render\.stereo\.convergence=2 shifts flat pictures",
        ),
        (
            {"backdrop": "transparent"},
            r"render\.video\.codec=h264 does not: give prores4444 or vp9",
        ),
        ({"video_crf": 60}, r"crf=60 is worse than h264 can be: give 0 to 51, such as 18"),
        ({"video_codec": "prores", "video_crf": 3}, r"crf=3 is of h264, h265 and vp9, and"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(words: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        check_film(settings(**words))
