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

run("configuring" ${CMAKE_COMMAND} -S ${SOURCE} --preset cuda -B ${work} -DCMAKE_CXX_COMPILER=${COMPILER}
    -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -DCMAKE_CUDA_COMPILER_LAUNCHER=${LAUNCHER} -DTENON_NVCC=${NVCC} -DCMAKE_CUDA_FLAGS=-Xptxas=-v)
run("compiling for CUDA" ${CMAKE_COMMAND} --build ${work} -j 2 --target tenon_runtime_device tenon_ops_device)

# "ptxas info : Compiling entry function '_Z...' for 'sm_90a'", then the line with the spills of it.
string(REPLACE ";" "," output "${output}")
string(REPLACE "\n" ";" lines "${output}")
set(kernel "")
set(kernels 0)
set(architectures "")
set(spills "")
foreach(line IN LISTS lines)
  if(line MATCHES "Compiling entry function '([^']+)' for '([^']+)'")
    set(kernel "${CMAKE_MATCH_1} for ${CMAKE_MATCH_2}")
    math(EXPR kernels "${kernels} + 1")
    list(APPEND architectures ${CMAKE_MATCH_2})
  elseif(line MATCHES "[1-9][0-9]* bytes spill")
    string(APPEND spills "${kernel}: ${line}\n")
  endif()
endforeach()
list(REMOVE_DUPLICATES architectures)
list(LENGTH architectures count)
if(kernels LESS 300 OR count LESS 3)
  message(FATAL_ERROR "ptxas told of ${kernels} kernels only, for ${architectures}")
endif()
if(spills)
  message(FATAL_ERROR "kernels spill registers:\n${spills}")
endif()
message("${kernels} kernels for ${architectures}, none spills")

run("building a program" ${CMAKE_COMMAND} --build ${work} -j 2 --target tenon_tests_runtime)
run("running it" ${work}/tenon_tests_runtime --gtest_brief=1)
file(REMOVE_RECURSE ${work})
