"""What a record says about its circumstances: parameter counts, machine, versions, commit."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

import cffbook


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters: all, without embeddings (tokens and positions), and those of the mixers alone."""
    total = {name: parameter.numel() for name, parameter in model.named_parameters()}
    embedded = {f"{path}.{name}" for path, module in model.named_modules() if isinstance(module, nn.Embedding)
                for name, _ in module.named_parameters(recurse=False)}
    return {
        "total": sum(total.values()),
        "without_embeddings": sum(count for name, count in total.items() if name not in embedded),
        "mixer": sum(count for name, count in total.items() if "mixer" in name.split(".")),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """Kind of machine, without anything that tells which one."""
    return {
        "system": platform.system(), "processor": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }


def processor() -> str:
    """The processor's model, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version(), "torch": torch.__version__, "cffbook": cffbook.__version__}
    return found | {name: metadata.version(name) for name in ("accelerate", "numpy")}


def commit() -> dict[str, Any] | None:
    """Commit of the package's source and whether the source differs from it; None outside a checkout."""
    folder = Path(cffbook.__file__).parent
    try:
        git(folder, "ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git(folder, "rev-parse", "HEAD"), "dirty": bool(git(folder, "status", "--porcelain", "--", "."))}
    except (OSError, subprocess.CalledProcessError):
        return None


def git(folder: Path, *arguments: str) -> str:
    """Output of a git command in a folder."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
