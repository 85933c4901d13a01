"""LibTorch, taken from the official PyTorch wheel on PyPI (headers and shared libraries; no Python).

The wheel's own metadata names the NVIDIA wheels that it was built against; from those come libcudart and
libcupti, which even libtorch_cpu links. With the option `cuda` the CUDA half and all NVIDIA libraries
come too. The layout of the wheels is kept, because the libraries find each other by paths relative to it.
TorchConfig.cmake is left out: it insists on an installed CUDA toolkit.
"""

import email
import fnmatch
import os
import sys
import zipfile

from conan import ConanFile
from conan.errors import ConanException, ConanInvalidConfiguration

HEADERS = ["torch/include/*"]
# Copies of other projects' headers: in front of the real ones on the include path they break them.
FOREIGN_HEADERS = ["torch/include/fmt/*", "torch/include/google/*", "torch/include/pybind11/*"]
TORCH_LIBRARIES = ["torch/lib/libc10.so", "torch/lib/libtorch_cpu.so", "torch/lib/libgomp*.so*"]
TORCH_CUDA_LIBRARIES = [
    "torch/lib/libc10_cuda.so",
    "torch/lib/libcaffe2_nvrtc.so",
    "torch/lib/libtorch.so",
    "torch/lib/libtorch_cuda.so",
    "torch/lib/libtorch_cuda_linalg.so",
    "torch/lib/libtorch_nvshmem.so",
]
NVIDIA_LIBRARIES = ["nvidia/*/lib/libcudart.so*", "nvidia/*/lib/libcupti.so*"]
NVIDIA_CUDA_LIBRARIES = ["nvidia/*/lib/*.so*"]


class LibtorchConan(ConanFile):
    name = "libtorch"
    license = "BSD-3-Clause"
    homepage = "https://pytorch.org"
    description = "The C++ distribution of PyTorch"
    package_type = "shared-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"cuda": [True, False]}
    default_options = {"cuda": False}

    def package_id(self):
        # A ready-made binary: nothing about the consumer's compiler or build type changes it.
        del self.info.settings.compiler
        del self.info.settings.build_type

    def validate(self):
        if self.settings.os != "Linux":
            raise ConanInvalidConfiguration("this recipe wraps the Linux wheel of PyTorch")
        if self.settings.get_safe("compiler.libcxx") == "libstdc++":
            raise ConanInvalidConfiguration("LibTorch uses the new C++11 ABI: set compiler.libcxx=libstdc++11")

    def _download(self, *requirements):
        arguments = " ".join(f'"{requirement}"' for requirement in requirements)
        self.run(f'"{sys.executable}" -m pip --disable-pip-version-check download --quiet --no-cache-dir '
                 f'--only-binary=:all: --no-deps --dest wheels {arguments}')

    def _wheels(self, pattern):
        folder = os.path.join(self.build_folder, "wheels")
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if fnmatch.fnmatch(name, pattern)]

    def _requirements_of(self, pattern):
        """The `Requires-Dist` lines of one downloaded wheel, for Linux."""
        (path,) = self._wheels(pattern)
        with zipfile.ZipFile(path) as wheel:
            (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            lines = email.message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist", [])
        return [line.partition(";") for line in lines]

    def build(self):
        self._download(f"torch=={self.version}")
        wanted = [name.strip() for name, _, marker in self._requirements_of("torch-*.whl")
                  if name.startswith(("nvidia-", "cuda-toolkit")) and "extra ==" not in marker]
        toolkit = [name for name in wanted if name.startswith("cuda-toolkit")]
        if len(toolkit) != 1:
            raise ConanException(f"torch {self.version} names {len(toolkit)} CUDA toolkits, expected one: {wanted}")
        self._download(toolkit[0])
        extras = toolkit[0][toolkit[0].index("[") + 1:toolkit[0].index("]")].split(",")
        if not self.options.cuda:
            wanted, extras = [], ["cudart", "cupti"]
        parts = [name.strip() for name, _, marker in self._requirements_of("cuda_toolkit-*.whl")
                 if any(f"extra == '{extra}'" in marker.replace('"', "'") for extra in extras)]
        self._download(*parts, *[name for name in wanted if name not in toolkit])

    @staticmethod
    def _matches(name, patterns):
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    def _unpack(self, wheels, patterns):
        for path in wheels:
            with zipfile.ZipFile(path) as wheel:
                for name in wheel.namelist():
                    if self._matches(name, patterns) and not self._matches(name, FOREIGN_HEADERS):
                        wheel.extract(name, self.package_folder)

    def package(self):
        cuda = bool(self.options.cuda)
        self._unpack(self._wheels("torch-*.whl"), HEADERS + TORCH_LIBRARIES + (TORCH_CUDA_LIBRARIES if cuda else []))
        self._unpack(self._wheels("nvidia_*.whl"), NVIDIA_CUDA_LIBRARIES if cuda else NVIDIA_LIBRARIES)
        for path in self._wheels("*.whl"):
            os.remove(path)  # gigabytes that nobody reads again

    def package_info(self):
        self.cpp_info.includedirs = ["torch/include", "torch/include/torch/csrc/api/include"]
        self.cpp_info.libdirs = ["torch/lib"]
        self.cpp_info.bindirs = []
        # libtorch_cuda is not linked: one build serves machines with and without a GPU.
        self.cpp_info.libs = ["torch_cpu", "c10"]
        self.cpp_info.set_property("cmake_file_name", "libtorch")
        self.cpp_info.set_property("cmake_target_name", "libtorch::libtorch")
