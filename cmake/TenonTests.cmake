# One test binary a floor, linked with the floors up to its own.
include(CTest)
include(GoogleTest)
find_package(GTest REQUIRED)

add_library(tenon_test_paths STATIC ${PROJECT_SOURCE_DIR}/tests/paths.cpp)
tenon_private_options(tenon_test_paths)
target_compile_definitions(tenon_test_paths PRIVATE TENON_SOURCE_DIR="${PROJECT_SOURCE_DIR}" TENON_BINARY_DIR="${PROJECT_BINARY_DIR}")

foreach(floor IN LISTS TENON_FLOORS)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${floor}/*.cpp)
  if(NOT sources)
    continue()
  endif()
  set(target tenon_tests_${floor})
  add_executable(${target} ${sources})
  tenon_private_options(${target})
  tenon_link_floors(${target} ${floor})
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)  # quicker to compile; the references are small
  target_link_libraries(${target} PRIVATE GTest::gtest_main tenon_test_paths)
  if(floor STREQUAL "ops" AND TARGET tenon_op_table)
    target_link_libraries(${target} PRIVATE tenon_op_table)
  endif()
  # Short spins: tests share processors with one another, and a spinning thread keeps the one it waits for from running.
  gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 PROPERTIES LABELS ${floor} TIMEOUT 300 ENVIRONMENT GOMP_SPINCOUNT=1000)
endforeach()

# Models and trainers on the GPU of this machine; on an emulated one they run below.
if(TENON_WITH_CUDA AND "rl" IN_LIST TENON_FLOORS)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/cuda/*.cpp)
  add_executable(tenon_tests_cuda ${sources})
  tenon_private_options(tenon_tests_cuda)
  tenon_link_floors(tenon_tests_cuda rl)
  target_link_libraries(tenon_tests_cuda PRIVATE GTest::gtest_main tenon_test_paths)
  gtest_discover_tests(tenon_tests_cuda DISCOVERY_MODE PRE_TEST PROPERTIES LABELS cuda TIMEOUT 300)
endif()

# The CUDA kernels without a GPU: CUDA's headers are enough.
if(TENON_CUDA_INCLUDE AND TARGET tenon_op_table AND CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  add_subdirectory(${PROJECT_SOURCE_DIR}/tests/cuda_emulation ${PROJECT_BINARY_DIR}/cuda_emulation)
else()
  message(STATUS "Tenon: the emulated CUDA tests are left out: they need CUDA's headers and an x86-64 processor")
endif()

find_program(TENON_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda/bin)
if(TENON_NVCC AND NOT TENON_SANITIZE)
  add_test(NAME cuda_toolchain
           COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DBUILD=${PROJECT_BINARY_DIR} -DCOMPILER=${CMAKE_CXX_COMPILER}
                   -DLAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER} -DNVCC=${TENON_NVCC}
                   -P ${PROJECT_SOURCE_DIR}/tests/cuda_toolchain/toolchain_test.cmake)
  set_tests_properties(cuda_toolchain PROPERTIES LABELS "cuda;slow" TIMEOUT 1800)
endif()

# Reads the sources; links nothing of them.
add_executable(tenon_tests_layering ${PROJECT_SOURCE_DIR}/tests/layering/layering_test.cpp)
tenon_private_options(tenon_tests_layering)
target_link_libraries(tenon_tests_layering PRIVATE GTest::gtest_main tenon_test_paths)
gtest_discover_tests(tenon_tests_layering DISCOVERY_MODE PRE_TEST PROPERTIES LABELS layering TIMEOUT 60)

# A separate project that finds an installed Tenon, or has it as a subdirectory. The floors must be complete, and no sanitizer in
# them, which the host would have to share.
if(TENON_INSTALL AND NOT TENON_SANITIZE AND "rl" IN_LIST TENON_FLOORS)
  foreach(mode find subdirectory)
    add_test(NAME install.${mode}
             COMMAND ${CMAKE_COMMAND} -DMODE=${mode} -DSOURCE=${PROJECT_SOURCE_DIR} -DBUILD=${PROJECT_BINARY_DIR}
                     -DCOMPILER=${CMAKE_CXX_COMPILER} -DLAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER} "-DOPTIONS=${TENON_CXX_WARNINGS}" "-DCUDA_OPTIONS=${TENON_CUDA_WARNINGS}"
                     -DCUDA=${TENON_CUDA}
                     "-DRELEASE_FLAGS=${CMAKE_CXX_FLAGS_RELEASE}" -P ${PROJECT_SOURCE_DIR}/tests/install/install_test.cmake)
    set_tests_properties(install.${mode} PROPERTIES LABELS "install;slow" TIMEOUT 1800)
  endforeach()
endif()

# The page that benchmarks make of their lines, and a run of the first of them.
if(TENON_BUILD_BENCH AND TARGET tenon_runtime)
  add_executable(tenon_tests_bench ${PROJECT_SOURCE_DIR}/tests/bench/table_test.cpp ${PROJECT_SOURCE_DIR}/bench/table.cpp ${PROJECT_SOURCE_DIR}/bench/aims.cpp)
  tenon_private_options(tenon_tests_bench)
  tenon_link_floors(tenon_tests_bench runtime)
  target_link_libraries(tenon_tests_bench PRIVATE GTest::gtest_main)
  gtest_discover_tests(tenon_tests_bench DISCOVERY_MODE PRE_TEST PROPERTIES LABELS bench TIMEOUT 60)
  if(NOT TENON_SANITIZE)
    set(lines ${PROJECT_BINARY_DIR}/bench_suite_test.jsonl)
    add_test(NAME bench.suite COMMAND ${CMAKE_COMMAND} -DBENCH=$<TARGET_FILE:tenon_bench> -DLINES=${lines} -P ${PROJECT_SOURCE_DIR}/tests/bench/suite_test.cmake)
    set_tests_properties(bench.suite PROPERTIES LABELS bench TIMEOUT 300 ENVIRONMENT GOMP_SPINCOUNT=1000)
  endif()
endif()
