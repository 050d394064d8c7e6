# Everything comes from the distribution: a build never downloads.
# Installed beside tenonConfig.cmake too, which calls it for the libraries a static tenon needs when it is linked.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(OpenMP COMPONENTS CXX)
# oneDNN 2.6 and 3.x both do. Not by its own CMake package: Debian's asks for the headers of OpenCL, which nothing here uses,
# and other builds come without one.
if(NOT TARGET DNNL::dnnl)
  find_dependency(OneDnn)
endif()
find_dependency(fmt)
find_dependency(PCRE2)
find_dependency(Utf8proc)
