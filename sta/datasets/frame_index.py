"""Which frames a video shows, told from its packets: nothing is decoded.

Frame k is the k-th frame that a player shows. The packets of a file tell which that is, and from
where it can be decoded, only if each holds one frame, says when it is shown, and none is hidden or
cut away. :func:`packet_index` gives an index for such files and None for all others, whose frames
have to be counted by decoding them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

import av

# Containers that keep the time at which a packet is shown. AVI keeps none, a transport or program
# stream not that of each packet; Windows Media and Ogg keep other times than it.
_TIMED_CONTAINERS = {'mov', 'matroska', 'flv'}
# One packet is one shown frame, except as _hides says. MPEG-4 part 2 may pack two frames into one
# packet or hold frames without content, VP8 hides those that are only referred to, MPEG-2 and VC-1
# may hold fields.
_ONE_FRAME_A_PACKET = {'h264', 'hevc', 'vp9', 'av1', 'mjpeg', 'prores', 'dnxhd', 'ffv1', 'png'}


class KeyFrame(NamedTuple):
    """A frame from which on all later ones can be decoded.

    Attributes:
        place: among the frames, from 0.
        time: at which it is shown, in units of the stream.
        decoding_time: at which it is decoded, not after that.
    """

    place: int
    time: int
    decoding_time: int


@dataclass(frozen=True)
class PacketIndex:
    """Frames of a video by the time at which they are shown.

    Attributes:
        times: of all frames, ascending, in units of the stream.
        keys: key frames in their order; the first has place 0.
    """

    times: tuple[int, ...]
    keys: tuple[KeyFrame, ...]

    def key_before(self, place: int) -> KeyFrame:
        """The last key frame that is not behind a frame."""
        return self.keys[bisect_right(self.keys, place, key=lambda key: key.place) - 1]

    def key_at(self, packet: av.Packet) -> KeyFrame | None:
        """The key frame that a packet holds."""
        number = bisect_right(self.keys, packet.pts or 0, key=lambda key: key.time) - 1
        return self.keys[number] if number >= 0 and self.keys[number].time == packet.pts else None


def packet_index(
    container: av.container.InputContainer, stream: av.VideoStream
) -> PacketIndex | None:
    """Read all packets of a stream.

    Args:
        container: at its start; it is at its end afterwards.
        stream: its video stream.

    Returns:
        The index; None where the packets do not say which frames are shown.
    """
    kinds = set(container.format.name.split(','))
    codec = stream.codec_context.name
    if _TIMED_CONTAINERS.isdisjoint(kinds) or _family(codec) not in _ONE_FRAME_A_PACKET:
        return None
    packets = []
    for packet in container.demux(stream):
        if not packet.size:  # the last one, which empties the decoder
            continue
        # A packet that an edit list cuts away is decoded and not shown.
        if packet.pts is None or packet.is_discard or _hides(packet, codec):
            return None
        # Matroska keeps no time of decoding.
        dts = packet.pts if packet.dts is None else packet.dts
        packets.append((packet.pts, dts, packet.is_keyframe))
    times = sorted(time for time, _, _ in packets)
    if not packets or len(set(times)) < len(times):
        return None
    # Frames before the first key frame, or shown before it, refer to what was cut away.
    if not packets[0][2] or packets[0][0] != times[0]:
        return None
    place_of = {time: place for place, time in enumerate(times)}
    keys = tuple(KeyFrame(place_of[pts], pts, dts) for pts, dts, is_key in packets if is_key)
    # Key frames that are not shown in the order of their packets are none.
    if any(one.place >= other.place for one, other in zip(keys, keys[1:])):
        return None
    return PacketIndex(tuple(times), keys)


def _family(codec: str) -> str:
    """'av1' of 'libdav1d', 'vp9' of 'libvpx-vp9': decoders have names of their own."""
    return {'libdav1d': 'av1', 'libaom-av1': 'av1', 'libvpx-vp9': 'vp9'}.get(codec, codec)


def _hides(packet: av.Packet, codec: str) -> bool:
    """Whether a packet of VP9 holds a frame that is only referred to.

    Bits of its first byte (VP9 bitstream specification, 6.2): marker 2, profile 2 (the third
    profile has a reserved bit more), show_existing_frame, frame_type, show_frame. Several frames in
    a packet, of which one is shown, end with a byte 110xxxxx (annex B).
    """
    if _family(codec) != 'vp9':
        return False
    content = memoryview(packet)
    if content[-1] >> 5 == 0b110:
        return False
    bits = content[0] << 1 if content[0] >> 4 & 0b11 == 0b11 else content[0]
    shows_existing, shows = bits >> 3 & 1, bits >> 1 & 1
    return not (shows_existing or shows)
