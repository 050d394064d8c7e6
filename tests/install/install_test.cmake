# cmake -DMODE=find|subdirectory -DSOURCE=... -DBUILD=... [-DOPTIONS=... -DCUDA_OPTIONS=...] -P install_test.cmake
#
# Builds and runs tests/install/host against an installed Tenon, or with Tenon's tree as its subdirectory. In the latter case the
# host compiles with the options of Tenon's own build, so that ccache has every object already.
set(work ${BUILD}/install-test-${MODE})
file(REMOVE_RECURSE ${work})

function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(configure ${CMAKE_COMMAND} -G Ninja -S ${SOURCE}/tests/install/host -B ${work}/build -DCMAKE_BUILD_TYPE=Release
              -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER} -DTENON_TREE=${SOURCE})
if(MODE STREQUAL "find")
  run("installing" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix)
  run("configuring the host" ${configure} -DCMAKE_PREFIX_PATH=${work}/prefix)
  # What was installed must do without the tree: every header of it compiles alone.
  file(GLOB_RECURSE headers RELATIVE ${work}/prefix/include ${work}/prefix/include/tenon/*.h)
  list(LENGTH headers count)
  if(count LESS 20)
    message(FATAL_ERROR "only ${count} headers were installed")
  endif()
  set(all "")
  foreach(header IN LISTS headers)
    string(APPEND all "#include <${header}>\n")
  endforeach()
  file(WRITE ${work}/all.cpp "${all}int main() {}\n")
  run("compiling all installed headers" ${COMPILER} -std=c++20 -Wall -Wextra -Wno-missing-field-initializers -Werror
      -I${work}/prefix/include -fsyntax-only ${work}/all.cpp)
else()
  string(REPLACE ";" " " OPTIONS "${OPTIONS}")
  string(REPLACE ";" " " CUDA_OPTIONS "${CUDA_OPTIONS}")
  run("configuring the host" ${configure} -DTENON_SUBDIRECTORY=ON "-DHOST_OPTIONS=${OPTIONS}" "-DHOST_CUDA_OPTIONS=${CUDA_OPTIONS}"
      -DTENON_CUDA=${CUDA} -DCMAKE_CUDA_COMPILER_LAUNCHER=${LAUNCHER}
      "-DCMAKE_CXX_FLAGS_RELEASE=${RELEASE_FLAGS}")
endif()
run("building the host" ${CMAKE_COMMAND} --build ${work}/build -j 2)
set(examples ${work}/build/examples)
run("custom_op" ${examples}/custom_op)
run("little_model" ${work}/build/little_model ${work}/little)
run("grpo" ${examples}/grpo ${work}/little/model ${work}/little/questions.jsonl ${work}/little/grpo)
if(NOT output STREQUAL "")
  message(FATAL_ERROR "the library printed something:\n${output}")
endif()
if(NOT EXISTS ${work}/little/grpo/checkpoint-1/model.safetensors)
  message(FATAL_ERROR "grpo left no checkpoint")
endif()
run("pretrain" ${examples}/pretrain ${work}/little/text.txt ${work}/little/pretrained 3)
if(NOT output MATCHES "^The " OR NOT EXISTS ${work}/little/pretrained/model/config.json)
  message(FATAL_ERROR "pretrain wrote no text or no model:\n${output}")
endif()
file(REMOVE_RECURSE ${work})
