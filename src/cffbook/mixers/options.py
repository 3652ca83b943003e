"""What a mixer may be told: one frozen dataclass for all of them; each takes what it knows."""

from dataclasses import dataclass, field

from cffbook.lateral import STRENGTH
from cffbook.wiring import Wiring


@dataclass(frozen=True)
class MixerOptions:
    """What a mixer may be told; each takes what it knows.

    A field that is added later needs a default with which every older mixer does what it did: `results` fills the
    fields that a record does not know with these defaults.

    Args:
        causal: no sample sees a later one. Attention masks, recurrent mixers run forward only; else in both directions.
        heads: attention heads.
        hidden: width of a recurrent mixer's state over both directions, None for d_model.
        flip_flops: number of CFFs of the memory layer.
        tile: size of its tiles of laterally coupled CFFs; 0 for none.
        scheme, sensory, self_polarity: see `FlipFlop`.
        unfolds: solver steps a sample of the memory layer and of LTC neurons.
        readout, lateral: see `MemoryLayer`.
        slowest, criticality, closed: see `NearCritical`.
        strength: of lateral synapses, see `MemoryLayer`.
        drive: of the input lines, see `MemoryLayer`.
        wiring: lateral synapses in place of tiles.
        length: samples of the longest sequence, for mixers with parameters for each position; None for the task's.
        block: samples of a block of local, sparse, BigBird, Reformer and Sinkhorn attention.
        summary: last samples of each block that all samples see in sparse attention.
        window: samples of the band of Longformer attention, half of them on either side.
        random_blocks: random blocks that each block sees in BigBird attention.
        global_samples: first samples that see all and are seen by all in Longformer and BigBird attention.
        hashes: rounds of hashing of Reformer attention.
        features: random features of Performer attention, for each head.
        rank: samples that Linformer sums a sequence up in, and rank of a factorised synthesizer's matrix.
        landmarks: landmarks of Nyström attention.
        modes: complex modes of each channel of the state-space layer.
        taps: samples that any mixer hears at once, this one and those before it; above 1 through a `ShortConvolution`.
    """

    causal: bool = False
    heads: int = 2
    hidden: int | None = None
    flip_flops: int = 32
    tile: int = 0
    scheme: str = "set_reset"
    sensory: str = "steered"
    self_polarity: int = -1
    unfolds: int = 1
    readout: str = "one"
    lateral: str = "presynaptic"
    slowest: float = 100.0
    wiring: Wiring | None = field(default=None, compare=False)
    length: int | None = None
    block: int = 50
    summary: int = 10
    window: int = 512
    random_blocks: int = 3
    global_samples: int = 0
    hashes: int = 1
    features: int = 256
    rank: int = 16
    landmarks: int = 128
    modes: int = 16
    strength: float = STRENGTH
    drive: float = 1.0
    criticality: float = 1.0
    closed: float = 1.0
    taps: int = 1

    def __post_init__(self) -> None:
        for name in ("block", "window", "hashes", "features", "rank", "landmarks", "modes", "taps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}: see MixerOptions")
        for name in ("summary", "random_blocks", "global_samples"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}: 0 means none")
