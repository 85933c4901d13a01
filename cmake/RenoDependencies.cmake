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

set(RENO_DEPENDENCIES
    libtorch::libtorch Boost::headers Boost::filesystem Boost::program_options fmt::fmt ICU::i18n ICU::uc
    nlohmann_json::nlohmann_json PNG::PNG range-v3::range-v3
    spdlog::spdlog tomlplusplus::tomlplusplus ZLIB::ZLIB Threads::Threads ${CMAKE_DL_LIBS})
