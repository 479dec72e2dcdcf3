"""A thin lens: rays that leave it anywhere and meet on the plane in focus.

Legend: F the depth in focus, A the lens's diameter, f the focal length in pixels. A point at depth
z is seen as a disc of ``f A |z - F| / (z F)`` pixels across (Potmesil and Chakravarty 1981).

Nothing else of a lens is modelled: where its rays meet, no matter through which point of it they
came, is where the pinhole's ray meets the plane in focus.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def through_lens(
    directions: Float[Tensor, "rays 3"], places: Float[Tensor, "rays 2"], focus: float
) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 3"]]:
    """Origins and unit directions, in camera axes, of a pinhole's rays that go through the lens at
    ``places`` (x right, y down, from its middle) instead.

    ``focus`` is the depth in focus, in the unit of ``places``; rays must go forward.
    """
    meeting = directions * (focus / directions[:, 2:])
    origins = torch.cat([places, torch.zeros_like(places[:, :1])], dim=-1)
    return origins, torch.nn.functional.normalize(meeting - origins, dim=-1)
