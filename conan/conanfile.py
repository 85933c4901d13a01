"""Every dependency of reno, and the package of its header-only core.

`conan install conan` prepares a build of this repository, `conan create conan` packages the core.
With the profile `profiles/debian-12` all of them but LibTorch come from the distribution; with any
other profile they are ordinary Conan Center packages. LibTorch always comes from `recipes/libtorch`.
"""

import os

from conan import ConanFile
from conan.errors import ConanException
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMakeDeps
from conan.tools.files import copy
from conan.tools.system.package_manager import Apt

TOOLS = ["g++", "cmake", "ninja-build", "ccache", "clang-format"]
LIBRARIES = [
    "libbenchmark-dev",
    "catch2",
    "libboost-dev",
    "libboost-filesystem-dev",
    "libboost-program-options-dev",
    "libfmt-dev",
    "libicu-dev",
    "libpng-dev",
    "libsentencepiece-dev",
    "librange-v3-dev",
    "libspdlog-dev",
    "libtcmalloc-minimal4",
    "libtomlplusplus-dev",
    "nlohmann-json3-dev",
    "zlib1g-dev",
]
# What an executable that uses the core links when the libraries come from the distribution.
SYSTEM_LIBS = ["boost_filesystem", "boost_program_options", "fmt", "icui18n", "icuuc", "png", "spdlog", "tomlplusplus", "z"]


class RenoConan(ConanFile):
    name = "reno"
    version = "0.1.0"
    license = "MIT"
    description = "Reward-based noise optimisation for one-step text-to-image generators, on LibTorch"
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    no_copy_source = True

    @property
    def _from_distribution(self):
        return self.conf.get("user.reno:from_distribution", default=False, check_type=bool)

    @property
    def _root(self):
        return os.path.join(self.recipe_folder, os.pardir)

    def export_sources(self):
        for folder in ("include", "cmake"):
            copy(self, "*", os.path.join(self._root, folder), os.path.join(self.export_sources_folder, folder))
        copy(self, "LICENSE", self._root, self.export_sources_folder)

    def requirements(self):
        self.requires("libtorch/2.11.0")
        self.requires("boost/[>=1.74 <2]")
        self.requires("fmt/[>=9 <12]")
        self.requires("icu/[>=72]")
        self.requires("libpng/[>=1.6.39 <2]")
        self.requires("nlohmann_json/[>=3.11 <4]")
        self.requires("range-v3/[>=0.12 <1]")
        self.requires("spdlog/[>=1.10 <2]")
        self.requires("tomlplusplus/[>=3.3 <4]")
        self.requires("zlib/[>=1.2.13 <2]")

    def build_requirements(self):
        self.test_requires("benchmark/[>=1.7 <2]")
        self.test_requires("catch2/[>=2.13 <3]")

    def system_requirements(self):
        if not self._from_distribution:
            return
        apt = Apt(self)
        if self.conf.get("tools.system.package_manager:mode") == "check":
            missing = apt.check(TOOLS + LIBRARIES)
            if missing:
                raise ConanException("Debian packages are missing. As root: apt-get install " + " ".join(missing))
        apt.install(TOOLS + LIBRARIES, update=True, check=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def generate(self):
        # One set of dependencies serves every build type of reno itself.
        for configuration in ("Release", "Debug", "RelWithDebInfo", "MinSizeRel"):
            deps = CMakeDeps(self)
            deps.configuration = configuration
            deps.generate()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"), os.path.join(self.package_folder, "include"))
        copy(self, "RenoAddPlugin.cmake", os.path.join(self.source_folder, "cmake"),
             os.path.join(self.package_folder, "cmake"))

    def package_id(self):
        self.info.clear()

    def package_info(self):
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []
        self.cpp_info.builddirs = ["cmake"]
        self.cpp_info.set_property("cmake_target_name", "reno::reno")
        self.cpp_info.set_property("cmake_build_modules", ["cmake/RenoAddPlugin.cmake"])
        if self._from_distribution:
            self.cpp_info.system_libs = SYSTEM_LIBS + ["dl", "pthread"]
            self.cpp_info.defines = ["SPDLOG_COMPILED_LIB", "SPDLOG_SHARED_LIB", "SPDLOG_FMT_EXTERNAL"]
