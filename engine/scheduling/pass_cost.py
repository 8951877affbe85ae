"""The measured duration of forward passes, by their size."""

from collections.abc import Sequence

from engine.scheduling.contract import BatchRecord, TokenIds

_WEIGHT = 0.125
"""The weight of a new measurement in a mean: the mean follows a change within some ten passes. Chosen."""

_SIZES = 32
"""Classes of passes, one per power of two of their padded tokens."""


class PassCost:
    """The mean duration of forward passes, per power of two of their padded tokens.

    Written in the event loop's thread, and read in the watchdog's: a value that is one pass old is good enough.
    """

    def __init__(self) -> None:
        self._means_s = [0.0] * _SIZES  # 0: not measured

    def record(self, record: BatchRecord) -> None:
        """Records a batch. A batch of several passes is ignored."""
        if record.split or record.out_of_memory_tokens:
            return
        size = min(record.padded_tokens.bit_length(), _SIZES - 1)
        mean_s = self._means_s[size]
        self._means_s[size] = mean_s + _WEIGHT * (record.infer_s - mean_s) if mean_s else record.infer_s

    def expected_s(self, texts: Sequence[TokenIds]) -> float | None:
        """Returns how long a pass of these texts takes, in seconds; None before any pass was measured.

        A size that was never measured takes at most as long as the next larger one that was. Beyond the largest one
        the duration is taken to be proportional to the size.
        """
        padded_tokens = len(texts) * max(map(len, texts), default=0)
        size = min(padded_tokens.bit_length(), _SIZES - 1)
        larger = [mean_s for mean_s in self._means_s[size:] if mean_s]
        if larger:
            return larger[0]
        smaller = [(other, mean_s) for other, mean_s in enumerate(self._means_s[:size]) if mean_s]
        if not smaller:
            return None
        measured, mean_s = smaller[-1]
        return mean_s * float(2 ** (size - measured))
