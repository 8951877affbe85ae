"""Reference vectors: the fp32 torch vectors of a few fixed texts, with which every deployment is compared."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.scheduling.contract import Executor

_TOKENS_FILE = "reference.json"
_VECTORS_FILE = "reference.npy"
_BATCH = 8
"""Texts per batch. More than one, so that padding is verified too."""

REFERENCE_TEXTS = (
    "",
    "Hello.",
    "opening hours",
    "How do I reset my password?",
    "cheap flights to lisbon in may",
    "The kettle has been boiling for ten minutes.",
    "My neighbour keeps two goats and a very loud rooster behind the old garage.",
    "What is the difference between a savings account and a fixed-term deposit?",
    "Rain is expected over the northern hills tonight, turning to snow above six hundred metres by morning.",
    "She tuned the violin twice before the concert, and once more when the heating came on.",
    "error: could not open file 'settings.toml' (permission denied)",
    "Please send the invoice no. 2024/117 to accounts before 31 March; the total is 1,482.50 euros.",
    "A vaccine trains the immune system to recognise a pathogen without causing the illness itself.",
    "Le train de nuit arrive à Vienne à sept heures dix.",
    "The recipe asks for three eggs, a pinch of salt, and far more patience than I usually have on a Monday.",
    "Engineers replaced the bridge's expansion joints one lane at a time so that traffic never had to stop.",
    "def area(radius): return 3.14159 * radius ** 2",
    (
        "Ministers left the talks without an agreement, blaming one another for the collapse of a plan that "
        "had taken eighteen months to draft and less than an afternoon to abandon."
    ),
    (
        "When the tide went out, the children found a rusted anchor, half a rowing boat, four crabs and a "
        "bottle with a letter inside that the sea had made impossible to read."
    ),
    (
        "The museum's oldest clock still runs, although nobody alive remembers who is supposed to wind it. "
        "Every Tuesday the caretaker finds it wound, sets it two minutes forward, and tells no one."
    ),
    (
        "Soil that is never left bare loses less water in summer and less of itself in winter. Farmers in the"
        " valley now sow clover between the rows of maize, and the river below their fields has run clearer "
        "each year since."
    ),
    (
        "The first version of the timetable assumed that trains would turn around in six minutes. They could "
        "not: crews had to walk the length of the platform, brakes had to be tested, and passengers with "
        "prams needed the lift. The second version allowed eleven minutes, and delays fell by half although "
        "fewer trains ran."
    ),
    (
        "In the letter she never posted, she described the house as it had been before the flood: the blue "
        "kitchen, the stairs that complained at every step, the pear tree that leaned on the wall like a "
        "tired guest. She wrote about the sound of the well at night and about the neighbours, who had all "
        "moved away. Then she folded the pages, put them in the drawer with the other letters, and went out "
        "to buy paint."
    ),
    (
        "Batteries lose capacity in two ways. Some of it goes with time, whether or not they are used, "
        "because the materials inside slowly react with one another; heat makes this faster. The rest goes "
        "with use, because every charge stretches and squeezes the electrodes a little until they crack. A "
        "car that is kept cool, charged slowly and rarely filled to the brim can keep most of its range for "
        "fifteen years, whereas one that is charged fast every day in a hot country may need a new battery "
        "after eight. Makers therefore hide part of the capacity from the driver and give it back over time, "
        "which is why the range of some cars seems not to shrink at all at first."
    ),
)


@dataclass(frozen=True, slots=True)
class ReferenceVectors:
    """`vectors` is (n, dim) float32 with unit rows; `token_ids` are the texts they were computed from."""

    token_ids: list[list[int]]
    vectors: NDArray[np.float32]

    def save(self, folder: Path) -> None:
        """Writes two files into `folder`."""
        (folder / _TOKENS_FILE).write_text(json.dumps(self.token_ids), "utf-8")
        np.save(folder / _VECTORS_FILE, self.vectors, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> "ReferenceVectors":
        """Reads what save() wrote. Raises OSError or ValueError when the files are missing or damaged."""
        token_ids = json.loads((folder / _TOKENS_FILE).read_text("utf-8"))
        return cls(token_ids, np.load(folder / _VECTORS_FILE, allow_pickle=False))


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the cosine of each pair of rows, (n,) float32, for two (n, dim) arrays of unit rows."""
    products: NDArray[np.float32] = np.einsum("nd,nd->n", left, right)
    return products


def mean_cosine(executor: Executor, reference: ReferenceVectors) -> float:
    """Returns the mean cosine between the vectors of `executor` and the reference. Blocks for a few forward passes.

    Raises ModelError when a vector is not finite.
    """
    batches = range(0, len(reference.token_ids), _BATCH)
    unit = np.concatenate([executor(reference.token_ids[start : start + _BATCH]).in_order().unit for start in batches])
    if not np.isfinite(unit).all():
        raise ModelError("the loaded model returns vectors that are not finite: choose a higher precision")
    return float(cosines(unit, reference.vectors).mean())
