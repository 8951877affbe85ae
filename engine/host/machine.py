"""Facts about the machine that decide what can run. Nothing heavy is imported to learn them."""

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
"""What stands between the runtimes and the wire."""

_ISA_WORDS = {
    # Linux's words of /proc/cpuinfo
    "avx2": "avx2", "avx512f": "avx512f", "avx512_vnni": "avx512_vnni", "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16", "avx512_fp16": "avx512_fp16", "amx_tile": "amx", "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8", "amx_fp16": "amx_fp16", "asimd": "neon", "asimddp": "dotprod", "i8mm": "i8mm",
    "bf16": "bf16", "asimdhp": "fp16",
    # macOS's words of sysctl
    "AVX2": "avx2", "AVX512F": "avx512f", "AVX512VNNI": "avx512_vnni", "AdvSIMD": "neon", "FEAT_DotProd": "dotprod",
    "FEAT_I8MM": "i8mm", "FEAT_BF16": "bf16", "FEAT_FP16": "fp16",
}  # fmt: skip
"""The instruction sets that the rules speak of, by the words of the system that reports them."""
_ASKING_TAKES_S = 10.0


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
    isa: frozenset[str] = frozenset()
    """Instruction sets in this project's words: avx512_vnni, amx_int8, dotprod, ..."""
    compute_capability: float = 0.0
    """Of the CUDA device with the lowest, e.g. 8.9; 0 without one."""
    gpu_model: str = ""
    assumed: str = ""
    """What was assumed of a machine one does not have."""


def cores() -> int:
    """Cores this process may use: by affinity and by cgroup quota, never the host's count alone. At least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, min(allowed, int(quota)) if quota else allowed)


def core_of_each(
    instances: int, allowed: Collection[int] | None = None, quota: float | None = None
) -> Sequence[int | None]:
    """The core that each of some one-thread instances should keep to, None for any.

    Kept only where they fill the `allowed` cores one by one and no `quota` of CPU time (in cores) is shared out over
    them; else the system had better choose. Both are this process's unless `allowed` is given.
    """
    if allowed is None:
        allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        quota = cgroup_quota()
    if len(allowed) != instances or (quota is not None and quota < instances):
        return [None] * instances
    return sorted(allowed)


def cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs granted by cgroup v2 (cpu.max) or v1 (cfs quota); None without a limit."""
    with suppress(OSError, ValueError):  # not cgroup v2: the v1 files below decide
        quota, period = (root / "cpu.max").read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
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


def machine_facts(packages: Iterable[str]) -> PlatformFacts:
    """The running machine and the versions of `packages` on it. Devices are those that the system lists."""
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
    """The instruction sets that the kernel shows; empty where it shows none."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return frozenset(_ISA_WORDS[flag] for flag in flags if flag in _ISA_WORDS)


def _mac_isa() -> frozenset[str]:
    arm = _output_of("sysctl", "hw.optional")  # hw.optional.arm.FEAT_BF16: 1
    words = {line.partition(":")[0].rpartition(".")[2] for line in arm.splitlines() if line.endswith(": 1")}
    words |= set(_output_of("sysctl", "-n", "machdep.cpu.leaf7_features").split())
    return frozenset(_ISA_WORDS[word] for word in words if word in _ISA_WORDS)


def _metal(system: str, arch: str) -> tuple[str, ...]:
    return ("mps",) if (system, arch) == ("macos", "arm64") else ()


def _cuda_devices() -> list[tuple[str, float]]:
    """(name, compute capability) of each visible GPU."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not Path("/dev/nvidiactl").exists() or hidden in ("", "-1"):
        return []
    answer = _output_of("nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader")
    found = []
    for line in answer.splitlines():
        name, _, capability = line.rpartition(",")
        try:
            found.append((name.strip(), float(capability)))
        except ValueError:  # an old driver has no such field
            found.append((line.strip(), 0.0))
    return found[: len(hidden.split(","))] if hidden else found


def _output_of(*command: str) -> str:
    """What a system tool prints; empty when it is missing, fails or hangs: then the facts stay unknown."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASKING_TAKES_S, check=True)
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
    """The facts of a machine of the named kind, with all of `packages` installed in any version. Raises KeyError.

    What differs between machines of one kind is assumed; `assumed` describes it.
    """
    system, arch, devices, cpu, isa, capability, assumed = _ASSUMED[name]
    versions = dict.fromkeys(packages, "any")
    return PlatformFacts(name, system, arch, devices, 8, cpu, versions, isa, capability, assumed=assumed)


PLATFORM_NAMES = tuple(_ASSUMED)


def memory_bytes(root: Path = Path("/sys/fs/cgroup")) -> int:
    """What this process may use: the cgroup's limit, at most the machine's memory."""
    total = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no cgroup of that version, or no limit
            return min(total, int((root / name).read_text()))
    return total


def governor(root: Path = Path("/sys/devices/system/cpu")) -> str:
    """How the first core's frequency is chosen (performance, powersave, ...); empty where it cannot be read."""
    try:
        return (root / "cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return ""


def gpu_driver(path: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The NVIDIA driver's version; empty where it cannot be read."""
    try:
        words = path.read_text().split()
    except OSError:
        return ""
    return next((word for word in words if word[0].isdigit() and "." in word), "")


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those that are."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
