# Makes find_package(reno) work, from an installation as from the build tree (reno_DIR = build/<preset>).
include(CMakePackageConfigHelpers)
set(package_folder lib/cmake/reno)

install(TARGETS reno EXPORT renoTargets)
install(DIRECTORY include/reno TYPE INCLUDE)
install(EXPORT renoTargets NAMESPACE reno:: DESTINATION ${package_folder})
export(EXPORT renoTargets NAMESPACE reno::)

configure_package_config_file(cmake/renoConfig.cmake.in renoConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(renoConfigVersion.cmake COMPATIBILITY SameMinorVersion)
foreach(file RenoAddPlugin.cmake RenoDependencies.cmake)
  configure_file(cmake/${file} ${file} COPYONLY)
endforeach()
foreach(file renoConfig.cmake renoConfigVersion.cmake RenoAddPlugin.cmake RenoDependencies.cmake)
  install(FILES ${PROJECT_BINARY_DIR}/${file} DESTINATION ${package_folder})
endforeach()
