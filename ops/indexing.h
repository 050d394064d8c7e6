// Gathering and scattering by index, and concatenation.
//
// Indices are i32; one out of range is an Error that names it and its place. Scatters add in the order of the index:
// repeated indices give the same bits for any number of threads.
#pragma once

#include <span>

#include "../runtime/tensor.h"

namespace tenon::ops {

/// x `[n, ...]`, index `[m]` -> `[m, ...]`: row j is x[index[j]]. Any dtype.
Tensor gather_rows(const Tensor& x, const Tensor& index);

/// dst[index[j]] += src[j]. dst `[n, ...]` f32 or of src's dtype, index `[m]`, src `[m, ...]` f32 or bf16.
void scatter_add_rows(Tensor& dst, const Tensor& index, const Tensor& src);

/// x `[rows, n]`, index `[rows, m]` -> `[rows, m]`: element (r, j) is x[r, index[r, j]]. Any dtype.
Tensor gather(const Tensor& x, const Tensor& index);

/// dst[r, index[r, j]] += src[r, j]. dst `[rows, n]` f32 or of src's dtype, index and src `[rows, m]`.
void scatter_add(Tensor& dst, const Tensor& index, const Tensor& src);

/// Parts of one dtype that agree in every dimension but `dim` (negative from the end). At least one part.
Tensor concat(std::span<const Tensor> parts, int dim);

}  // namespace tenon::ops
