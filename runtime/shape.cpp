#include "shape.h"

#include "check.h"

namespace tenon {

std::string Shape::str() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

void Shape::throw_rank(size_t rank) { fail("shape of rank {}: a tensor has at most {} dimensions", rank, kMaxRank); }

}  // namespace tenon
