# cmake --install: the library as tenon::tenon with its headers under include/tenon, and the binary.
include(CMakePackageConfigHelpers)

install(TARGETS tenon EXPORT tenonTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET tenon_cli)
  install(TARGETS tenon_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# Headers of kernels and those that need a third-party library stay inside.
foreach(floor IN LISTS TENON_FLOORS)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${floor} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tenon
          FILES_MATCHING PATTERN "*.h"
          PATTERN "cpu" EXCLUDE PATTERN "cli" EXCLUDE PATTERN "examples" EXCLUDE PATTERN "recipes" EXCLUDE
          PATTERN "check.h" EXCLUDE PATTERN "json.h" EXCLUDE PATTERN "internal" EXCLUDE)
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
