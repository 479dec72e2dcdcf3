"""Whether training is shown, where the page is, and what pictures may cost."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class ViewerSettings:
    """The live viewer."""

    show: bool = field(
        default=False,
        metadata={"help": "show training in a browser while it goes on (short: viewer=on)"},
    )
    host: str = field(
        default="127.0.0.1",
        metadata={
            "help": "the address at which the page is; any other than this computer's own lets"
            " everyone on the network see and steer it"
        },
    )
    names: list[str] = field(
        default_factory=list,
        metadata={
            "help": "what browsers may call this computer where viewer.host is its own address,"
            " such as [my.proxy.example]; others are taken for pages that want to look in"
        },
    )
    port: int = field(
        default=8080,
        metadata={
            "help": "the page's port, or the next one that is free",
            "minimum": 1,
            "maximum": 65535,
        },
    )
    rate: float = field(
        default=10.0,
        metadata={
            "help": "pictures per second to aim at while the camera moves: they are made as coarse"
            " as that takes",
            "minimum": 1.0,
            "maximum": 60.0,
        },
    )
    max_side: int = field(
        default=2048,
        metadata={
            "help": "no picture has a longer side, in pixels, however large the window is",
            "minimum": 64,
            "maximum": 8192,
        },
    )
    share: float = field(
        default=0.5,
        metadata={
            "help": "of the time of training, what pictures may take while somebody looks; its"
            " budget in seconds does not count it",
            "minimum": 0.05,
            "maximum": 0.95,
        },
    )
