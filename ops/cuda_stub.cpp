// The build without CUDA: kernels that nobody can call, since no tensor is on a GPU there.
#include "../runtime/check.h"
