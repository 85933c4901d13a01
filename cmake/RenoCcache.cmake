# Compile through ccache where there is one, with its store in build/ccache or CCACHE_DIR.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  if(DEFINED ENV{CCACHE_DIR})
    set(store CCACHE_DIR=$ENV{CCACHE_DIR})
  else()
    set(store CCACHE_DIR=${PROJECT_SOURCE_DIR}/build/ccache CCACHE_MAXSIZE=2G)
  endif()
  # A precompiled header needs the two sloppiness settings; the others let clones share one store.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env ${store} CCACHE_SLOPPINESS=pch_defines,time_macros CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}
      CCACHE_NOHASHDIR=1 CCACHE_ABSSTDERR=1 ${CCACHE_PROGRAM})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
