import collections
import os
import pickle
import struct

import numpy as np
import pytest

from calcseg_tf.torch_weights import read_state_dict
from data_prep.errors import InputError
from tests.fakes.memory import bounded_memory
from tests.fakes.torch_file import View, legacy_bytes, write_legacy, write_zip

WRITERS = [write_legacy, write_zip]


def state():
    rng = np.random.default_rng(0)
    return collections.OrderedDict(
        first=rng.normal(size=(2, 3, 5)).astype(np.float32),
        double=rng.normal(size=4),
        half=rng.normal(size=(3, 1)).astype(np.float16),
        count=np.array(900, np.int64),
        whole=np.arange(6, dtype=np.int32).reshape(2, 3),
        transposed=rng.normal(size=(4, 3)).astype(np.float32).T,
    )


@pytest.mark.parametrize("write", WRITERS)
def test_tensors_come_back_bit_for_bit_in_order(tmp_path, write):
    read = read_state_dict(write(tmp_path / "x.pth", state()))
    assert list(read) == list(state())
    for name, value in state().items():
        assert (read[name].dtype, read[name].shape) == (value.dtype, value.shape), name
        np.testing.assert_array_equal(read[name], value)


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("write", WRITERS)
def test_a_pickle_that_names_a_function_is_refused_and_nothing_runs(tmp_path, write):
    proof = tmp_path / "executed"
    for evil, name in (
        (Evil(os.system, f"touch {proof}"), ".system,"),
        (Evil(eval, f"open({str(proof)!r}, 'w')"), ".eval,"),
        (Evil(getattr, "x", "upper"), ".getattr,"),
    ):
        path = write(tmp_path / "evil.pth", {"a": np.ones(2, np.float32), "b": evil})
        with pytest.raises(InputError, match="tensors alone") as raised:
            read_state_dict(path)
        assert name in str(raised.value)
        assert raised.value.where == str(path)
        assert not proof.exists()


@pytest.mark.parametrize("write", WRITERS)
def test_what_is_no_dict_of_tensors_is_refused(tmp_path, write):
    path = write(tmp_path / "x.pth", {"epoch": 3, "state_dict": {}})
    with pytest.raises(InputError, match="must hold a state dict") as raised:
        read_state_dict(path)
    assert raised.value.where == str(path)


def damaged():
    data = legacy_bytes(state())
    yield "empty", b""
    yield "garbage", b"\x93\x00" * 500
    yield "text", b"not a pickle at all\n"
    yield "another pickle", pickle.dumps([1, 2, 3])
    for size in (1, 10, 40, len(data) // 2, len(data) - 1):
        yield f"first {size} bytes", data[:size]
    yield "a zip without a pickle", b"PK\x05\x06" + bytes(18)


@pytest.mark.parametrize(("what", "data"), [pytest.param(*each, id=each[0]) for each in damaged()])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, what, data):
    path = tmp_path / "x.pth"
    path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        read_state_dict(path)
    assert raised.value.where == str(path), what
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as raised:
            read_state_dict(path)
        assert raised.value.where == str(path)


def test_a_truncated_zip_is_one_line(tmp_path):
    path = write_zip(tmp_path / "x.pth", state())
    data = path.read_bytes()
    for cut in (0.3, 0.9):
        path.write_bytes(data[: int(cut * len(data))])
        with pytest.raises(InputError, match="PyTorch"):
            read_state_dict(path)
    path.write_bytes(data.replace(b"weights/data/0", b"weights/data/9"))
    with pytest.raises(InputError, match="not a readable PyTorch file"):
        read_state_dict(path)


def test_no_byte_flipped_in_the_pickle_ends_in_anything_but_an_input_error(tmp_path):
    data = legacy_bytes({"a": np.ones((2, 2), np.float32), "b": np.zeros(3, np.float32)})
    path = tmp_path / "x.pth"
    refused = 0
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x15
        path.write_bytes(bytes(flipped))
        try:
            read_state_dict(path)
        except InputError:
            refused += 1
    assert refused > len(data) // 3


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((5,), (1,), 0), ((4,), (1,), 1), ((2, 2), (4, 1), 0), ((0,), (1,), 0), ((-1,), (1,), 0), ((2,), (-1,), 3),
        ((4,), (1,), -1), ((10**6, 10**6), (0, 0), 0),  # strides of 0: 4 TB out of one value
    ],
)  # fmt: skip
def test_a_view_outside_its_storage_is_refused(tmp_path, write, shape, strides, offset):
    path = write(tmp_path / "x.pth", {"a": View(np.ones(4, np.float32), shape, strides, offset)})
    with pytest.raises(InputError, match=r"outside its storage|may have 1 GiB"):
        read_state_dict(path)


@pytest.mark.parametrize("write", WRITERS)
def test_a_view_inside_its_storage_is_read(tmp_path, write):
    path = write(tmp_path / "x.pth", {"a": View(np.arange(6, dtype=np.float32), (2, 2), (1, 2), 1)})
    np.testing.assert_array_equal(read_state_dict(path)["a"], [[1, 3], [2, 4]])


def test_a_pickle_that_claims_a_thousand_million_memos_takes_no_memory_for_them(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"Nr\xff\xff\xff\x3f.")  # None, kept as memo 1,073,741,823
    with bounded_memory(50_000_000), pytest.raises(InputError, match="not a PyTorch file"):
        read_state_dict(path)


def test_an_archive_that_claims_to_unpack_to_gigabytes_is_refused_unread(tmp_path):
    path = write_zip(tmp_path / "x.pth", {"a": np.ones(4, np.float32)})
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\1\2")  # PKZIP APPNOTE 4.3.12: the uncompressed size stands 24 bytes behind
    data[entry + 24 : entry + 28] = (0x7FFFFFFF).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="a state dict may have 1 GiB"):
        read_state_dict(path)


def test_a_pickle_that_claims_a_byte_array_of_gigabytes_takes_no_memory_for_it(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(b"\x96" + struct.pack("<Q", 30 << 30) + b".")
    with bounded_memory(50_000_000), pytest.raises(InputError, match="not a readable PyTorch file"):
        read_state_dict(path)


_TUPLE_60 = b"h<"


@pytest.mark.parametrize(
    "use",
    [
        b"}" + _TUPLE_60 + b"Ns.", b"}(" + _TUPLE_60 + b"Nu.", b"(" + _TUPLE_60 + b"Nd.",
        b"\x8f(" + _TUPLE_60 + b"\x90.", b"(" + _TUPLE_60 + b"\x91.",
        b"ccollections\nOrderedDict\n]" + _TUPLE_60 + b"N\x86a\x85R.",
    ],
)  # fmt: skip
def test_keys_whose_hash_takes_for_ever_are_refused(tmp_path, use):
    # A tuple that holds another twice, which holds another twice ...: to hash the sixtieth takes 2 ** 60 steps.
    nested = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (number, number, number + 1) for number in range(60))
    (tmp_path / "x.pth").write_bytes(nested + use)
    with pytest.raises(InputError):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("write", WRITERS)
def test_a_tensor_that_is_named_two_thousand_times_is_refused_before_it_is_copied(tmp_path, write):
    megabyte = View(np.ones(1 << 18, np.float32), (1 << 18,), (1,))
    path = write(tmp_path / "x.pth", {f"name {number}": megabyte for number in range(2000)})
    assert path.stat().st_size < 2e6
    with pytest.raises(InputError, match="a state dict may have 1 GiB"):
        read_state_dict(path)
