"""Embedding more texts than a provider takes at once: batch after batch at one target, for vectors do not mix."""

from collections.abc import Mapping
from dataclasses import replace

from services.router.attempt import Attempts
from services.router.catalogue import Entry
from services.router.domain.plan import Candidate
from services.router.job import Attempted, Job
from services.router.providers.base import EmbedAnswer
from services.router.retries import Retries
from services.router.walk import Walk
from shared.clock import Clock


class EmbeddingWalk(Walk):
    """A walk whose attempts are batches: each is reserved, sent and accounted for by itself.

    A batch that is tried again finds those before it done; another target begins anew.
    """

    def __init__(
        self, job: Job, attempts: Attempts, retries: Retries, clock: Clock, entries: Mapping[str, Entry]
    ) -> None:
        super().__init__(job, attempts, retries, clock)
        self._entries = entries
        self._batches: list[Attempted] = []
        self._by: Candidate | None = None

    async def _make(self, candidate: Candidate, _: tuple[str, ...] | None = None) -> Attempted:
        if candidate != self._by:
            self._by, self._batches = candidate, []
        batches = self._cut(candidate)
        for batch in batches[len(self._batches) :]:
            attempted = await super()._make(candidate, batch)
            if not isinstance(attempted.result, EmbedAnswer):
                return attempted
            self._batches.append(attempted)
            if len(self._batches) < len(batches):
                self.done.append(attempted.view)
        self.parts = self._batches[:-1]
        answers = [one.result for one in self._batches if isinstance(one.result, EmbedAnswer)]
        vectors = tuple(vector for answer in answers for vector in answer.vectors)
        last = self._batches[-1]
        return replace(last, result=replace(answers[-1], vectors=vectors))

    def _cut(self, candidate: Candidate) -> list[tuple[str, ...]]:
        adapter = self._entries[candidate.target.provider].adapter
        inputs = self._job.request.embedding.inputs if self._job.request.embedding else ()
        most = adapter.embedding.most_inputs if adapter and adapter.embedding else len(inputs)
        return [inputs[start : start + most] for start in range(0, len(inputs), most)]
