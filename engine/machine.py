"""Facts about the machine that decide what can run. Nothing heavy is imported to learn them."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

RUNTIME_PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class PlatformFacts:
    """What the capability rules look at. Injected in tests, and made up for machines one does not have."""

    name: str
    """linux-x86_64, linux-arm64, linux-cuda, macos-arm64, macos-x86_64"""
    system: str
    arch: str
    devices: tuple[str, ...] = ("cpu",)
    cores: int = 1
    cpu_model: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Installed runtime packages and their versions."""


def cores() -> int:
    """Cores this process may use: by affinity and by cgroup quota, never the host's count alone. At least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, min(allowed, int(quota)) if quota else allowed)


def cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs granted by cgroup v2 (cpu.max) or v1 (cfs quota); None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass  # not cgroup v2: the v1 files below decide
    try:
        quota_us = int((root / "cpu/cpu.cfs_quota_us").read_text())
        return quota_us / int((root / "cpu/cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    except (OSError, ValueError):
        return None


def cpu_model() -> str:
    """The processor's marketing name, or its architecture where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.machine()


def this_platform() -> PlatformFacts:
    """The running machine, without importing a runtime: devices are told by what the system shows."""
    system = {"Darwin": "macos", "Linux": "linux"}.get(platform.system(), platform.system().lower())
    arch = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    devices = ["cpu"]
    if system == "linux" and Path("/dev/nvidiactl").exists():
        devices.append("cuda:0")
    if system == "macos" and arch == "arm64":
        devices.append("mps")
    name = "linux-cuda" if "cuda:0" in devices else f"{system}-{arch}"
    return PlatformFacts(name, system, arch, tuple(devices), cores(), cpu_model(), _installed())


def named_platform(name: str) -> PlatformFacts:
    """A machine one does not have, with every runtime installed that exists for it. Raises KeyError."""
    known = {
        "macos-arm64": ("macos", "arm64", ("cpu", "mps"), "Apple Silicon"),
        "macos-x86_64": ("macos", "x86_64", ("cpu",), "Intel Mac"),
        "linux-x86_64": ("linux", "x86_64", ("cpu",), "x86-64 server"),
        "linux-arm64": ("linux", "arm64", ("cpu",), "ARM server"),
        "linux-cuda": ("linux", "x86_64", ("cpu", "cuda:0"), "x86-64 server with an NVIDIA GPU"),
    }
    system, arch, devices, cpu = known[name]
    return PlatformFacts(name, system, arch, devices, 8, cpu, dict.fromkeys(RUNTIME_PACKAGES, "any"))


PLATFORM_NAMES = ("macos-arm64", "macos-x86_64", "linux-x86_64", "linux-arm64", "linux-cuda")


def _installed() -> dict[str, str]:
    found = {}
    for package in RUNTIME_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
