# Installs what was built, builds the example of a reward plugin against the installation as somebody else would,
# and lets the installed reno-run find it through RENO_PLUGIN_PATH and optimise for it.
#   cmake -DBUILD=<build folder> -DSOURCE=<repository> -DGENERATOR=<…> -DCOMPILER=<C++ compiler> -P installed_example.cmake
set(work ${BUILD}/tests/installed_example)
set(prefix ${work}/prefix)
set(example ${work}/build)
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    string(REPLACE ";" " " command "${ARGV}")
    message(FATAL_ERROR "${command}\nended with ${status}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
run(${CMAKE_COMMAND} -S ${SOURCE}/examples/custom-reward -B ${example} -G ${GENERATOR}
    -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_CXX_COMPILER=${COMPILER})
run(${CMAKE_COMMAND} --build ${example})

set(ENV{RENO_PLUGIN_PATH} ${example}/lib/reno/plugins)
run(${prefix}/bin/reno-run --list)
if(NOT output MATCHES "colourfulness")
  message(FATAL_ERROR "reno-run --list does not show colourfulness:\n${output}")
endif()
run(${prefix}/bin/reno-run ${SOURCE}/examples/custom-reward/colourful.toml --set run.iterations=8
    --output ${work}/run --overwrite)
file(READ ${work}/run/results.json results)
foreach(moment initial best)
  string(JSON ${moment} GET ${results} mean scores colourfulness ${moment})
endforeach()
if(NOT best GREATER initial)
  message(FATAL_ERROR "colourfulness did not rise: ${initial} at first, ${best} at best")
endif()
message(STATUS "colourfulness rose from ${initial} to ${best}")
