# The libraries that the core's headers use; read by this build and by an installed reno's package file.
include(CMakeFindDependencyMacro)
macro(reno_find)
  if(CMAKE_FIND_PACKAGE_NAME)
    find_dependency(${ARGN})
  else()
    find_package(${ARGN} REQUIRED)
  endif()
endmacro()

reno_find(Threads)
reno_find(libtorch)
reno_find(Boost 1.74 COMPONENTS filesystem program_options)
reno_find(fmt)
reno_find(ICU COMPONENTS uc i18n)
reno_find(nlohmann_json)
reno_find(PNG)
reno_find(range-v3)
reno_find(spdlog)
reno_find(tomlplusplus)
reno_find(ZLIB)

# Conan's package has a CMake file; Debian's has none, so its header and library are looked for.
find_package(sentencepiece CONFIG QUIET)
if(NOT TARGET sentencepiece::sentencepiece)
  find_path(RENO_SENTENCEPIECE_INCLUDE sentencepiece_processor.h REQUIRED)
  find_library(RENO_SENTENCEPIECE_LIBRARY sentencepiece REQUIRED)
  add_library(sentencepiece::sentencepiece UNKNOWN IMPORTED)
  set_target_properties(sentencepiece::sentencepiece PROPERTIES
    IMPORTED_LOCATION ${RENO_SENTENCEPIECE_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${RENO_SENTENCEPIECE_INCLUDE})
endif()

set(RENO_DEPENDENCIES
    libtorch::libtorch Boost::headers Boost::filesystem Boost::program_options fmt::fmt ICU::i18n ICU::uc
    nlohmann_json::nlohmann_json PNG::PNG range-v3::range-v3 sentencepiece::sentencepiece
    spdlog::spdlog tomlplusplus::tomlplusplus ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
