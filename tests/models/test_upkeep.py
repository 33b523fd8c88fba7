"""What is kept of a model is checked, and removed, without touching anything of the user's."""

import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mediakit.models import catalog, trust, upkeep
from mediakit.models.spec import ModelFile
from mediakit.models.store import Store

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
STATE = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float16([1, 2])}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "models")


@pytest.fixture
def spec(index, spec_of):
    index.fill({"a.pth": WEIGHTS, "b.pth": WEIGHTS[::-1]})
    return spec_of({"a.pth": WEIGHTS, "b.pth": WEIGHTS[::-1]})


def write(path):
    save_file(STATE, path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_pickle_is_kept_as_safetensors_and_loaded_from_then_on(store, spec):
    path = store.pull(spec)
    assert path.name == "a.pth"
    kept = store.keep(spec, path, write)
    assert kept == store.root / "demo" / f"{spec.files[0].sha256[:16]}.safetensors"
    assert store.path(spec) == kept
    assert [file.name for file in store.files(spec)] == [kept.name, "b.pth"]
    found = load_file(kept)
    assert all((found[key] == STATE[key]).all() for key in STATE)
    assert {key: value.dtype for key, value in found.items()} == {
        key: value.dtype for key, value in STATE.items()
    }
    inode = kept.stat().st_ino
    assert store.keep(spec, path, write) == kept
    assert kept.stat().st_ino == inode
    assert store.keep(spec, kept, write) is None  # it is one already
    kept.write_bytes(b"damaged")
    assert store.path(spec) == path


def test_a_pickle_of_the_users_is_kept_in_the_cache(store, tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(WEIGHTS)
    spec = catalog.find(str(path), stamps=tmp_path / "stamps")
    kept = store.keep(spec, store.pull(spec), write)
    assert kept == store.pull(spec)
    assert kept.parent == store.root / ".local"
    assert names(tmp_path) == ["mine.pth", "models", "stamps"]
    removed = upkeep.remove(store, spec)
    assert (removed.files, removed.left) == ((kept,), ())
    assert store.pull(spec) == path


def test_what_can_not_be_kept_costs_nothing(store, spec):
    path = store.pull(spec)

    def full(part):
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    assert store.keep(spec, path, full) is None
    assert store.path(spec) == path
    assert not any("part" in name for name in names(path.parent))


def test_verify_reads_every_byte(store, spec):
    path = store.pull(spec)
    kept = store.keep(spec, path, write)
    assert all(verdict.right for verdict in upkeep.verify(store, spec))
    assert len(upkeep.verify(store, spec)) == 3
    before = path.stat()
    path.write_bytes(WEIGHTS[:-1] + b"!")
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert store.path(spec) == kept  # size and time show nothing
    wrong = [verdict for verdict in upkeep.verify(store, spec) if not verdict.right]
    assert [verdict.path for verdict in wrong] == [path]
    assert wrong[0].expected == spec.files[0].sha256 != wrong[0].found
    assert store.path(spec) is None  # no longer believed
    store.pull(spec)
    assert path.read_bytes() == WEIGHTS


def test_verify_says_what_is_missing(store, spec):
    store.pull(spec)
    (store.root / "demo" / "b.pth").unlink()
    assert [(v.path.name, v.right, v.found) for v in upkeep.verify(store, spec)][1] == (
        "b.pth", False, None,
    )  # fmt: skip


def test_removing_frees_all_and_leaves_no_folder(store, spec):
    path = store.pull(spec)
    kept = store.keep(spec, path, write)
    parts = store.root / "demo" / "part-files"
    parts.mkdir()
    (parts / "c.partial").write_bytes(b"12345")
    size = kept.stat().st_size
    removed = upkeep.remove(store, spec)
    assert removed.freed == 2 * len(WEIGHTS) + size + 5
    assert [file.name for file in removed.files] == ["a.pth", "b.pth", kept.name]
    assert names(store.root) == []
    assert upkeep.remove(store, spec) == upkeep.Removed((), 0, ())


def test_what_the_user_put_there_is_left(store, spec):
    folder = store.root / "demo"
    folder.mkdir(parents=True)
    (folder / "a.pth").write_bytes(WEIGHTS)
    (folder / "notes.txt").write_text("mine")
    store.pull(spec)
    removed = upkeep.remove(store, spec)
    assert removed.left == (folder / "a.pth",)
    assert [path.name for path in removed.files] == ["b.pth"]
    assert names(folder) == [".lock", "a.pth", "a.pth.stamp", "notes.txt"]


def test_a_file_that_was_only_touched_is_still_ours(store, spec):
    path = store.pull(spec)
    os.utime(path, ns=(5, 5))
    assert store.path(spec) == path
    assert len(upkeep.remove(store, spec).files) == 2


def test_what_is_trusted_is_forgotten_on_request(store, spec_of, tmp_path):
    source = tmp_path / "source.pth"
    source.write_bytes(WEIGHTS)
    spec = spec_of({"a.pth": WEIGHTS})
    file = spec.files[0].model_copy(
        update={"sha256": None, "size": None, "sources": (str(source),)}
    )
    spec = spec.model_copy(update={"files": (file,)})
    before = spec.sha256
    store.pull(spec)
    filled = trust.fill(spec, store.root)
    assert filled.pinned and filled.sha256 != before
    upkeep.remove(store, spec)
    assert trust.fill(spec, store.root) == filled
    upkeep.remove(store, spec, forget=True)
    assert trust.fill(spec, store.root) == spec
    source.write_bytes(WEIGHTS[::-1])
    assert store.pull(spec).read_bytes() == WEIGHTS[::-1]


def test_an_ncnn_pair_without_digests_is_trusted_converted_and_removed(
    store, spec_of, compact, tmp_path
):
    pair = compact().write(tmp_path)
    files = tuple(ModelFile(name=f"net{path.suffix}", sources=(str(path),)) for path in pair)
    spec = spec_of({"a.bin": b""}).model_copy(update={"files": files, "convert": "ncnn"})
    converted = store.pull(spec)
    assert load_file(converted).keys() == compact().state.keys()
    assert Store(store.root, offline=True).pin(spec).pinned
    assert store.path(spec) == converted
    assert [verdict.right for verdict in upkeep.verify(store, spec)] == [True, True, True]
    assert len(upkeep.remove(store, spec).files) == 3


def test_the_tensors_of_a_real_pickle_stay_bit_for_bit(store, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file as save

    state = {
        "half": torch.randn(3, 2).half(),
        "brain": torch.randn(4).bfloat16(),
        "odd": torch.tensor([float("nan"), -0.0, 1e-45]),
        "turned": torch.arange(6).reshape(2, 3).T,
    }
    path = tmp_path / "net.pth"
    torch.save(state, path)
    spec = catalog.find(str(path), stamps=tmp_path / "stamps")
    loaded = torch.load(store.pull(spec), weights_only=True)
    kept = store.keep(
        spec, path, lambda part: save({k: v.contiguous() for k, v in loaded.items()}, part)
    )
    again = load(kept)
    for name, value in state.items():
        assert again[name].dtype == value.dtype
        assert again[name].shape == value.shape
        assert torch.equal(
            again[name].contiguous().view(torch.uint8), value.contiguous().view(torch.uint8)
        )
