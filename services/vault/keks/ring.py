"""The KEKs a vault knows, in order: the first is *active* and wraps, the others only unwrap until they are rotated off.

They come from ``AI_ENCRYPTION_KEY``, the lines of ``VAULT_KEKS_FILE`` and ``AI_ENCRYPTION_KEY_PREVIOUS``, in this
order. The file is looked at again while the vault serves, so a rotation needs no restart.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from services.vault.domain.envelope import Kek
from services.vault.keks.lines import parse, parse_file
from shared import logs
from shared.clock import Clock
from shared.errors import OmniError, invalid

LOOK_EVERY_S = 1.0
_FILE = "VAULT_KEKS_FILE"


class Ring:
    """Reading it is free of I/O but for one ``stat`` a second at most."""

    def __init__(
        self, active: str | None, previous: str | None, file: Path | None, clock: Clock, *, production: bool
    ) -> None:
        """``active``, ``previous``, ``file``: the three settings. Raises OmniError when they give no good KEK."""
        self._active, self._previous, self._file = active, previous, file
        self._clock, self._production = clock, production
        self._log = logs.get()
        self._parsed: dict[bytes, Kek] = {}
        self._looked_at, self._seen = clock.monotonic(), self._stamp()
        self._keks = self._read()

    @property
    def active(self) -> Kek:
        """The KEK that wraps."""
        self.look()
        return self._keks[0]

    @property
    def ids(self) -> tuple[str, ...]:
        """Every known KEK, the active one first."""
        self.look()
        return tuple(kek.id for kek in self._keks)

    def find(self, kek_id: str) -> Kek | None:
        """The KEK of that id. One that is not known may just have been added to the file: it is read again."""
        self.look()
        found = self._known(kek_id)
        if found is None:
            self.look(now=True)
            found = self._known(kek_id)
        return found

    def look(self, *, now: bool = False) -> None:
        """Read the file again if it has changed; ``now``: even when that was checked less than a second ago.

        A file that cannot be used leaves the KEKs as they were.
        """
        moment = self._clock.monotonic()
        if self._file is None or (moment - self._looked_at < LOOK_EVERY_S and not now):
            return
        self._looked_at, stamp = moment, self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._keks = self._read()
        except OmniError as error:
            self._log.error("the KEKs stay as they were: their file cannot be used", reason=error.detail)
        else:
            self._log.info("the KEKs were read again", count=len(self._keks))

    async def close(self) -> None:
        """Let go of every key service."""
        for kek in self._parsed.values():
            await kek.close()

    def _known(self, kek_id: str) -> Kek | None:
        return next((kek for kek in self._keks if kek.id == kek_id), None)

    def _read(self) -> Sequence[Kek]:
        texts = [(self._active, "AI_ENCRYPTION_KEY"), *self._lines(), (self._previous, "AI_ENCRYPTION_KEY_PREVIOUS")]
        keks = [self._kek(text, where) for text, where in texts if text and text.strip()]
        if not keks:
            raise invalid(
                "No key-encryption key is configured: set AI_ENCRYPTION_KEY (openssl rand -base64 32), or name a file "
                f"with one a line in {_FILE}."
            )
        return list({kek.id: kek for kek in keks}.values())

    def _lines(self) -> list[tuple[str, str]]:
        if self._file is None:
            return []
        try:
            return parse_file(self._file.read_text(encoding="utf-8"), _FILE)
        except (OSError, ValueError):
            raise invalid(f"{_FILE} must name a readable text file with one key-encryption key a line.") from None

    def _kek(self, text: str, where: str) -> Kek:
        # Stretching a passphrase and connecting to a key service are done once, however often the file is read.
        digest = hashlib.sha256(text.strip().encode()).digest()
        if digest not in self._parsed:
            self._parsed[digest] = parse(text, where, production=self._production)
        return self._parsed[digest]

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._file.stat() if self._file else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None
