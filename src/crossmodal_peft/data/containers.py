"""Media containers such as MP4, WebM and AAC, with PyAV (FFmpeg's libraries)."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal_peft.data.refusals import Unusable, decoding

# FFmpeg's names. Other formats, such as playlists, read further files or addresses that they name.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpeg,mpegts,mpegvideo,nut,mxf,"
    "aac,ac3,eac3,aiff,amr,ape,au,caf,dts,flac,mp3,ogg,tta,voc,w64,wav,wv"
)


@contextmanager
def opened(source: Path | BytesIO) -> Iterator[Any]:
    """An open container, closed afterwards.

    Raises Unusable if it is missing, damaged, or not one of FORMATS, also from the code inside the block.
    """
    import av

    # Without the prefix a name with a colon would be an address.
    file = f"file:{source}" if isinstance(source, Path) else source
    with decoding():
        if isinstance(source, Path) and not source.exists():
            raise Unusable("no such file")
        options = {"format_whitelist": FORMATS}
        try:  # Titles that are not UTF-8 are of no interest.
            container = av.open(file, container_options=options, metadata_errors="replace")
        except av.FFmpegError as error:
            reason = f"it is not audio or video in a known format: {error.strerror}"
            raise Unusable(f"cannot be decoded: {reason}") from None
        with container:
            yield container


def sound_of(container: Any) -> tuple[int, Iterator[tuple[float | None, np.ndarray]]]:
    """The sample rate (Hz) and the pieces of the first audio stream: start (s), float32 (channels, samples).

    Raises Unusable if there is none.
    """
    import av

    if not container.streams.audio:
        raise Unusable("has no audio stream")
    rate = container.streams.audio[0].rate
    if not rate:
        raise Unusable("has no sample rate")
    resampler = av.AudioResampler(format="fltp", rate=rate)  # Changes the sample format only.
    pieces = (
        (frame.time, np.concatenate([part.to_ndarray() for part in resampler.resample(frame)], axis=1))
        for frame in container.decode(audio=0)
    )
    return rate, pieces
