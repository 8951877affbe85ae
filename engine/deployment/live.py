"""A deployment that answers requests."""

import asyncio
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from engine.artifacts.prepare import Artifact
from engine.backends import Cell, LoadedModel
from engine.deployment.target import Deployment, Plan
from engine.models.card import ModelCard
from engine.models.resolve import ModelFiles
from engine.models.tokenizer import Tokenizer
from engine.scheduling import Scheduler

_log = logging.getLogger(__name__)


class LiveDeployment:
    """A deployment that answers requests, from its cut-over until its release.

    `planned` is the deployment before it was loaded; `plan.effective` has what loading showed, such as the precision.
    `cosine` is the mean cosine to the fp32 reference vectors when it was loaded.
    """

    def __init__(
        self, plan: Plan, planned: Deployment, files: ModelFiles, tokenizer: Tokenizer, model: LoadedModel,
        artifact: Artifact, scheduler: Scheduler, cosine: float,
    ) -> None:  # fmt: skip
        self.epoch = 0
        self.plan = plan
        self.planned = planned
        self.files = files
        self.tokenizer = tokenizer
        self.cosine = cosine
        compared = f"mean cosine {cosine:.5f} to fp32 on {len(artifact.reference.token_ids)} texts when loaded"
        self.evidence = f"{model.evidence}; {compared}"
        self.packs = model.packs
        self.scheduler = scheduler
        self._model: LoadedModel | None = model
        self._artifact = artifact
        self._bound = 0
        self._unbound = asyncio.Event()
        self._unbound.set()

    @property
    def cell(self) -> Cell:
        """The cell that runs."""
        return self.plan.effective.cell

    @property
    def model_card(self) -> ModelCard:
        """Everything about the model except its weights."""
        return self.files.card

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the model's files."""
        return self.files.fingerprint

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Binds one request to this deployment, which is not released before the block ends."""
        self._bound += 1
        self._unbound.clear()
        try:
            yield
        finally:
            self._bound -= 1
            if not self._bound:
                self._unbound.set()

    async def release(self) -> None:
        """Waits until every bound request is answered, ends the instances and frees the weights.

        The weights stay in memory while a thread that hangs uses them: freeing them would crash the process.
        """
        await self._unbound.wait()
        await self.scheduler.close()
        if self._model is not None:
            model, self._model = self._model, None
            if hung := self.scheduler.stats().abandoned_threads:
                size_bytes = await asyncio.to_thread(self._artifact.size_bytes)
                _log.warning(
                    "the memory of %s (about %d MB) is not freed, because %d threads hang in a forward pass: "
                    "restart the engine to free it",
                    self.scheduler.name, size_bytes >> 20, hung,
                )  # fmt: skip
                return
            await asyncio.to_thread(model.close)
            gc.collect()
