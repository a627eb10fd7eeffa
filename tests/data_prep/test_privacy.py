"""Nothing that tells who a patient is leaves `data_prep`.

The rule, searched for in every byte of every file written and of everything printed:

* no file holds a value of a DICOM header, table or PNG text that names or dates a patient, an examination or a person
  who took part, in any encoding, nor the user's names of files and folders, nor a digest of an id that anyone could
  compute without the salt;
* what is printed may name the user's own files by the paths that the user chose, and nothing else of the above;
* `--public_ids` keeps the ids of a public data set in the records, and nothing else.

What no search of bytes finds, such as a name burned into the pixels, is a warning of the reader's, not found here.
"""

import base64
import gzip
import hashlib
import json
import pathlib
import shutil
import zlib

import numpy as np
import pydicom
import pytest

from data_prep.manifest import read_manifest
from data_prep.schema import from_example, to_example
from data_prep.tfrecord import read_tfrecord, write_tfrecord
from tests.fakes.cbis_ddsm import Abnormality, write_cbis_ddsm
from tests.fakes.cbis_ddsm import Image as CbisImage
from tests.fakes.cbis_ddsm import region as cbis_region
from tests.fakes.commands import run_modules
from tests.fakes.dicom import write_dicom
from tests.fakes.folder import fake_mask, fake_pixels
from tests.fakes.inbreast import FakeImage, roi, write_inbreast
from tests.fakes.patients import Patient, taint, write_hospital, write_tainted_png
from tests.fakes.records import fake_record
from tests.leaks import find_leaks, leaks_in

PATIENTS = tuple(Patient(number) for number in range(6))
SECRETS = {secret for patient in PATIENTS for secret in patient.secrets}


def digests(names):
    """What anybody can compute of an id and then look for."""
    return {
        getattr(hashlib, method)(name.encode()).hexdigest()[:16]
        for name in names
        for method in ("sha256", "sha1", "md5", "sha512")
    }


def printed(ended, *user_folders):
    """What was printed, without the paths of the user's own files."""
    text = ended.stdout + ended.stderr
    for folder in user_folders:
        places = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        for place in sorted(places, key=len, reverse=True):
            text = text.replace(f"{folder}/{place}", "<file>").replace(place, "<file>")
    return text


def assert_quiet(ended, *user_folders, secrets=SECRETS):
    assert "Traceback" not in ended.stderr, ended.stderr
    assert leaks_in(printed(ended, *user_folders).encode(), secrets) == [], printed(ended, *user_folders)


# The search finds what it should.


@pytest.mark.parametrize("secret", ["Zwiebelfisch", "QXJ-77310", "1.2.840.99731", "Spätlese"])
def test_the_search_finds_a_secret_in_any_form(tmp_path, secret):
    words = f"before {secret} behind"
    pixels = np.frombuffer((words + " " * 64).encode()[:64].ljust(64), np.uint8).reshape(8, 8)
    np.savez_compressed(tmp_path / "numbers.npz", text=np.array([words]))
    record = fake_record(pixels.astype(np.uint16), np.zeros((8, 8), np.uint8), name=words)
    forms = {
        "plain": words.encode(),
        "upper": words.upper().encode(),
        "latin": words.encode("latin-1"),
        "utf-16": words.encode("utf-16"),
        "json": json.dumps(words).encode(),
        "hex": words.encode().hex().encode(),
        "HEX": words.encode().hex().upper().encode(),
        **{f"base64-{shift}": base64.b64encode(b"x" * shift + words.encode()) for shift in range(3)},
        "zlib": b"\0" * 9 + zlib.compress(words.encode()),
        "gzip": gzip.compress(gzip.compress(words.encode())),
        "npz": (tmp_path / "numbers.npz").read_bytes(),
        "record": to_example(record),
    }
    (tmp_path / "numbers.npz").unlink()
    png = write_tainted_png(tmp_path / "out" / "a.png", np.zeros((4, 4), np.uint8), PATIENTS[0])
    (tmp_path / "out" / "b.bin").write_bytes(b"\1\2\3" + png.read_bytes())
    assert {found for form in forms.values() for found in leaks_in(form, [secret])} == {secret}
    assert [name for name, form in forms.items() if not leaks_in(form, [secret])] == []
    assert leaks_in(b"".join(forms.values()), ["Quastenflosser"]) == []
    found = find_leaks([tmp_path / "out"], PATIENTS[0].secrets)
    for name in ("a.png", "b.bin"):
        for text in ("QXJ-77310", "Zwiebelfisch", "Adelgunde", "19431120", "Spätlese", "ACC555010"):
            assert f"out/{name}: {text}" in found
    write_tfrecord(tmp_path / "out" / "Zwiebelfisch.tfrecord", [b"nothing"])
    assert "out/Zwiebelfisch.tfrecord: Zwiebelfisch" in find_leaks([tmp_path / "out"], ["Zwiebelfisch"])


