# Everything comes from the distribution: a build never downloads.
# Installed beside tenonConfig.cmake too, which calls it for the libraries a static tenon needs when it is linked.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(OpenMP COMPONENTS CXX)
find_dependency(dnnl)  # 2.6 of Debian 12 and 3.x both do
find_dependency(fmt)
find_dependency(PCRE2)
find_dependency(Utf8proc)
