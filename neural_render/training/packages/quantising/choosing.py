"""Chooses how finely each level of a table is stored: as coarsely as pictures allow.

Legend: d_l the step of level l, n_l its live entries, g_l the error of pictures per squared step of
noise on the whole level, w_l = 12 g_l / n_l that per squared error of one entry, E the error of
pictures (their mean squared error) that is allowed.

The fewest bits for an error are those at which one bit more gains the same in every level, so that
w_l d_l^2 is equal in all of them: one number s gives all steps, d_l = s / sqrt(w_l), and is found
by rendering. Noise adds up, so that s^2 sum(n_l) / 12 = E is where the search begins.
"""

import copy
import logging
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Int32

from neural_render.core.waiting.patience import told_if_slow
from neural_render.kernels.specs import GridLevel
from neural_render.training.packages.contents import dequantised
from neural_render.training.packages.quantising.live_rows import live_rows
from neural_render.training.packages.quantising.rounding import quantised, smallest_step
from neural_render.training.packages.quantising.witness import Witness
from neural_render.training.runs.restore import TrainedScene

PROBE = 0.2  # noise by which a level is judged, of the spread of its entries
PROBE_VIEWS = 2
CLOSE = 0.75  # of what is allowed: near enough
AIM = 0.9
MOST_TRIALS = 8
MOST_CHANGE = 4.0  # of s, from one trial to the next

_log = logging.getLogger("neural_render")


@dataclass(frozen=True, kw_only=True)
class QuantisedTable:
    """The whole numbers and the step of each level, and what they cost."""

    numbers: list[Int32[np.ndarray, "_ features"]]
    steps: list[float]
    error: float  # of pictures

    def shown_by(self, scene: TrainedScene) -> TrainedScene:
        """The scene with this table."""
        changed = replace(scene, field=copy.deepcopy(scene.field))
        parts = map(dequantised, self.numbers, self.steps)
        with torch.no_grad():
            changed.field.table.copy_(torch.cat(list(parts)))
        return changed


class TableChooser:
    """A scene's table, level by level: what of it is read, and how much that shows."""

    def __init__(self, scene: TrainedScene, witness: Witness) -> None:
        """Finds out by rendering with noise."""
        self._scene, self._witness = scene, witness
        self._levels = scene.field.spec.grid.level_layout()
        table = scene.field.table.detach().cpu()
        self._entries = [table[_rows(level)].numpy() for level in self._levels]
        with told_if_slow("finding which rows of the table are seen"):
            live = live_rows(scene.field.spec.grid, scene.renderer.occupancy)
        self._live: list[Bool[np.ndarray, " _"]] = [rows.numpy() for rows in live]
        with told_if_slow("finding what each level of the table shows"):
            self._weights = self._effects()

    @told_if_slow("choosing bits")
    def chosen(self, allowed: float) -> QuantisedTable:
        """The smallest table found whose pictures have no larger error than ``allowed``.

        If none has, the best one.
        """
        features = self._scene.field.spec.grid.features
        num_live = features * sum(int(live.sum()) for live in self._live)
        strength = math.sqrt(12 * allowed / max(1, num_live))
        best = self._at(strength)
        trial, tried = best, strength
        for _ in range(MOST_TRIALS):
            if CLOSE * allowed <= trial.error <= allowed:
                return trial
            change = math.sqrt(AIM * allowed / max(trial.error, 1e-12))
            tried *= min(max(change, 1 / MOST_CHANGE), MOST_CHANGE)
            trial = self._at(tried)
            _log.debug("steps of %.3g: error %.3g of %.3g", tried, trial.error, allowed)
            if _better(trial, tried, best, strength, allowed):
                best, strength = trial, tried
        return best

    def _at(self, strength: float) -> QuantisedTable:
        """The table of steps that are this large."""
        steps = [
            max(strength / math.sqrt(weight), smallest_step(entries)) if weight else 0.0
            for weight, entries in zip(self._weights, self._entries, strict=True)
        ]
        numbers = [
            quantised(entries, live, step) if step else np.zeros(entries.shape, np.int32)
            for entries, live, step in zip(self._entries, self._live, steps, strict=True)
        ]
        table = QuantisedTable(numbers=numbers, steps=[s or 1.0 for s in steps], error=math.inf)
        return replace(table, error=self._witness.error(table.shown_by(self._scene)))

    def _effects(self) -> list[float]:
        """w of each level; 0: it shows nothing."""
        changed = replace(self._scene, field=copy.deepcopy(self._scene.field))
        generator = torch.Generator().manual_seed(0)
        weights = []
        for level, entries, live in zip(self._levels, self._entries, self._live, strict=True):
            step = PROBE * float(entries[live].std()) if live.any() else 0.0
            if not step:
                weights.append(0.0)
                continue
            own = changed.field.table.detach()[_rows(level)]
            before = own.clone()
            noise = torch.rand(own.shape, generator=generator) - 0.5
            own += (step * noise).to(own)
            effect = self._witness.error(changed, PROBE_VIEWS) / step**2
            own.copy_(before)
            weights.append(12 * effect / (int(live.sum()) * entries.shape[1]))
        return weights


def _better(
    trial: QuantisedTable, tried: float, best: QuantisedTable, strength: float, allowed: float
) -> bool:
    """Whether a trial keeps to what is allowed with larger steps, or comes nearer to it."""
    if trial.error <= allowed:
        return best.error > allowed or tried > strength
    return best.error > allowed and trial.error < best.error


def _rows(level: GridLevel) -> slice:
    return slice(level.offset, level.offset + level.rows)
