# reno_add_plugin(<kebab-name> [FOLDER kernels] [SOURCES <file>…])
#
# Builds lib<kebab-name>.so, a plugin that reno-run loads, from SOURCES or, without them, from every .cpp
# of the current folder. It lands in <build>/lib/reno/plugins and is installed to lib/reno/plugins; operators
# for a device belong into lib/reno/kernels.
# Works inside this repository and, after find_package(reno), in anybody's own project.
include_guard()

function(reno_add_plugin name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "FOLDER" "SOURCES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "reno_add_plugin(${name}): unknown argument '${arg_UNPARSED_ARGUMENTS}'; list files after SOURCES")
  endif()
  if(NOT name MATCHES "^[a-z0-9]+(-[a-z0-9]+)*$")
    message(FATAL_ERROR "reno_add_plugin(${name}): a plugin's name is kebab-case, such as 'my-reward'")
  endif()
  if(NOT arg_SOURCES)
    file(GLOB arg_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  endif()
  if(NOT arg_SOURCES)
    message(FATAL_ERROR "reno_add_plugin(${name}): no .cpp file in ${CMAKE_CURRENT_SOURCE_DIR}")
  endif()

  set(folder lib/reno/plugins)
  if(arg_FOLDER)
    set(folder lib/reno/${arg_FOLDER})
  endif()
  if(RENO_PLUGIN_FOLDER)  # where the fixtures of reno's own tests go instead, so that nobody loads them unasked
    set(folder ${RENO_PLUGIN_FOLDER})
  endif()
  add_library(${name} MODULE ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE reno::reno)
  # Hidden symbols: two plugins may use the same names without seeing each other.
  target_compile_options(${name} PRIVATE -fPIC -fvisibility=hidden -fvisibility-inlines-hidden)
  target_link_options(${name} PRIVATE LINKER:--no-undefined LINKER:--as-needed LINKER:--exclude-libs,ALL)
  set_target_properties(${name} PROPERTIES
    PREFIX lib
    SUFFIX .so
    DEFINE_SYMBOL ""
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/${folder}
    INSTALL_RPATH_USE_LINK_PATH ON)
  if(TARGET reno_pch)  # only inside reno's own build
    target_link_libraries(${name} PRIVATE reno_build_flags)
    target_precompile_headers(${name} REUSE_FROM reno_pch)
  endif()
  if(NOT RENO_PLUGIN_FOLDER)
    install(TARGETS ${name} LIBRARY DESTINATION ${folder})
  endif()
endfunction()
