# cmake -DSOURCE=... -DBUILD=... -DCOMPILER=... -DNVCC=... [-DLAUNCHER=...] -P toolchain_test.cmake
#
# nvcc compiles all that is CUDA's for every architecture that is promised, warnings as errors, and no kernel spills registers;
# then a program links with it and runs where no GPU is.
set(work ${BUILD}/cuda-toolchain-test)
file(REMOVE_RECURSE ${work})

function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run("configuring" ${CMAKE_COMMAND} -G Ninja -S ${SOURCE} -B ${work} -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=${COMPILER}
    -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -DCMAKE_CUDA_COMPILER_LAUNCHER=${LAUNCHER} -DTENON_CUDA=ON -DTENON_NVCC=${NVCC}
    "-DTENON_CUDA_ARCHITECTURES=80;90a;100" -DCMAKE_CUDA_FLAGS=-Xptxas=-v)
run("compiling for CUDA" ${CMAKE_COMMAND} --build ${work} -j 2 --target tenon_runtime_device tenon_ops_device)

# "ptxas info : Compiling entry function '_Z...' for 'sm_90a'", then the line with the spills of it.
string(REPLACE ";" "," output "${output}")
string(REPLACE "\n" ";" lines "${output}")
set(kernel "")
set(kernels 0)
set(spills "")
foreach(line IN LISTS lines)
  if(line MATCHES "Compiling entry function '([^']+)' for '([^']+)'")
    set(kernel "${CMAKE_MATCH_1} for ${CMAKE_MATCH_2}")
    math(EXPR kernels "${kernels} + 1")
  elseif(line MATCHES "([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads" AND NOT "${CMAKE_MATCH_1}${CMAKE_MATCH_2}" STREQUAL "00")
    string(APPEND spills "${kernel}: ${line}\n")
  endif()
endforeach()
if(kernels LESS 100)
  message(FATAL_ERROR "ptxas told of ${kernels} kernels only")
endif()
if(spills)
  message(FATAL_ERROR "kernels spill registers:\n${spills}")
endif()
message("${kernels} kernels, none spills")

run("building a program" ${CMAKE_COMMAND} --build ${work} -j 2 --target tenon_tests_runtime)
run("running it" ${work}/tenon_tests_runtime --gtest_brief=1)
file(REMOVE_RECURSE ${work})
