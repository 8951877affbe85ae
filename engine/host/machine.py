"""Machine facts that determine what can run: cores, devices, instruction sets, installed packages.

Reading them imports no runtime.
"""

import os
import platform
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil

WIRE_PACKAGES = ("grpcio", "numpy", "protobuf", "tokenizers", "uvloop")
"""Packages that tokenize, transport and serialize: their versions affect measurements."""

_ISA_NAMES = {
    # Linux: /proc/cpuinfo
    "avx2": "avx2", "avx512f": "avx512f", "avx512_vnni": "avx512_vnni", "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16", "avx512_fp16": "avx512_fp16", "amx_tile": "amx", "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8", "amx_fp16": "amx_fp16", "asimd": "neon", "asimddp": "dotprod", "i8mm": "i8mm",
    "bf16": "bf16", "asimdhp": "fp16",
    # macOS: sysctl
    "AVX2": "avx2", "AVX512F": "avx512f", "AVX512VNNI": "avx512_vnni", "AdvSIMD": "neon", "FEAT_DotProd": "dotprod",
    "FEAT_I8MM": "i8mm", "FEAT_BF16": "bf16", "FEAT_FP16": "fp16",
}  # fmt: skip
"""Instruction sets that the capability rules use, by the name that the operating system reports."""
_COMMAND_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class PlatformFacts:
    """Input of the capability rules. Tests inject them; assumed_machine() returns them for other kinds of machines."""

    name: str
    """linux-x86_64, linux-arm64, linux-cuda, macos-arm64, macos-x86_64"""
    system: str
    arch: str
    devices: tuple[str, ...] = ("cpu",)
    cores: int = 1
    cpu_model: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Installed runtime packages and their versions."""
    isa: frozenset[str] = frozenset()
    """Instruction sets by the names of the rules: avx512_vnni, amx_int8, dotprod, ..."""
    compute_capability: float = 0.0
    """The lowest compute capability of the CUDA devices, e.g. 8.9; 0 without a device."""
    gpu_model: str = ""
    assumed: str = ""
    """What assumed_machine() assumed; empty for the running machine."""


def cores() -> int:
    """Returns the number of cores this process may use, limited by affinity and cgroup quota. At least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, min(allowed, int(quota)) if quota else allowed)


def core_of_each(
    instances: int, allowed: Collection[int] | None = None, quota: float | None = None
) -> Sequence[int | None]:
    """Returns the core to pin each one-thread instance to, or None for each to leave the choice to the system.

    Instances are pinned only if there are as many as `allowed` cores, and the `quota` of CPU time (in cores) covers
    all of them. Both default to those of this process; `quota` is used only together with `allowed`.
    """
    if allowed is None:
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        quota = cgroup_quota()
    if len(allowed) != instances or (quota is not None and quota < instances):
        return [None] * instances
    return sorted(allowed)


def cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Returns the CPUs granted by cgroup v2 (cpu.max) or v1 (cfs quota); None without a limit."""
    with suppress(OSError, ValueError):  # not cgroup v2; the v1 files are read below
        quota, period = (root / "cpu.max").read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    try:
        quota_us = int((root / "cpu/cpu.cfs_quota_us").read_text())
        return quota_us / int((root / "cpu/cpu.cfs_period_us").read_text()) if quota_us > 0 else None
    except (OSError, ValueError):
        return None


def cpu_model() -> str:
    """Returns the marketing name of the processor, or its architecture if the system does not report a name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.machine()


