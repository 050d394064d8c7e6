# cmake --install: the library as tenon::tenon with its headers under include/tenon, and the binary.
include(CMakePackageConfigHelpers)

install(TARGETS tenon EXPORT tenonTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET tenon_cli)
  install(TARGETS tenon_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# Public headers: not those of kernels and programs, nor those that say at their top that they are internal, because they need
# a third-party library.
foreach(floor IN LISTS TENON_FLOORS)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/${floor}/*.h)
  list(FILTER headers EXCLUDE REGEX "^(ops/cpu|ops/cuda|rl/cli|rl/examples)/")
  foreach(header IN LISTS headers)
    file(STRINGS ${PROJECT_SOURCE_DIR}/${header} top LIMIT_COUNT 12 REGEX "^//")
    if(NOT top MATCHES "Internal")
      get_filename_component(folder ${header} DIRECTORY)
      install(FILES ${PROJECT_SOURCE_DIR}/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tenon/${folder})
    endif()
  endforeach()
endforeach()

set(TENON_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/tenon)
install(EXPORT tenonTargets NAMESPACE tenon:: DESTINATION ${TENON_CMAKE_DIR})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/tenonConfig.cmake.in ${PROJECT_BINARY_DIR}/tenonConfig.cmake
                              INSTALL_DESTINATION ${TENON_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tenonConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tenonConfig.cmake ${PROJECT_BINARY_DIR}/tenonConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/TenonDependencies.cmake ${PROJECT_SOURCE_DIR}/cmake/FindOneDnn.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindPCRE2.cmake ${PROJECT_SOURCE_DIR}/cmake/FindUtf8proc.cmake
        DESTINATION ${TENON_CMAKE_DIR})
