# Whether and for what the CUDA files are compiled. Sets TENON_WITH_CUDA, and TENON_CUDA_INCLUDE where the toolkit's headers are:
# the emulated tests need those alone.
#
# TENON_CUDA_ARCHITECTURES: one compiles in about a minute on two cores. A GPU of the same or a later generation runs it (but for
# 90a, which is Hopper's alone); `80;90a;100` has code for all from Ampere to Blackwell.
set(TENON_CUDA OFF CACHE STRING "Build for NVIDIA GPUs: OFF (the backend lacks kernels still), ON, or AUTO where nvcc is found")
set_property(CACHE TENON_CUDA PROPERTY STRINGS AUTO ON OFF)
set(TENON_CUDA_ARCHITECTURES 90a CACHE STRING "GPU architectures to compile for, as CMAKE_CUDA_ARCHITECTURES")

set(TENON_WITH_CUDA OFF)
if(NOT TENON_CUDA STREQUAL "OFF")
  find_program(TENON_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda/bin)
  mark_as_advanced(TENON_NVCC)
  if(TENON_NVCC)
    set(TENON_WITH_CUDA ON)
  elseif(TENON_CUDA STREQUAL "ON")
    message(FATAL_ERROR "TENON_CUDA is ON and nvcc was not found: install the CUDA toolkit or name it with -DTENON_NVCC=/path/to/nvcc")
  endif()
endif()

if(TENON_WITH_CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${TENON_NVCC})
  endif()
  if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER)
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES ${TENON_CUDA_ARCHITECTURES})
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit 12.0 REQUIRED)
  set(TENON_CUDA_INCLUDE ${CUDAToolkit_INCLUDE_DIRS})
  list(GET TENON_CUDA_INCLUDE 0 TENON_CUDA_INCLUDE)
else()
  find_path(TENON_CUDA_INCLUDE cuda_runtime.h PATHS /usr/local/cuda/include)
  mark_as_advanced(TENON_CUDA_INCLUDE)
endif()

# What a program links that holds Tenon's CUDA objects.
if(TENON_WITH_CUDA)
  set(TENON_CUDA_LIBRARIES CUDA::cudart_static CUDA::cublasLt)
else()
  set(TENON_CUDA_LIBRARIES "")
endif()
