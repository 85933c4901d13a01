# The library reno_report_page: page/page.html with its style sheet and scripts put into it, as one string.
set(page_folder ${CMAKE_CURRENT_LIST_DIR}/page)
file(GLOB page_files CONFIGURE_DEPENDS ${page_folder}/*)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${page_files})

file(READ ${page_folder}/page.html page)
foreach(path IN LISTS page_files)
  cmake_path(GET path FILENAME name)
  file(READ ${path} content)
  string(REPLACE "<link rel=\"stylesheet\" href=\"${name}\">" "<style>\n${content}</style>" page "${page}")
  string(REPLACE "<script src=\"${name}\"></script>" "<script>\n${content}</script>" page "${page}")
endforeach()
configure_file(${CMAKE_CURRENT_LIST_DIR}/report_page.cpp.in ${CMAKE_CURRENT_BINARY_DIR}/report_page.cpp @ONLY)

add_library(reno_report_page STATIC ${CMAKE_CURRENT_BINARY_DIR}/report_page.cpp)
target_include_directories(reno_report_page PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(reno_report_page PRIVATE reno_build_flags)
target_compile_features(reno_report_page PRIVATE cxx_std_20)
