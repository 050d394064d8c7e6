#include "../../runtime/communicator.h"

#include <gtest/gtest.h>

#include "../expect_error.h"

namespace tenon {
namespace {

TEST(SingleProcess, CollectivesAreTheIdentity) {
  const auto world = single_process();
  EXPECT_EQ(world->rank(), 0);
  EXPECT_EQ(world->size(), 1);
  Tensor x = Tensor::from({1.0f, 2.0f}, {2});
  world->all_reduce(x);
  world->all_reduce(x, Reduction::max);
  world->broadcast(x, 0);
  world->barrier();
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{1, 2}));
  for (const Tensor& y : {world->all_gather(x), world->reduce_scatter(x), world->all_to_all(x)}) {
    EXPECT_EQ(y.to_vector<float>(), x.to_vector<float>());
    EXPECT_FALSE(y.shares_storage(x)) << "the result is the caller's own on any number of ranks";
  }
  EXPECT_EQ(world->split(3, 0)->size(), 1);
  Tensor undefined;
  EXPECT_ERROR(world->broadcast(x, 1), "root 1");
  EXPECT_ERROR(world->all_reduce(undefined), "undefined");
}

}  // namespace
}  // namespace tenon
