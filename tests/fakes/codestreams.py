"""Encoded images as code: JPEG, JPEG Lossless of every predictor, JPEG-LS, JPEG 2000 and HTJ2K streams.

JPEG Lossless has its encoder here (GDCM's ends the process on some input); HTJ2K streams were encoded once with
OpenJPH 0.26.3 (imagecodecs 2026.3.6), for no package of the test environment writes them.
"""

import base64
import io
import struct

import jpeg_ls
import numpy as np
from openjpeg.utils import encode_array
from PIL import Image

__all__ = ["HTJ2K_BITS", "encode_jpeg", "encode_jpeg2000", "encode_jpeg_lossless", "encode_jpeg_ls", "htj2k_image"]

_MONO2 = 2  # openjpeg's number of a greyscale image

# bits -> base 85 of a lossless stream of 13 x 11 pixels.
_HTJ2K = {
    8: (
        "|4;u>04YEK0000B0000D00000000000000B0000D0000000000009R90sl|{2mk^A00092QUDA90ssL30|W#>0smY84IoHRP*6}%"
        "P)JBf|6~9c00B>MWo}APNFY{aav(4+GBz$VF8`1K3IG5A008*_0soW0Cu9ut00NW%z!N|f5Cp&o^Z<i&0BIi!;s8OE0BiC9gLDAE"
        "7MuZJ09qhWLKdAPmDcZrQ2hXwao~XaH~=ME9OWR;cK`wxf62d?0CUBijtB!$Ui<(BxF7)kH~_#d&H;6>3#1s@N(^9*<<qDzhNqyw"
        "4#Q%gfFG1BN4vv<;*xO;76Z%q06@FfB587zPBVxv06<Z(0TGc{l)+@jUZPmo+$=^sCL-b`j*-QUEg~u|#$d)Hj7Q`KOT<Pa3IG7P"
        "n*jYkfPcPzK!3l#J^+1x{rvy|e|`Xd{sOFYWb)q-6d(dTy#W8&"
    ),
    12: (
        "|4;u>04YEK0000B0000D00000000000000B0000D0000000000009pH0sl|{2mk^A000XAQUDA90ssL30|W#>0smY84Iqe+kdTm&"
        "kcfzg|6~9c00B>MWo}APNFY{aav(4+GBz$VF8`1K3IG5A00B$@0soW004o5a_BHsw_SN<RfwTa?029Cf6;J>K;45eC0*iD2X&^Kf"
        "IL-lqv;a}0&jX8e0Kfni!~g+mKmZn~Vz4%;6tZhn1}O<Rp@hNiz6WT90ed$9vS7I=W{vN2sK%Vw0tL8a0e?6E|7928>t}ED)o*yv"
        "?+8o&QUSe~0Kfn*L4W{Wg8%@#AQ&E>@*Zz_&yOJsX$V8(EpPeDXTkEEM}y@n-}o?SAq$?z!sRP3hKx6cVi-d)<h&FYPv<9&g)@vy"
        "7m$EKumKTfFZ<XN;Sms_5%i!4MJPh<6`|}Gp%E0J?EOFy6v6E2UJ=G#5x{;CjsSbv6JhM(UhMS*TI^|gqXQIxV!QzVZ~p+m|9Kw("
        "{67HnfB%1f|9yY|1Hk_S0R8Vj|9_wV1AzYb0Cm*%eI?Eplz=du0RPz"
    ),
    16: (
        "|4;u>04YEK0000B0000D00000000000000B0000D0000000000009pH0sl|{2mk^A000XAQUDA90ssL30|W#>0smY84Iqe+kdTm&"
        "kcfzg|6~9c00B>MWo}APNFY{aav(4+GBz$VF8`1K3IG5A00EW&0soW004l&r0(VM=-~j<5lmNg06%YUgWB>tB7<Sjx1p{;dL!7N9"
        "0?0`F0)sRFHGwe11p{;dzyKEX00C^k02bI{iVZ!J$Z!^`afR&3RK+c_4%l`%{s2?N=K+5>0J0%l7>%BWm3)sv(nO2WFaVJk{Kx@&"
        "IRO8A{I>v@1Hb~X1MvKp_-FZF{sjWulz_dM0Kfn*RDb|pr2qiE5Ex>{doV;b#4tn_qVkS~c)Wul)(|Z3z!1X_vJjPb&$}AJ@*aj*"
        "Ll8sILioJnykjB45MhWg#N)m44j3XBA{e3;;sQZ?Xa30}e;QC;gn?C%0qkA&PK1EH6CsWeMF=7U?p^k7geXGvAQB<M-oxI_-iZ*h"
        "_a4L%f(UVh_(9Cx5g`&G%HGf3&E63q8X+1XiV!@A*}DQ)O2>35P+15AD!l;yfBOG@{{sN<|8xHX0Qmm_0002}fB$~~0RI1e|9Ag)"
        "|5yJ%|3CkK{eJ-f0RZ~{0|4;<e*o%bRS54fP(Fl#Rh|I<*#"
    ),
}  # fmt: skip
HTJ2K_BITS = tuple(_HTJ2K)