def test_the_search_finds_a_secret_in_the_pixels_of_a_record(tmp_path):
    text = b"Zwiebelfisch".ljust(16)
    image = np.zeros((4, 8), np.uint16)
    image[1] = np.frombuffer(text, ">u2")
    record = fake_record(image, np.zeros((4, 8), np.uint8), bits_stored=16)
    write_tfrecord(tmp_path / "a.tfrecord", [to_example(record)])
    assert find_leaks([tmp_path], ["Zwiebelfisch"]) == ["%s/a.tfrecord: Zwiebelfisch" % tmp_path.name]  # noqa: UP031


# A folder data set, as a hospital has it.


def add_bad_files(root):
    """One file for each way to be rejected, each named by patient 5, of whom no good file tells."""
    patient = PATIENTS[5]
    folder = root / patient.folder

    def dicom(name, **options):
        path = write_dicom(folder / f"{patient.accession}_{name}.dcm", fake_pixels(0), **options)
        taint(path, patient)
        write_tainted_png(path.with_suffix(".png"), fake_mask(0), patient)
        return path

    dicom("no_mask").with_suffix(".png").unlink()
    write_tainted_png(dicom("mask_size").with_suffix(".png"), fake_mask(0, 30, 30), patient)
    (cut := dicom("cut_pixels")).write_bytes(cut.read_bytes()[:-600])
    (cut := dicom("cut_header")).write_bytes(cut.read_bytes()[:420])
    dicom("processing", PresentationIntentType="FOR PROCESSING")
    dicom("modality", Modality="CT")
    dicom("colour", SamplesPerPixel=3, PhotometricInterpretation="RGB")
    dicom("slipped", Modality=patient.family.upper())  # as in a file whose values have slipped by one
    dicom("slipped_too", PhotometricInterpretation=patient.given.upper())
    wrong_type = dicom("wrong_type")
    data = wrong_type.read_bytes()
    # Patient ID stored as a decimal string: whoever converts it quotes it.
    wrong_type.write_bytes(data.replace(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00DS"))
    unmasked = dicom("cut_mask").with_suffix(".png")
    unmasked.write_bytes(unmasked.read_bytes()[:-30])
    (folder / f"{patient.family}.dcm").write_bytes(f"no DICOM but {patient.id} {patient.birth}".encode())
    (folder / f"{patient.family}.png").write_bytes(b"no PNG")
    write_tainted_png(folder / f"{patient.given}_mask.png", fake_mask(0), patient)


def add_cases(root, *lines):
    table = root / "cases.csv"
    table.write_text("\n".join(["file,patient,laterality,view,pixel_spacing_mm", *lines]))


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """`convert` on a good data set, on one with bad files, twice with one salt, and with faults that stop it."""
    root = tmp_path_factory.mktemp("run")
    inputs = tmp_path_factory.mktemp("inputs")
    write_hospital(inputs / "good")
    shutil.copytree(inputs / "good", inputs / "bad")
    add_bad_files(inputs / "bad")
    last = PATIENTS[4]
    tables = {
        "cell": f"{last.folder}/{last.accession}.png,{last.id},{last.family},CC,",
        "view": f"{last.folder}/{last.accession}.png,{last.id},L,{last.family} {last.birth},",
        "spacing": f"{last.folder}/{last.accession}.png,{last.id},L,CC,{last.birth} {last.given}",
        "file": f"{last.family} {last.given} {last.birth},{last.id},L,CC,",
        "cells": f"{last.folder}/{last.accession}.png,{last.id},L,CC,,{last.family}",
    }
    for name, line in tables.items():
        shutil.copytree(inputs / "good", inputs / f"table_{name}")
        add_cases(inputs / f"table_{name}", line)
    shutil.copytree(inputs / "good", inputs / "table_column")
    (inputs / "table_column" / "cases.csv").write_text(f"file,patient,{last.family},view\n")
    calls = {"good": "good", "again": "good", "other": "good", "bad": "bad", "strict": "bad"}
    calls |= {f"table_{name}": f"table_{name}" for name in (*tables, "column")}
    salt_of = {"other": "other.salt"}
    ended = run_modules(
        "data_prep.convert",
        [
            [
                f"--data_dir={inputs / source}", f"--output_dir={root / name}", "--workers=1",
                f"--salt_file={inputs / salt_of.get(name, 'salt')}", *(["--strict"] if name == "strict" else []),
            ]
            for name, source in calls.items()
        ],
    )  # fmt: skip
    return inputs, root, dict(zip(calls, ended, strict=True))


def test_records_of_a_hospital_hold_no_trace_of_a_patient(converted):
    inputs, root, ended = converted
    for name, images in (("good", 9), ("bad", 10)):  # the Patient ID of the wrong type can be read all the same
        assert ended[name].returncode == 0, ended[name].stderr
        assert sum(read_manifest(root / name).images.values()) == images
    assert len(read_manifest(root / "bad").rejected) >= 10
    secrets = SECRETS | digests({patient.id for patient in PATIENTS}) | {str(inputs), str(root)}
    assert find_leaks([root], secrets) == []
    assert find_leaks([root], [(inputs / "salt").read_bytes().hex()]) == []
    assert (inputs / "salt").read_bytes() not in b"".join(path.read_bytes() for path in root.rglob("*.*"))


def test_what_conversion_prints_names_files_and_nothing_of_their_content(converted):
    inputs, _, ended = converted
    for name, result in ended.items():
        assert_quiet(result, *(folder for folder in inputs.iterdir() if folder.is_dir()))
        if name == "strict" or name.startswith("table_"):
            assert result.returncode == 1, name
            assert result.stderr.count("\n") == 1, result.stderr


def test_a_patient_has_one_hash_a_salt_and_another_under_another_salt(converted):
    _, root, _ = converted
    good, again, other = (read_manifest(root / name).split for name in ("good", "again", "other"))
    assert good == again
    patients = [{placement.patient for placement in split.values()} for split in (good, other)]
    assert [len(each) for each in patients] == [5, 5]
    assert not patients[0] & patients[1]
    assert not good.keys() & other.keys()
    by_patient = [sum(placement.patient == patient for placement in good.values()) for patient in patients[0]]
    assert sorted(by_patient) == [1, 2, 2, 2, 2]  # two images of a patient share its hash
    # A data set that holds one of the patients again gives that patient the same hash under the same salt.
    bad = read_manifest(root / "bad").split
    assert {placement.patient for placement in bad.values()} > patients[0]


def test_verify_and_describe_tell_no_more_than_the_records(converted, tmp_path):
    _, root, _ = converted
    results = run_modules("data_prep.verify", [[f"--records_dir={root / 'bad'}"]])
    results += run_modules(
        "data_prep.describe", [[f"--records_dir={root / 'bad'}", f"--output_dir={tmp_path / 'out'}"]]
    )
    for result in results:
        assert result.returncode == 0, result.stderr
        assert_quiet(result)
    assert find_leaks([tmp_path], SECRETS) == []


# Public data sets, whose own ids name images and patients.

INBREAST_PATIENTS = ("a1b2c3d4e5f60718", "0f1e2d3c4b5a6978", "77310aabbccddeef")


def inbreast(root):
    images = [
        FakeImage(
            f"9477{number}10{side}",
            patient,
            "LR"[side],
            "CC",
            (roi("Calcification", (3, 4), (6, 4), (6, 8)), roi(PATIENTS[number].family, (1, 1))),
        )
        for number, patient in enumerate(INBREAST_PATIENTS)
        for side in range(2)
    ]
    write_inbreast(root, images)
    for number, path in enumerate(sorted((root / "AllDICOMs").iterdir())):
        taint(path, PATIENTS[number % 3], number)
    cut = root / images[0].file
    cut.write_bytes(cut.read_bytes()[:-900])
    (root / "AllDICOMs" / f"{PATIENTS[3].folder}.dcm").write_bytes(b"\0" * 128 + b"DICM stray")
    (root / "AllXML" / f"{images[3].id}.xml").write_bytes(f"<plist>{PATIENTS[0].family}".encode())
    (root / "AllXML" / f"{PATIENTS[3].folder}.xml").write_bytes(b"<plist/>")
    return {*INBREAST_PATIENTS, *(image.id for image in images)}


def cbis(root):
    images = [
        CbisImage(
            fake_pixels(number, bits=16),
            [Abnormality(cbis_region(2, 2, 9, 9))],
            patient=f"P_7731{number}",
            view="MLO",
            test=number == 3,
        )
        for number in range(4)
    ]
    images.append(CbisImage(fake_pixels(9, bits=16), [Abnormality(None)], patient="P_77319"))
    write_cbis_ddsm(root, images)
    uids = set()
    for number, path in enumerate(sorted(root.rglob("*.dcm"))):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        uids |= {header.SeriesInstanceUID, header.StudyInstanceUID, header.SOPInstanceUID}
        taint(path, PATIENTS[number % 5], number, keep=("SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID"))
    stray = root / PATIENTS[5].folder / f"{PATIENTS[5].accession}.dcm"
    stray.parent.mkdir()
    stray.write_bytes(b"\0" * 128 + b"DICM stray")
    return {image.patient for image in images} | uids


@pytest.mark.parametrize(("dataset", "write"), [("inbreast", inbreast), ("cbis_ddsm", cbis)])
def test_public_data_sets_keep_their_ids_only_where_asked_to(tmp_path, dataset, write):
    ids = write(tmp_path / "in")
    flags = [f"--dataset={dataset}", f"--data_dir={tmp_path / 'in'}", "--workers=1"]
    hashed, public = run_modules("data_prep.convert", [
        [*flags, f"--output_dir={tmp_path / 'out' / 'hashed'}", f"--salt_file={tmp_path / 'salt'}"],
        [*flags, f"--output_dir={tmp_path / 'public' / 'records'}", "--public_ids"],
    ])  # fmt: skip
    for ended in (hashed, public):
        assert ended.returncode == 0, ended.stderr
        assert_quiet(ended, tmp_path / "in")
    assert find_leaks([tmp_path / "out"], SECRETS | ids | digests(ids)) == []
    records = [
        from_example(serialized)
        for split in ("train", "test")
        for shard in read_manifest(tmp_path / "public" / "records").shards(split)
        for serialized in read_tfrecord(shard)
    ]
    assert records
    for record in records:
        assert any(name in record.patient_id for name in ids)
        assert any(name in record.image_id for name in ids)
    # A rejected file keeps its name where ids are public; the headers of all files stay out.
    in_names = {text for patient in PATIENTS for text in (*patient.folder.split("_"), patient.accession)}
    assert find_leaks([tmp_path / "public"], SECRETS - in_names) == []


# Real mammograms with artificial calcifications.


def test_implanted_mammograms_hold_nothing_of_their_source_but_the_picture(tmp_path):
    source = tmp_path / "in" / PATIENTS[0].folder
    for number in range(2):
        rng = np.random.default_rng(number)
        pixels = np.zeros((400, 320), np.uint16)
        pixels[:, :200] = rng.normal(1500, 30, (400, 200)).clip(0, 4095).astype(np.uint16)
        path = write_dicom(source / f"{PATIENTS[0].accession}-{number}.dcm", pixels, PixelSpacing=[0.07, 0.07],
                           ImageLaterality="L", ViewPosition="MLO")  # fmt: skip
        taint(path, PATIENTS[number], number)
    write_tainted_png(source / f"{PATIENTS[2].family}.png", np.pad(pixels, 1), PATIENTS[2])
    add_bad_files(tmp_path / "in")
    ended = run_modules("data_prep.implant", [
        [f"--background_dir={tmp_path / 'in'}", f"--output_dir={tmp_path / 'out' / 'implanted'}", "--workers=1",
         "--isolated_per_mammogram=3", "--clusters_per_mammogram=1"],
    ])[0]  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert_quiet(ended, tmp_path / "in")
    written = sorted((tmp_path / "out" / "implanted").glob("*.dcm"))
    assert len(written) >= 3
    assert find_leaks([tmp_path / "out"], SECRETS | digests({patient.id for patient in PATIENTS})) == []
    for path in written:
        dataset = pydicom.dcmread(path)
        assert not [element for element in dataset.iterall() if element.tag.is_private]
        dates = [element for element in dataset.iterall() if element.VR in ("DA", "DT", "TM", "PN", "AE", "SH", "UI")]
        kept = {element.keyword: str(element.value) for element in dates if element.value}
        assert kept.keys() <= {
            "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "CodeValue",
            "CodingSchemeDesignator",
        }, kept  # fmt: skip
        assert dataset.preamble == b"\0" * 128


# What is trained on the records, and what a model says of a mammogram.


@pytest.mark.slow
def test_models_and_predictions_hold_no_trace_of_a_patient(tmp_path):
    hospital = tmp_path / "in"
    write_hospital(hospital, (96, 80))
    records, model, out = (tmp_path / "out" / name for name in ("records", "model", "results"))
    # The user names inputs and results of predict; neutral names leave all content to be searched.
    inputs = tmp_path / "mammograms"
    inputs.mkdir()
    for number, path in enumerate(sorted(hospital.rglob("*.dcm"))[:2]):
        shutil.copy(path, inputs / f"image{number}.dcm")
    shutil.copy(hospital / PATIENTS[4].folder / f"{PATIENTS[4].accession}.png", inputs / "image2.png")
    (inputs / "broken.dcm").write_bytes((inputs / "image0.dcm").read_bytes()[:-9000])
    calls = {
        "data_prep.convert": [
            f"--data_dir={hospital}", f"--output_dir={records}", f"--salt_file={tmp_path / 'salt'}", "--workers=1",
        ],
        "calcseg_tf.train": [
            f"--records_dir={records}", f"--model_dir={model}", "--widths=4", "--crop_size=24", "--global_batch_size=4",
            "--steps_per_epoch=2", "--crops_per_image=4", "--epochs=2", "--operating_images=1",
        ],
        "calcseg_tf.evaluate": [f"--model_dir={model}", f"--records_dir={records}", f"--output_dir={out / 'scored'}"],
        "calcseg_tf.export": [f"--model_dir={model}", f"--output_dir={out / 'serving'}"],
        "calcseg_tf.predict": [f"--model_dir={model}", f"--input={inputs}", f"--output_dir={out / 'predicted'}"],
    }  # fmt: skip
    for module, arguments in calls.items():
        (ended,) = run_modules(module, [arguments])
        assert_quiet(ended, hospital)
        assert ended.returncode == (module == "calcseg_tf.predict"), (module, ended.stderr)  # one image is broken
    assert {path.name for path in (out / "predicted").iterdir()} == {"image0", "image1", "image2", "predictions.csv"}
    found = find_leaks([tmp_path / "out"], SECRETS | digests({patient.id for patient in PATIENTS}))
    # DICOM results belong to the study, and carry its keys; nothing else does, and they carry nothing else.
    keys = {patient.id for patient in PATIENTS} | {secret for secret in SECRETS if secret.startswith("1.2.840.")}
    files, secrets = zip(*(leak.split(": ", 1) for leak in found), strict=True)
    assert {pathlib.PurePath(file).name for file in files} == {"segmentation.dcm", "report.dcm"}
    assert set(secrets) <= keys


def test_the_salt_is_for_its_owner_alone(converted):
    inputs, _, _ = converted
    for name in ("salt", "other.salt"):
        assert (inputs / name).stat().st_mode & 0o777 == 0o600
