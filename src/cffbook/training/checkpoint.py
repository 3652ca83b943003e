"""Checkpoints: one safetensors file, replaced atomically, with everything a run needs to go on as if never stopped.

Tensors: ``model.*``, ``best.*``, ``optimizer.<parameter>.<moment>``, ``generator.<process>.*``. The rest is JSON in the
file's metadata: step, evaluations, running means, seconds, identity of the run, digests of the source code.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from cffbook._optional import require
from cffbook.training.history import Evaluation

safetensors = require("safetensors.torch", extra="train", purpose="training")

FILE = "checkpoint.safetensors"
DRAWING = ("figures", "figures.py", "widgets", "widgets.py", "sphinx_ext", "sphinx_ext.py")


@dataclass
class Progress:
    """The state of a run apart from weights and moments."""

    identity: str
    sources: list[str]
    started: str  # UTC, of the first start
    step: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0  # of this process
    samples: int = 0
    overflows: int = 0  # updates left out
    mastered: int = 0  # times that the examples have grown
    grade: float = 0.0  # running mean of the updates' scores since then
    running: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # loss, score, count since the last evaluation
    evaluations: list[Evaluation] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole or not at all, whatever kills the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state on the CPU, with no shared memory."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()}


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress,
         processes: list[dict]) -> None:
    """Write the checkpoint of all processes: `processes` holds each one's `running` means and `generators`."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    tensors = {f"model.{name}": tensor for name, tensor in weights(model).items()}
    tensors |= {f"best.{name}": tensor for name, tensor in progress.best.items()}
    for parameter, moments in optimizer.state.items():
        for moment, tensor in moments.items():
            tensors[f"optimizer.{names[id(parameter)]}.{moment}"] = tensor.detach().to("cpu", copy=True).contiguous()
    for index, process in enumerate(processes):
        for name, state in process["generators"].items():
            tensors[f"generator.{index}.{name}"] = state
    facts = {
        "identity": progress.identity, "sources": progress.sources, "started": progress.started, "step": progress.step,
        "seconds": progress.seconds, "processor_seconds": progress.processor_seconds, "samples": progress.samples,
        "overflows": progress.overflows, "mastered": progress.mastered, "grade": progress.grade,
        "running": [process["running"] for process in processes],
        "evaluations": [asdict(evaluation) for evaluation in progress.evaluations],
    }
    write_atomically(path, safetensors.save(tensors, metadata={"progress": json.dumps(facts)}))


def read(path: Path, identity: str, processes: int, source: str | None) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts of a checkpoint, checked to belong to this run.

    Raises:
        ValueError: another run's checkpoint, one of another number of processes or, unless `source` is None, one that
            other source code has written.
    """
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts = json.loads(header["__metadata__"]["progress"])
    if facts["identity"] != identity:
        raise ValueError(f"{path} belongs to a run with other settings or data; remove its folder or choose another one")
    if len(facts["running"]) != processes:
        raise ValueError(f"{path} was written by {len(facts['running'])} processes, this run has {processes}; "
                         "start as many, or remove the folder to begin anew")
    if source is not None and facts["sources"][-1] != source:
        raise ValueError(f"{path} was written by other source code ({facts['sources'][-1]}, now {source}); go back to it, "
                         "remove the folder to begin anew, or pass changed_source=True to go on and have both recorded")
    return safetensors.load(content), facts


def restore(tensors: dict[str, Tensor], facts: dict, model: nn.Module, optimizer: torch.optim.Optimizer,
            process: int, progress: Progress) -> dict[str, Tensor]:
    """Put a checkpoint back into model, optimizer and progress; returns the generator states of this process."""
    model.load_state_dict(below(tensors, "model."))
    state = optimizer.state_dict()
    indices = {id(parameter): index for index, parameter in enumerate(
        parameter for group in optimizer.param_groups for parameter in group["params"])}
    state["state"] = {}
    for name, parameter in model.named_parameters():
        moments = {key: value for key, value in below(tensors, f"optimizer.{name}.").items() if "." not in key}
        if moments:
            state["state"][indices[id(parameter)]] = moments
    optimizer.load_state_dict(state)
    progress.step, progress.seconds, progress.samples = facts["step"], facts["seconds"], facts["samples"]
    progress.processor_seconds = facts["processor_seconds"]
    progress.mastered, progress.grade = facts["mastered"], facts["grade"]
    progress.overflows = facts["overflows"]
    progress.started, progress.running = facts["started"], facts["running"][process]
    progress.evaluations = [Evaluation(**evaluation) for evaluation in facts["evaluations"]]
    progress.best = below(tensors, "best.")
    progress.sources = list(dict.fromkeys([*facts["sources"], *progress.sources]))
    return below(tensors, f"generator.{process}.")


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def source_digest() -> str:
    """Digest of the package's Python files that a run can depend on, so that a record says which code trained it."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] in DRAWING:
            continue
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
