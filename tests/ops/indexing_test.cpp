#include "../../ops/indexing.h"

#include <gtest/gtest.h>

#include "../../ops/cast.h"
#include "../../ops/embedding.h"
#include "../expect_error.h"

namespace tenon {
namespace {

TEST(Indexing, MovesAnyDtype) {
  const Tensor x = Tensor::from(std::vector<int64_t>{10, 20, 30}, {3}), index = Tensor::from({2, 0}, {2});
  EXPECT_EQ(ops::gather_rows(x, index).to_vector<int64_t>(), (std::vector<int64_t>{30, 10}));
  const Tensor bytes = Tensor::from(std::vector<uint8_t>{1, 2, 3, 4}, {2, 2});
  EXPECT_EQ(ops::gather(bytes, Tensor::from({1, 0}, {2, 1})).to_vector<uint8_t>(), (std::vector<uint8_t>{2, 3}));
}

TEST(Indexing, RepeatedIndicesAddUp) {
  Tensor sums = Tensor::zeros({2, 2}, DType::f32);
  const Tensor rows = ops::cast(Tensor::from({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f}, {3, 2}), DType::bf16);
  ops::scatter_add_rows(sums, Tensor::from({1, 1, 0}, {3}), rows);
  EXPECT_EQ(sums.to_vector<float>(), (std::vector<float>{5, 6, 4, 6}));
  ops::scatter_add(sums, Tensor::from({0, 0, 1, 1}, {2, 2}), Tensor::full({2, 2}, 1, DType::f32));
  EXPECT_EQ(sums.to_vector<float>(), (std::vector<float>{7, 6, 4, 8}));
}

TEST(Indexing, ConcatenatesAlongAnyDimension) {
  const Tensor a = Tensor::from({1, 2, 3, 4}, {2, 2}), b = Tensor::from({5, 6}, {1, 2});
  const Tensor rows[] = {a, b}, columns[] = {a, b.transpose(0, 1)};
  EXPECT_EQ(ops::concat(rows, 0).to_vector<int32_t>(), (std::vector<int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(ops::concat(columns, -1).to_vector<int32_t>(), (std::vector<int32_t>{1, 2, 5, 3, 4, 6}));
  EXPECT_ERROR(ops::concat(rows, 1), "concat: parts [2, 2] and [1, 2] differ outside dimension 1");
  EXPECT_ERROR(ops::concat({}, 0), "concat: no parts");
}

TEST(Indexing, TheFirstIndexOutOfRangeIsNamed) {
  const Tensor table = Tensor::zeros({4, 2}, DType::f32);
  EXPECT_ERROR(ops::embedding(table, Tensor::from({0, 4, -1}, {3})),
               "embedding: id 4 of token 1 is outside the vocabulary of 4");
  Tensor gradient = Tensor::zeros({4, 2}, DType::f32);
  EXPECT_ERROR(ops::embedding_backward(Tensor::zeros({2, 2}, DType::f32), Tensor::from({1, -1}, {2}), gradient),
               "embedding_backward: id -1 of token 1");
  EXPECT_ERROR(ops::gather_rows(table, Tensor::from({7}, {1})),
               "gather_rows: index 7 at place 0 of [1] is outside [0, 4)");
  EXPECT_ERROR(ops::gather(table, Tensor::from({0, 0, 0, 2}, {4, 1})), "gather: index 2 at place 3");
  EXPECT_ERROR(ops::scatter_add_rows(gradient, Tensor::from({0}, {1}), Tensor::zeros({1, 3}, DType::f32)),
               "scatter_add_rows: rows [1, 3] chosen by index [1] do not fit a table of [4, 2]");
  Tensor half = Tensor::zeros({4, 2}, DType::bf16);
  EXPECT_ERROR(ops::scatter_add_rows(half, Tensor::from({0}, {1}), Tensor::zeros({1, 2}, DType::f32)),
               "dst is bf16, it must be f32 or src's f32");
}

TEST(Embedding, IdsOfAnyShape) {
  const Tensor table = Tensor::from({1.0f, 2.0f, 3.0f, 4.0f}, {2, 2});
  const Tensor y = ops::embedding(table, Tensor::from({1, 0, 1, 1}, {2, 2}));
  EXPECT_EQ(y.shape(), (Shape{2, 2, 2}));
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{3, 4, 1, 2, 3, 4, 3, 4}));
}

}  // namespace
}  // namespace tenon
