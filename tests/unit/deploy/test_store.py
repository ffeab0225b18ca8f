"""Noticing that NATS has lost its files."""

import shutil
from pathlib import Path

from deploy.local.home import Home
from deploy.local.nats import Store, store_of


def test_a_folder_that_goes_or_is_another_one_is_told_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    store, folder = Store(home), store_of(home) / "jetstream"
    assert not store.is_lost(), "it is not there yet"
    (folder / "STORE").mkdir(parents=True)
    assert not store.is_lost()
    shutil.rmtree(folder)
    assert store.is_lost()
    assert not store.is_lost(), "the server is being started again"
    (folder / "STORE").mkdir(parents=True)
    assert not store.is_lost()
    (folder / "STORE").rename(folder.parent / "elsewhere")
    (folder / "STORE").mkdir()
    assert store.is_lost()