def machine_facts(packages: Iterable[str]) -> PlatformFacts:
    """Returns the facts of the running machine, with the installed versions of `packages`.

    Devices are those that the operating system lists.
    """
    system = {"Darwin": "macos", "Linux": "linux"}.get(platform.system(), platform.system().lower())
    arch = {"aarch64": "arm64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    gpus = _cuda_devices() if system == "linux" else []
    devices = ("cpu", *(f"cuda:{index}" for index in range(len(gpus))), *_metal(system, arch))
    return PlatformFacts(
        name="linux-cuda" if gpus else f"{system}-{arch}",
        system=system,
        arch=arch,
        devices=devices,
        cores=cores(),
        cpu_model=cpu_model(),
        packages=installed(packages),
        isa=_mac_isa() if system == "macos" else linux_isa(),
        compute_capability=min((capability for _, capability in gpus), default=0.0),
        gpu_model=gpus[0][0] if gpus else "",
    )


def linux_isa(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Returns the instruction sets that the kernel reports; empty if it reports none."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return frozenset(_ISA_NAMES[flag] for flag in flags if flag in _ISA_NAMES)


def _mac_isa() -> frozenset[str]:
    arm = _output_of("sysctl", "hw.optional")  # hw.optional.arm.FEAT_BF16: 1
    names = {line.partition(":")[0].rpartition(".")[2] for line in arm.splitlines() if line.endswith(": 1")}
    names |= set(_output_of("sysctl", "-n", "machdep.cpu.leaf7_features").split())
    return frozenset(_ISA_NAMES[name] for name in names if name in _ISA_NAMES)


def _metal(system: str, arch: str) -> tuple[str, ...]:
    return ("mps",) if (system, arch) == ("macos", "arm64") else ()


def _cuda_devices() -> list[tuple[str, float]]:
    """Returns (name, compute capability) of each visible GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not Path("/dev/nvidiactl").exists() or visible in ("", "-1"):
        return []
    output = _output_of("nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader")
    gpus = []
    for line in output.splitlines():
        name, _, capability = line.rpartition(",")
        try:
            gpus.append((name.strip(), float(capability)))
        except ValueError:  # an old driver has no such field
            gpus.append((line.strip(), 0.0))
    return gpus[: len(visible.split(","))] if visible else gpus


def _output_of(*command: str) -> str:
    """Returns the stdout of a system tool; empty if it is missing, fails or exceeds _COMMAND_TIMEOUT_S."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


_SERVER_X86 = frozenset({"avx2", "avx512f", "avx512_vnni", "avx512_bf16"})
_SERVER_ARM = frozenset({"neon", "dotprod", "i8mm", "bf16", "fp16"})
_ASSUMED = {
    "macos-arm64": ("macos", "arm64", ("cpu", "mps"), "Apple Silicon", _SERVER_ARM, 0.0, "an M2 or later"),
    "macos-x86_64": ("macos", "x86_64", ("cpu",), "Intel Mac", frozenset({"avx2"}), 0.0, "AVX2"),
    "linux-x86_64": ("linux", "x86_64", ("cpu",), "x86-64 server", _SERVER_X86, 0.0, "AVX512 with VNNI and BF16"),
    "linux-arm64": ("linux", "arm64", ("cpu",), "ARM server", _SERVER_ARM, 0.0, "dotprod, i8mm, bf16 and fp16"),
    "linux-cuda": (
        "linux", "x86_64", ("cpu", "cuda:0"), "x86-64 server with an NVIDIA GPU", _SERVER_X86, 9.0,
        "AVX512 with VNNI and BF16, compute capability 9.0",
    ),
}  # fmt: skip


def assumed_machine(name: str, packages: Iterable[str]) -> PlatformFacts:
    """Returns the facts of a typical machine of the named kind, with all of `packages` installed in any version.

    Properties that differ between machines of the kind are assumed; `assumed` lists them. Raises KeyError.
    """
    system, arch, devices, cpu, isa, capability, assumed = _ASSUMED[name]
    versions = dict.fromkeys(packages, "any")
    return PlatformFacts(name, system, arch, devices, 8, cpu, versions, isa, capability, assumed=assumed)


PLATFORM_NAMES = tuple(_ASSUMED)


def memory_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Returns the memory this process may use: the cgroup's limit, at most the memory of the machine."""
    total = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no cgroup of that version, or no limit
            return min(total, int((root / name).read_text()))
    return total


def governor(root: Path = Path("/sys/devices/system/cpu")) -> str:
    """Returns the frequency governor of the first core (performance, powersave, ...); empty if unreadable."""
    try:
        return (root / "cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return ""


def gpu_driver(path: Path = Path("/proc/driver/nvidia/version")) -> str:
    """Returns the version of the NVIDIA driver; empty if unreadable."""
    try:
        words = path.read_text().split()
    except OSError:
        return ""
    return next((word for word in words if word[0].isdigit() and "." in word), "")


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Returns the versions of the installed ones of `packages`."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