def htj2k_image(bits: int) -> tuple[np.ndarray, bytes]:
    """Returns uint8 or uint16 [13, 11] and its HTJ2K stream without loss, for the depths in `HTJ2K_BITS`."""
    count = np.arange(13 * 11, dtype=np.int64).reshape(13, 11)
    pixels = ((count * count * 2654435761) >> 7) % (1 << bits)
    return pixels.astype(np.uint8 if bits == 8 else np.uint16), base64.b85decode(_HTJ2K[bits])


def encode_jpeg(pixels: np.ndarray, marker: int = 0xC0) -> bytes:
    """Encodes uint8 [height, width] as JPEG of 8 bits: baseline (0xC0) or extended (0xC1), told by the marker."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue().replace(b"\xff\xc0", bytes([0xFF, marker]), 1)


def encode_jpeg_ls(pixels: np.ndarray, near: int = 0) -> bytes:
    """Encodes uint8 or uint16 [height, width] as JPEG-LS with errors of at most `near`."""
    return bytes(jpeg_ls.encode_array(pixels, lossy_error=near))


def encode_jpeg2000(pixels: np.ndarray, bits: int, ratio: int | None = None) -> bytes:
    """Encodes [height, width], sides of at least 32, as JPEG 2000: without loss, or to a fraction of 1 / ratio."""
    rates = {} if ratio is None else {"compression_ratios": [ratio]}
    return bytes(encode_array(pixels, bits_stored=bits, photometric_interpretation=_MONO2, use_mct=False, **rates))


def encode_jpeg_lossless(pixels: np.ndarray, precision: int, predictor: int = 1) -> bytes:
    """Encodes unsigned [height, width] as JPEG Lossless, process 14 (ITU-T T.81 H), with one Huffman table.

    Args:
        pixels: Values below 2^precision.
        precision: 2 to 16 bits.
        predictor: Selection value 1 to 7 of table H.1.
    """
    values = pixels.astype(np.int64)
    left, above, corner = (np.zeros_like(values) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = values[:, :-1], values[:-1], values[:-1, :-1]
    predicted = {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[predictor].copy()
    predicted[0] = left[0]  # the first row is predicted from the left, the first column from above
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (precision - 1)
    differences = (values - predicted + 0x8000) % 0x10000 - 0x8000  # modulo 2^16
    bits = "".join(_coded(int(difference)) for difference in differences.ravel())
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    height, width = pixels.shape
    categories = bytes(range(17))
    table = b"\x00" + bytes([0, 0, 0, 0, len(categories), *[0] * 11]) + categories  # every category has 5 bits
    return b"".join([
        b"\xff\xd8",
        _segment(0xC4, table),
        _segment(0xC3, struct.pack(">BHHBBBB", precision, height, width, 1, 1, 0x11, 0)),
        _segment(0xDA, bytes([1, 1, 0, predictor, 0, 0])),
        scan,
        b"\xff\xd9",
    ])  # fmt: skip


def _coded(difference: int) -> str:
    """Returns category and extra bits of a difference, T.81 table H.2; category 16 has none."""
    category = 16 if difference == -0x8000 else abs(difference).bit_length()
    extra = difference if difference > 0 else difference + (1 << category) - 1
    return format(category, "05b") + (format(extra, f"0{category}b") if 0 < category < 16 else "")


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
